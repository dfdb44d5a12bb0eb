"""Groups of the meter task against values computed by hand and by loops, on arrays and on synthetic bars."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.audio.clip import Clip
from earmark.errors import TooShortError
from earmark.tasks.meter.bar_grid import (
    BAR_GRID_COLUMNS,
    BEATS,
    N_LAGS,
    bar_grid_columns,
    bar_scores,
    bar_seconds,
)
from earmark.tasks.meter.groups.bar_grid import BAR_GRID
from earmark.tasks.meter.groups.beat import BEAT, agreement_columns, beat_columns
from earmark.tasks.meter.groups.division import DIVISION
from earmark.tasks.meter.groups.signals import SIGNAL_GROUP, SIGNAL_RECORD, is_sparse, signal_columns
from earmark.tasks.meter.groups.slots import DEFAULT_TRACKERS, primary_beats, with_trackers
from earmark.tasks.meter.groups.ssm import SSM, similarity_profile, ssm_columns
from earmark.tasks.meter.groups.sync import SYNC, at_beats, phase_contrast, synchronous_columns
from earmark.tasks.meter.groups.tempo import TEMPO, tempo_columns
from earmark.tasks.meter.periodicity import bar_peaks
from earmark.tasks.meter.schema import CURVES, FRAMES_PER_S, SAMPLE_RATE, SIGNATURES
from earmark.tasks.meter.signals import (
    SIGNALS,
    autocorrelation_scores,
    bar_tracking_scores,
    harmonic_change,
    spacing_scores,
)
from earmark.tasks.meter.signatures import RECORDED_SIGNATURES
from earmark.tasks.meter.trackers.rows import Beats
from earmark.tasks.meter.views import VIEWS
from earmark.tasks.meter.vote import rule_answers, vote_scores

GROUPS = (SSM, BEAT, SIGNAL_GROUP, SIGNAL_RECORD, TEMPO, SYNC, DIVISION, BAR_GRID)


def beats_of(*bar_lengths: int, interval_s: float = 0.5) -> Beats:
    positions = np.concatenate([np.arange(1, n + 1) for n in bar_lengths]).astype(np.int64)
    return Beats(np.arange(len(positions)) * interval_s, positions, np.ones(len(positions), dtype=np.float32))


def bars_clip(n_beats: int, beat_s: float = 0.4, duration_s: float = 20.0) -> Clip:
    """A low drum at each downbeat, a short high note at each beat."""
    samples = np.zeros(int(duration_s * SAMPLE_RATE), dtype=np.float32)
    time_s = np.arange(int(0.15 * SAMPLE_RATE)) / SAMPLE_RATE
    low = np.sin(2 * np.pi * 110 * time_s) * np.exp(-time_s / 0.05)
    high = 0.3 * np.sin(2 * np.pi * 1200 * time_s) * np.exp(-time_s / 0.02)
    for beat in range(int(duration_s / beat_s)):
        start = round(beat * beat_s * SAMPLE_RATE)
        sound = high + (low if beat % n_beats == 0 else 0)
        end = min(start + len(sound), len(samples))
        samples[start:end] += sound[: end - start].astype(np.float32)
    return Clip(samples, SAMPLE_RATE)


def test_widths_are_those_of_the_published_views():
    widths = {name: len(view.columns) for name, view in VIEWS.items()}
    assert (len(SSM.columns), len(BEAT.columns), len(SIGNAL_GROUP.columns)) == (75, 42, 60)
    assert (len(TEMPO.columns), len(SYNC.columns)) == (4, 93)
    assert (widths["a1449"], widths["g1467"], widths["g1630"]) == (1449, 1467, 1630)
    digits = {name: int(found) for name in widths if (found := "".join(c for c in name if c.isdigit()))}
    assert {name: widths[name] for name in digits} == digits
    for view in VIEWS.values():
        assert str(len(view.columns)) in view.description


def test_similarity_of_a_harmony_that_comes_back_every_three_beats():
    chords = np.eye(12)[[0, 4, 7]]
    profile = similarity_profile(np.tile(chords, (8, 1)))
    assert profile.tolist() == [1.0 if lag % 3 == 0 else 0.0 for lag in range(2, 13)]
    frames = np.repeat(np.tile(chords, (8, 1)), 10, axis=0).astype(np.float32)
    columns = ssm_columns(frames, np.arange(24) * 10 / FRAMES_PER_S)
    assert columns[:11] == pytest.approx(profile)
    assert columns[22] == pytest.approx(3 / 12)
    assert columns[23] == pytest.approx(1.0)
    assert columns[24] == pytest.approx(2.0)  # four equal shares
    assert not ssm_columns(frames, np.array([0.0, 0.5, 1.0])).any()


def test_beat_columns_by_hand():
    columns = beat_columns(beats_of(3, 3, 4, 3, 1, interval_s=0.5), 0.75, duration_s=10.0)
    expected = [0.5 / 3, 0, 0, 14 / 10 / 10, 0.75, 0, 0.75, 0.25, 0, 0, 0, 120 / 300]
    assert columns == pytest.approx(expected)
    assert not beat_columns(Beats.none(), 0.0, 10.0).any()


def test_agreement_needs_two_trackers():
    three, four = beats_of(3, 3, 3, 1), beats_of(4, 4, 1)
    assert not agreement_columns([three, Beats.none(), Beats.none()]).any()
    assert agreement_columns([three, Beats.none(), three]).tolist() == [1, 0, 0, 0, 0, 0]
    assert agreement_columns([three, four, Beats.none()]).tolist() == [0.5, 0.5, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (120.0, 60.0, [0.4, 0.2, 2.0, 0.5]),
        (0.0, 0.0, [0, 0, 1, 0]),
        (120.0, 0.0, [0.4, 0, 1, 0.5]),
        (0.0, 60.0, [0, 0.2, 1, 0.5]),
    ],
)
def test_tempo_columns(first, second, expected):
    assert tempo_columns(first, second) == pytest.approx(expected)


def test_spacings_speak_for_their_meter_and_its_double():
    assert spacing_scores(beats_of(3, 3, 3, 3, 1)) == {"3/4": 1.0, "6/4": 0.4}
    assert spacing_scores(beats_of(11, 11, 1)) == {"11/4": 1.0}
    # 1 of 8 bars is below 0.15; 2/4 adds to 4/4
    found = spacing_scores(beats_of(2, 2, 2, 2, 4, 4, 4, 3, 1))
    assert found == pytest.approx({"2/4": 0.5, "4/4": 0.375 + 0.2, "8/4": 0.15})
    assert spacing_scores(Beats.none()) == {}


def test_every_signal_is_given_the_beat_and_says_nothing_without_one():
    envelope = np.tile([1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 60)
    assert autocorrelation_scores(envelope, 50.0, 0.0) == {}
    assert harmonic_change(np.zeros((5, 12))).tolist() == [0.0] * 4
    clip = Clip(np.zeros(5 * SAMPLE_RATE, dtype=np.float32), SAMPLE_RATE)
    assert not SIGNAL_RECORD(clip).any()


@pytest.mark.parametrize(("beats", "name"), [(n, f"{n}/4") for n in (3, 4, 5, 7, 9, 11)])
def test_periods_reach_every_quarter_signature(beats, name):
    envelope = np.zeros(50 * 30)
    envelope[:: 20 * beats] = 1.0
    scores = autocorrelation_scores(envelope, 50.0, 20 / 50)
    assert scores[name] == 1.0
    others = [n for n in (3, 4, 5, 7, 9, 11) if n % beats]
    assert all(scores.get(f"{n}/4", 0.0) < 0.05 for n in others if abs(n - beats) > 1)


@pytest.mark.parametrize("beats", [5, 7, 9, 11])
def test_periods_reach_the_eighth_signatures(beats):
    curve = np.zeros(50 * 30)
    curve[:: 10 * beats] = 1.0
    assert bar_peaks(curve, 20.0)[f"{beats}/8"] == 1.0


@pytest.mark.parametrize("beats", [3, 4, 5, 7])
def test_bar_tracking_names_the_bar_of_the_accents(beats):
    activation = np.full(60, 0.1)
    activation[2::beats] = 0.9
    scores = bar_tracking_scores(activation)
    assert max(scores, key=scores.__getitem__) == f"{beats}/4"
    assert scores[f"{beats}/4"] == 1.0
    assert bar_tracking_scores(activation[:5]) == {}


def test_sparse_clips_have_no_bars():
    assert is_sparse(Clip(np.zeros(SAMPLE_RATE, dtype=np.float32), SAMPLE_RATE))
    click = np.zeros(SAMPLE_RATE * 6, dtype=np.float32)
    click[::SAMPLE_RATE] = 1.0
    assert is_sparse(Clip(click, SAMPLE_RATE))
    assert not is_sparse(Clip(np.ones(SAMPLE_RATE, dtype=np.float32), SAMPLE_RATE))


def test_phase_contrast_by_hand_and_free_of_the_number_of_positions():
    assert phase_contrast(np.tile([1.0, 0.0, 0.0], 8), 3) == 1.0
    assert phase_contrast(np.ones(24), 3) == 0.0
    assert phase_contrast(np.array([1.0, 0.0, 3.0]), 2) == 0.0
    values = np.array([3.0, 1.0, 5.0, 1.0])  # means 4 and 1: between 9 / 1, within 2 / 2
    assert phase_contrast(values, 2) == pytest.approx(9 / 10)
    noise = np.random.default_rng(0).normal(size=(400, 66))
    means = [np.mean([phase_contrast(row, n) for row in noise]) for n in (2, 5, 11)]
    assert max(means) - min(means) < 0.15


def test_curves_are_read_at_sub_frame_times():
    ramp = np.arange(200.0)
    times_s = np.array([50.25, 80.5, 120.75]) / FRAMES_PER_S
    assert at_beats(ramp, times_s, 5 / FRAMES_PER_S) == pytest.approx([50.25, 80.5, 120.75], abs=0.05)
    loop = [np.mean([ramp[f] for f in range(96, 105)])]
    assert at_beats(ramp, np.array([100 / FRAMES_PER_S]), 4.5 / FRAMES_PER_S) == pytest.approx(loop)


@pytest.mark.parametrize("n_beats", [3, 4, 5, 7, 9, 11])
def test_synchronous_columns_find_the_bar_through_a_tempo_ramp(n_beats):
    intervals = np.linspace(0.35, 0.55, 70)
    times_s = 1.0 + np.cumsum(intervals)
    curve = np.zeros(int(40 * FRAMES_PER_S))
    frames = np.rint(times_s * FRAMES_PER_S).astype(int)
    for offset in (-1, 0, 1):
        curve[frames[::n_beats] + offset] = 1.0
    columns = dict(zip(SYNC.columns, synchronous_columns(dict.fromkeys(CURVES, curve), times_s), strict=True))
    lags = {lag: columns[f"ac_onset_{lag}"] for lag in range(2, 17)}
    assert max((lag for lag in lags if lag <= 11), key=lags.__getitem__) == n_beats
    assert lags[n_beats] > 0.8
    phases = {n: columns[f"phase_onset_{n}"] for n in (2, 3, 4, 5, 6, 7, 9, 11, 12)}
    assert phases[n_beats] > 0.95
    assert not synchronous_columns(dict.fromkeys(CURVES, curve), times_s[:2]).any()


@pytest.mark.parametrize("n_beats", [3, 5, 7, 9, 11])
@pytest.mark.parametrize("beat_s", [0.27, 0.431])
def test_the_bar_grid_needs_no_beat(n_beats, beat_s):
    lags = np.arange(N_LAGS) / FRAMES_PER_S
    near = lambda period, width: np.exp(-(((lags + period / 2) % period - period / 2) ** 2) / (2 * width**2))  # noqa: E731
    correlation = 0.6 * near(n_beats * beat_s, 0.03) + 0.4 * near(beat_s, 0.03) - 0.1
    columns = bar_grid_columns(correlation)
    named = dict(zip(BAR_GRID_COLUMNS, columns, strict=True))
    best = {n: named[f"tiers_best_{n}"] for n in BEATS}
    assert sum(named[f"fit_share_{n}"] for n in BEATS) == pytest.approx(1.0)
    assert best[n_beats] > max(best.values()) - 0.02  # nine even beats are three times three as well
    scores = bar_scores(correlation)
    # restated by loops at one bar
    bar = 150
    bar_s = float(bar_seconds()[bar])
    at = lambda s: float(np.interp(s * FRAMES_PER_S, np.arange(N_LAGS), correlation))  # noqa: E731
    repetition = (at(bar_s) + at(2 * bar_s)) / 2
    fits, tiers = [], []
    for p in (7, 14):
        pulses = np.mean([at(k * bar_s / p) for k in range(1, 2 * p + 1)])
        inner = np.mean([at(k * bar_s / p) for k in range(1, 2 * p) if k != p])
        gaps = np.mean([at((k - 0.5) * bar_s / p) for k in range(1, 2 * p + 1)])
        fits.append(repetition + pulses - gaps)
        tiers.append((max(repetition - inner, 0) * max(inner - gaps, 0)) ** 0.5)
    seven = BEATS.index(7)
    assert scores.repetition[bar] == pytest.approx(repetition)
    assert scores.fit[seven, bar] == pytest.approx(max(fits))
    assert scores.tiers[seven, bar] == pytest.approx(max(tiers))
    assert not bar_grid_columns(np.zeros(N_LAGS)).any()


def test_groups_are_finite_and_repeat_on_hostile_clips():
    generator = np.random.default_rng(1)
    for samples in (
        np.zeros(3 * SAMPLE_RATE),
        np.ones(3 * SAMPLE_RATE),
        generator.normal(size=3 * SAMPLE_RATE) * 0.1,
        np.sign(np.sin(np.arange(3 * SAMPLE_RATE))),
    ):
        once, twice = (Clip(samples.astype(np.float32), SAMPLE_RATE) for _ in range(2))
        for group in GROUPS:
            assert group(once).tobytes() == group(twice).tobytes(), group.name


def test_too_short_is_said():
    with pytest.raises(TooShortError, match="at least 2 s"):
        SYNC(Clip(np.zeros(SAMPLE_RATE, dtype=np.float32), SAMPLE_RATE))


@pytest.mark.parametrize("n_beats", [3, 4, 5, 7])
def test_drummed_bars_are_heard_by_the_grid(n_beats):
    columns = dict(zip(BAR_GRID.columns, BAR_GRID.on(bars_clip(n_beats)), strict=True))
    best = {n: columns[f"all_tiers_best_{n}"] for n in (3, 4, 5, 7, 9, 11)}
    assert best[n_beats] > max(best.values()) - 0.05
    assert sum(score > max(best.values()) - 0.05 for score in best.values()) <= 3


def test_an_absent_slot_gives_zeros_and_other_trackers_another_fingerprint():
    clip = bars_clip(4, duration_s=8.0)
    beat = dict(zip(BEAT.columns, BEAT.on(clip), strict=True))
    assert beat["slot1_bpm"] > 0
    assert not any(value for name, value in beat.items() if name.startswith("slot2_"))
    other = with_trackers(BEAT, (None, None, DEFAULT_TRACKERS[2]))
    assert not other.on(clip)[:12].any()
    assert other.fingerprint().digest != BEAT.fingerprint().digest
    assert len(primary_beats(clip, DEFAULT_TRACKERS)) > 0


def test_the_vote_weighs_and_moves_as_written():
    silent = {name: np.zeros(2) for name in SIGNATURES}
    signals = dict.fromkeys(SIGNALS, silent)
    signals["autocorr"] = {**silent, "3/4": np.array([1.0, 1.0])}
    total = vote_scores(signals, trusted=np.array([True, False]), is_compound=np.array([False, True]))
    assert total["3/4"].tolist() == pytest.approx([0.20, 0.16 / 2])
    assert total["6/8"].tolist() == pytest.approx([0.0, 1.3 * 0.16 / 2])
    signals["spacing_1"] = {**silent, "4/4": np.array([1.0, 0.0])}
    total = vote_scores(signals, trusted=np.ones(2, bool), is_compound=np.zeros(2, bool))
    assert total["3/4"].tolist() == pytest.approx([0.6 * 0.20, 0.20])
    agreed = {name: {**silent, "5/4": np.ones(2)} for name in SIGNALS[1:4]}
    total = vote_scores(
        {**dict.fromkeys(SIGNALS, silent), **agreed}, trusted=np.ones(2, bool), is_compound=np.zeros(2, bool)
    )
    assert total["5/4"] == pytest.approx(np.full(2, 1.15 * (0.195 + 0.20 + 0.12)))


def test_the_rule_answers_by_the_strongest_period_and_four_only_where_it_hears_nothing():
    columns = {f"meter.signals.{name}": np.zeros(3) for name in signal_columns(SIGNATURES)}
    columns["meter.signals.autocorr_7_8"] = np.array([1.0, 0.2, 0.0])
    columns["meter.signals.autocorr_3_4"] = np.array([0.5, 1.0, 0.0])
    assert rule_answers(columns).tolist() == [3, 0, 1]


def test_the_record_holds_more_than_the_twelve():
    clip = bars_clip(7, duration_s=15.0)
    record = dict(zip(SIGNAL_RECORD.columns, SIGNAL_RECORD.on(clip), strict=True))
    twelve = dict(zip(SIGNAL_GROUP.columns, SIGNAL_GROUP.on(clip), strict=True))
    assert len(record) == len(SIGNALS) * len(RECORDED_SIGNATURES)
    assert all(record[name] == value for name, value in twelve.items())
    assert "autocorr_11_4" in record
