"""Altered windows: the same key gives the same bits, and the draws are distributed as declared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfreqz

from earmark.audio.augment import (
    PRESETS,
    Augmentation,
    Backgrounds,
    DrawKey,
    Place,
    augmented,
    masked,
    preset,
)
from earmark.audio.shelves import high_shelf, low_shelf, shelve
from earmark.errors import UsageError

RATE = 16_000
NOISE = np.random.default_rng(0).normal(scale=0.05, size=RATE).astype(np.float32)
OTHER = np.random.default_rng(1).normal(scale=0.01, size=RATE).astype(np.float32)
HERE = Place("a", 0.0, 6.0)
BACKGROUNDS = Backgrounds([Place("b", 0.0, 6.0)], lambda k: OTHER)
N = 400


def copies(augmentation, x=NOISE, n=N, **given):
    return [augmented(x, augmentation, DrawKey(7, "w", k), sample_rate=RATE, **given) for k in range(n)]


def rms_db(x):
    return 20 * np.log10(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def response_db(section, hz):
    _, h = sosfreqz(section[None], np.array(hz, dtype=float), fs=RATE)
    return 20 * np.log10(np.abs(h))


@pytest.mark.parametrize("gain_db", [-12.0, -3.0, 0.0, 5.0])
def test_a_shelf_lifts_its_side_half_way_at_its_frequency_and_never_overshoots(gain_db):
    expected = [gain_db, gain_db / 2, 0.0]
    assert response_db(low_shelf(200.0, gain_db, RATE), [2, 200, 7900]) == pytest.approx(expected, abs=0.02)
    found = response_db(high_shelf(3000.0, gain_db, RATE), [2, 3000, 7990])
    assert found == pytest.approx(expected[::-1], abs=0.02)
    curve = response_db(low_shelf(200.0, gain_db, RATE), np.geomspace(5, 7900, 200))
    assert (np.diff(curve) * -np.sign(gain_db) >= -1e-9).all()


def test_shelves_filter_as_scipy_does():
    from scipy.signal import sosfilt

    low, high = low_shelf(250.0, 3.0, RATE), high_shelf(2500.0, -3.0, RATE)
    expected = sosfilt(np.stack([low, high]), NOISE.astype(np.float64))
    np.testing.assert_allclose(shelve(NOISE, low, high), expected, atol=1e-6)


@pytest.mark.parametrize("hz", [0.0, -1.0, 8000.0])
def test_a_shelf_outside_the_band_is_refused(hz):
    with pytest.raises(UsageError, match="expected above 0 and below"):
        low_shelf(hz, 3.0, RATE)


@pytest.mark.parametrize("name", PRESETS)
def test_a_key_decides_every_bit_in_any_order(name):
    augmentation = PRESETS[name]
    keys = [DrawKey(seed, window, copy) for seed in (1, 2) for window in "ab" for copy in (0, 1)]
    state = np.random.get_state()[1].copy()

    def draw(key):
        return augmented(NOISE, augmentation, key, sample_rate=RATE, place=HERE, backgrounds=BACKGROUNDS)

    forward = [draw(key) for key in keys]
    backward = [draw(key) for key in keys[::-1]][::-1]
    assert all((a == b).all() for a, b in zip(forward, backward, strict=True))
    distinct = {x.tobytes() for x in forward}
    assert len(distinct) == (1 if name == "none" else len(keys))
    assert (np.random.get_state()[1] == state).all()  # the global generator is not drawn from


def test_a_step_left_out_leaves_the_draws_of_the_others():
    gain_only = Augmentation(gain_probability=1.0)
    both = replace(gain_only, mix_probability=1.0)
    for a, b in zip(copies(gain_only, n=9), copies(both, n=9, backgrounds=BACKGROUNDS), strict=True):
        added = b.astype(np.float64) - a
        assert abs(np.corrcoef(added, OTHER)[0, 1]) > 0.99999


def test_gains_are_uniform_in_decibels():
    gains = np.array([rms_db(x) for x in copies(Augmentation(gain_probability=1.0))]) - rms_db(NOISE)
    assert gains.min() > -6 and gains.max() < 6
    assert abs(gains.mean()) < 0.6 and gains.std() == pytest.approx(12 / np.sqrt(12), rel=0.08)


@pytest.mark.parametrize(("name", "share"), [("gain", 0.8), ("zeros", 0.3), ("filter", 0.5)])
def test_a_step_happens_as_often_as_declared(name, share):
    found = copies(Augmentation(**{f"{name}_probability": share}))
    changed = np.mean([(x != NOISE).any() for x in found])
    assert changed == pytest.approx(share, abs=0.08)


def test_backgrounds_lie_the_drawn_ratio_below_the_window_and_happen_as_often_as_declared():
    found = copies(Augmentation(mix_probability=0.5), backgrounds=BACKGROUNDS)
    added = [x.astype(np.float64) - NOISE for x in found]
    ratios = np.array([rms_db(NOISE) - rms_db(x) for x in added if x.any()])
    assert len(ratios) / N == pytest.approx(0.5, abs=0.08)
    assert ratios.min() > 8 - 0.01 and ratios.max() < 25 + 0.01
    assert ratios.mean() == pytest.approx(16.5, abs=1.0)


def test_a_natural_background_keeps_its_own_level_and_gain_0_the_windows():
    augmentation = preset("g3", gain_db=0.0, mix="natural")
    plain = replace(augmentation, mix_probability=1.0, shelf_probability=0.0)
    for x in copies(plain, n=20, backgrounds=BACKGROUNDS):
        np.testing.assert_allclose(x, NOISE + OTHER, atol=1e-7)
    untouched = copies(replace(plain, mix_probability=0.0), n=20)
    assert all((x == NOISE).all() for x in untouched)


def test_silence_is_neither_mixed_nor_a_background():
    silent = np.zeros(RATE, np.float32)
    augmentation = Augmentation(mix_probability=1.0)
    assert not np.any(copies(augmentation, silent, 9, backgrounds=BACKGROUNDS))
    nothing = Backgrounds([Place("b", 0.0, 6.0)], lambda k: silent)
    assert all((x == NOISE).all() for x in copies(augmentation, n=9, backgrounds=nothing))


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_background_never_overlaps_its_target(position, seed):
    places = [Place("a", 1.5 * k, 1.5 * k + 6.0) for k in range(41)]
    drawn = Backgrounds(places, lambda k: np.float32([k])).draw(places[position], np.random.default_rng(seed))
    assert abs(drawn[0] - position) * 1.5 >= 6.0


def test_without_a_free_background_nothing_is_mixed():
    own = Backgrounds([HERE, Place("a", 4.5, 10.5)], lambda k: OTHER)
    found = copies(Augmentation(mix_probability=1.0), n=9, place=HERE, backgrounds=own)
    assert all((x == NOISE).all() for x in found)


@pytest.mark.parametrize("eq", ["tilt", "independent"])
def test_shelf_gains_are_opposite_or_drawn_apart(eq):
    impulse = np.zeros(RATE, np.float32)
    impulse[0] = 1.0
    found = copies(Augmentation(shelf_probability=1.0, eq=eq), impulse, 120)
    gains = np.array([20 * np.log10(np.abs(np.fft.rfft(x))[[5, 7990]]) for x in found])
    low, high = gains.T
    assert np.abs(gains).max() < 3.01 and gains.std(axis=0) == pytest.approx(3 / np.sqrt(3), rel=0.2)
    correlation = np.corrcoef(low, high)[0, 1]
    assert correlation < -0.999 if eq == "tilt" else abs(correlation) < 0.3


def test_masks_set_stretches_to_zero_whose_lengths_are_uniform():
    bank = np.ones((598, 128), np.float32)
    one = Augmentation(time_masks=1)
    times = [np.flatnonzero(masked(bank, one, DrawKey(0, "w", k))[:, 0] == 0) for k in range(N)]
    assert all((np.diff(rows) == 1).all() for rows in times)
    lengths = np.array([len(rows) for rows in times])
    assert set(range(41)) >= set(lengths) and lengths.mean() == pytest.approx(20, abs=1.5)
    starts = np.array([rows[0] for rows in times if len(rows)])
    assert starts.min() < 40 and starts.max() > 500
    two = [masked(bank, Augmentation(frequency_masks=2), DrawKey(0, "w", k)) for k in range(N)]
    widths = np.array([(x == 0).all(axis=0).sum() for x in two])
    assert widths.max() <= 40 and widths.mean() == pytest.approx(19, abs=2)  # two of 10, which may overlap
    assert (bank == 1).all()


def test_masks_fit_banks_shorter_than_they_are():
    found = masked(np.ones((3, 2), np.float32), PRESETS["g3"], DrawKey(0, "w", 0))
    assert found.shape == (3, 2) and set(np.unique(found)) <= {0.0, 1.0}


def test_the_earlier_recipe_stays_within_full_scale():
    loud = copies(PRESETS["g2"], np.clip(20 * NOISE, -1, 1), 40, backgrounds=BACKGROUNDS)
    assert np.abs(loud).max() <= 1.0 and np.isfinite(loud).all()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("g4", {}, "no augmentation 'g4'"),
        ("g3", {"mix": "loud"}, "mix is 'loud'"),
        ("g3", {"eq": "x"}, "eq is 'x'"),
    ],
)
def test_an_unknown_word_is_refused(name, given, message):
    with pytest.raises(UsageError, match=message):
        preset(name, **given)
