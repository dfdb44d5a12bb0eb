"""Drop detectors: hand-made curves, planted breakdowns, and nothing in noise or silence."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from zone_signals import coloured_noise, planted_drop

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.tasks.zones.demo import generate_demo
from earmark.tasks.zones.drops import (
    BAND_DROP_COLUMNS,
    FRAME_LEVEL,
    FULL_RATE,
    band_drop_statistics,
    band_energy,
    find_band_drops,
    find_drops,
    local_maxima,
    local_minima,
    median_smooth,
)
from earmark.tasks.zones.features import common, drops, drops13, full_rate_drops
from earmark.tasks.zones.frames import frame_rms

HOP_S = 512 / 22_050
CURVES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1, width=16))


def plateau(*parts: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(length, value) for value, length in parts])


def test_maxima_by_hand() -> None:
    curve = np.array([5.0, 1, 3, 3, 2, 4, 1, 9])
    assert local_maxima(curve, spacing=1).tolist() == [2, 5]
    assert local_maxima(curve, spacing=1, above=3).tolist() == [5]
    assert local_maxima(curve, spacing=4).tolist() == [5]
    assert local_maxima(curve, spacing=3).tolist() == [2, 5]


def test_flat_bottom_counts_from_its_end() -> None:
    assert local_minima(np.array([2.0, 1, 1, 1, 3]), spacing=1).tolist() == [3]


def test_the_earlier_of_two_equal_maxima_stays() -> None:
    assert local_maxima(np.array([0.0, 1, 0, 1, 0]), spacing=5).tolist() == [1]


@given(CURVES, st.integers(1, 10))
def test_maxima_are_spaced_and_higher_than_both_sides(curve: np.ndarray, spacing: int) -> None:
    found = local_maxima(curve, spacing=spacing)
    assert (np.diff(found) >= spacing).all()
    for position in found:
        different = curve[position:][curve[position:] != curve[position]]
        assert curve[position - 1] < curve[position] and different[0] < curve[position]


@given(CURVES)
def test_minima_mirror_maxima(curve: np.ndarray) -> None:
    backwards = len(curve) - 1 - local_maxima(-curve[::-1], spacing=1)
    assert local_minima(curve, spacing=1).tolist() == backwards[::-1].tolist()


@given(CURVES, st.sampled_from([1, 3, 21]))
def test_median_is_the_median(curve: np.ndarray, length: int) -> None:
    padded = np.pad(curve, length // 2, mode="edge")
    expected = [np.median(padded[i : i + length]) for i in range(len(curve))]
    np.testing.assert_array_equal(median_smooth(curve, length), expected)


def test_one_drop_by_hand() -> None:
    # 40 frames of 0.5 s: quiet for 5 s, then loud; the mean is 0.6 and the last quiet frame is 9.
    curve = plateau((0.6, 5), (0.2, 5), (1.0, 10), (0.5, 20))
    found = find_drops(curve, frame_s=0.5, rule=FRAME_LEVEL)
    mean = curve.mean()
    assert found.time_s.tolist() == [5.0]
    assert found.contrast_mean == pytest.approx(0.8 / mean)
    assert found.contrast_max == found.contrast_mean
    assert found.intensity == pytest.approx(1.0 / mean)


def test_the_deepest_valley_stands_for_the_event() -> None:
    quiet = plateau((0.5, 6), (0.10, 1), (0.45, 8), (0.05, 1), (0.45, 2))
    curve = np.concatenate([quiet, plateau((1.2, 10), (0.6, 20))])
    found = find_drops(curve, frame_s=0.5, rule=FRAME_LEVEL)
    assert len(found) == 1
    assert found.valley.tolist() == [0.05]


def test_a_rise_longer_than_eight_seconds_is_no_drop() -> None:
    slow = np.concatenate([plateau((0.7, 4), (0.2, 1)), np.linspace(0.25, 1, 30), plateau((0.6, 10))])
    assert len(find_drops(slow, frame_s=0.5, rule=FRAME_LEVEL)) == 0
    assert len(find_drops(slow, frame_s=0.2, rule=FRAME_LEVEL)) == 1


def test_contrast_of_one_half_is_no_drop() -> None:
    curve = plateau((1.0, 20), (0.8, 10), (1.2, 10), (1.0, 20))
    assert len(find_drops(curve, frame_s=0.5, rule=FRAME_LEVEL)) == 0


@pytest.mark.parametrize("curve", [np.zeros(500), np.full(500, 1e-8), np.ones(500), np.ones(1)])
@pytest.mark.parametrize("rule", [FULL_RATE, FRAME_LEVEL])
def test_constant_curves_hold_no_drop(curve: np.ndarray, rule: object) -> None:
    found = find_drops(curve, frame_s=0.5, rule=rule)  # type: ignore[arg-type]
    assert (len(found), found.contrast_mean, found.contrast_max, found.intensity) == (0, 0.0, 0.0, 0.0)


def test_short_curves_hold_no_drop() -> None:
    curve = plateau((0.6, 5), (0.1, 5), (1.0, 5), (0.5, 4))
    assert len(find_drops(curve, frame_s=0.5, rule=FRAME_LEVEL)) == 0
    assert len(find_drops(np.append(curve, 0.5), frame_s=0.5, rule=FRAME_LEVEL)) == 1


def test_band_energy_weights_and_scales() -> None:
    mel_db = np.full((3, 128), -80.0)
    mel_db[1, 0:12] = -40.0  # bass alone
    mel_db[2, 0:90] = -40.0  # all bands
    energy, bass = band_energy(mel_db, np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(energy, [0.0, 0.35, 1.0])
    np.testing.assert_allclose(bass, [0.0, 1.0, 1.0])


def test_a_constant_band_is_zero_and_a_steady_one_is_not_stretched() -> None:
    energy, bass = band_energy(np.full((4, 128), -30.0), np.ones(4))
    assert not energy.any() and not bass.any()
    _, bass = band_energy(np.linspace(-30, -28, 5)[:, None] * np.ones(128), np.ones(5))
    np.testing.assert_allclose(bass, [0, 0.05, 0.1, 0.15, 0.2])


def test_band_drop_by_hand() -> None:
    energy = np.concatenate([np.linspace(0.6, 0.2, 9), [0.3, 0.7, 0.65], np.linspace(0.6, 0.5, 12)])
    bass = np.linspace(0, 1, len(energy))
    found = find_band_drops(energy, bass, frame_s=0.5)
    assert found.time_s.tolist() == [5.0]
    np.testing.assert_allclose(found.intensity, [1.0])
    np.testing.assert_allclose(found.recovery_rate, [0.5 / 1.0])
    np.testing.assert_allclose(found.bass_prominence, [bass[10]])
    np.testing.assert_allclose(found.buildup_s, [1.0])
    numbers = dict(
        zip(BAND_DROP_COLUMNS, band_drop_statistics(found, energy, bass, duration_s=12.0), strict=True)
    )
    assert numbers["drop_count"] == 1 and numbers["drop_in_first_half"] == 1
    assert numbers["drop_in_second_half"] == 0 and numbers["drop_temporal_distribution"] == 0.0
    assert numbers["drop_energy_range"] == pytest.approx(0.5)


def test_buildup_is_measured_not_fixed() -> None:
    def buildup(length: int) -> float:
        ramp = np.linspace(0.3, 0.4, length)  # lowest at its start, then a short dip above that
        energy = np.concatenate([[0.6, 0.5, 0.4, 0.2], ramp, [0.31, 0.9], np.full(10, 0.7)])
        return float(find_band_drops(energy, energy, frame_s=0.5).buildup_s[0])

    assert buildup(8) == 0.5 * 10
    assert buildup(16) == 0.5 * 18


def test_no_band_drop_has_decided_values() -> None:
    flat = np.zeros(40)
    found = find_band_drops(flat, flat, frame_s=0.5)
    numbers = dict(
        zip(BAND_DROP_COLUMNS, band_drop_statistics(found, flat, flat, duration_s=20.0), strict=True)
    )
    assert numbers.pop("drop_temporal_distribution") == 0.5
    assert set(numbers.values()) == {0.0}


@pytest.mark.parametrize("tempo_bpm", [110.0, 128.0, 145.0])
def test_planted_drop_is_found_at_its_time(tempo_bpm: float) -> None:
    clip, drop_s = planted_drop(tempo_bpm)
    full = full_rate_drops(clip)
    assert np.abs(full.time_s - drop_s).tolist() == pytest.approx([0], abs=0.5)
    coarse = find_drops(clip.memo(frame_rms), frame_s=0.5, rule=FRAME_LEVEL)
    assert np.abs(coarse.time_s - drop_s).tolist() == pytest.approx([0], abs=1.0)
    row = dict(zip(drops13.columns, drops13(clip), strict=True))
    assert row["drop_count"] == 1
    assert row["drop_in_second_half"] == 1  # the drop is after 13 of 20 bars
    assert row["drop_avg_bass_prominence"] > 0.7


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.5])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_drop_in_noise(exponent: float, seed: int) -> None:
    clip = coloured_noise(exponent, 60.0, seed)
    assert dict(zip(drops.columns, drops(clip), strict=True))["drop_count"] == 0
    assert len(find_drops(clip.memo(frame_rms), frame_s=0.5, rule=FRAME_LEVEL)) == 0
    assert dict(zip(drops13.columns, drops13(clip), strict=True))["drop_count"] == 0


def test_no_drop_in_silence() -> None:
    clip = Clip(np.zeros(30 * 22_050, dtype=np.float32), 22_050)
    for group in (drops, drops13, common):
        assert dict(zip(group.columns, group(clip), strict=True))["drop_count"] == 0


def test_a_silent_breakdown_of_any_length_leads_to_its_drop() -> None:
    rng = np.random.default_rng(3)
    for pause_s in (4.0, 12.0, 25.0):
        parts = [0.2 * rng.standard_normal(20 * 22_050), np.zeros(int(pause_s * 22_050))]
        parts.append(0.3 * rng.standard_normal(20 * 22_050))
        found = full_rate_drops(Clip(np.concatenate(parts).astype(np.float32), 22_050))
        assert found.time_s.tolist() == pytest.approx([20 + pause_s], abs=0.5)


def test_drops_of_the_demo_are_found(tmp_path: object) -> None:
    library = generate_demo(str(tmp_path), 12)
    truth = json.loads(library.truth.read_text(encoding="utf-8"))["tracks"]
    planted, hits, false_alarms = 0, 0, 0
    for path in library.tracks:
        track = truth[f"audio/{path.name}"]
        true_s = np.array(track["drops_s"])
        entries_s = np.array([start for kind, start in track["sections"] if kind == "groove"])
        found_s = full_rate_drops(decode(path, sample_rate=22_050)).time_s
        distance = np.abs(true_s[:, None] - found_s[None, :])
        planted += len(true_s)
        hits += int((distance.min(axis=1, initial=np.inf) <= 1.0).sum())
        risen_s = np.append(true_s, entries_s)  # where bass and claps enter after the intro is a rise too
        false_alarms += int((np.abs(risen_s[:, None] - found_s).min(axis=0) > 1.0).sum())
    assert planted >= 8
    assert hits >= 0.8 * planted  # some breakdowns keep nearly all their level, on purpose
    assert false_alarms <= 0.1 * planted
