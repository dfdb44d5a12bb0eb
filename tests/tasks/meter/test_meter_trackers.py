"""Trackers on clicks: any tempo, ramps, bars, silence; what is absent says so."""

from __future__ import annotations

import numpy as np
import pytest
from clicked_bars import SAMPLE_RATE, clicked

from earmark.audio.clip import Clip
from earmark.errors import TooShortError, UsageError
from earmark.tasks.meter.schema import BEAT_COLUMNS
from earmark.tasks.meter.trackers.alignment import alignment, primary, trust
from earmark.tasks.meter.trackers.registry import ABSENT, TRACKERS, beats_of, slots, tracker
from earmark.tasks.meter.trackers.rows import Beats

EVERYWHERE = ("dp", "librosa", "bars")


@pytest.mark.parametrize("bpm", [40, 60, 83, 120, 167, 220, 260, 300])
def test_dp_finds_every_click_at_any_tempo(bpm: float) -> None:
    times = np.arange(0.4, 19.6, 60 / bpm)
    beats = beats_of(clicked(times), TRACKERS["dp"])
    distance = np.abs(beats.times_s[np.newaxis, :] - times[1:-1, np.newaxis]).min(axis=1)
    assert distance.max() < 0.012  # a frame is 23 ms: times lie between frames
    assert abs(60 / np.median(beats.intervals_s) - bpm) < 0.02 * bpm


def test_dp_follows_a_ramp_that_the_plain_rule_does_not() -> None:
    times = [0.4]
    while times[-1] < 19.4:
        times.append(times[-1] + 60 / (80 + 4 * times[-1]))
    clip = clicked(np.array(times))
    reached = {
        name: np.abs(beats_of(clip, TRACKERS[name]).times_s - np.array(times)[1:-1, np.newaxis])
        .min(axis=1)
        .max()
        for name in ("dp", "librosa")
    }
    assert reached["dp"] < 0.02 < reached["librosa"]


@pytest.mark.parametrize("beats_per_bar", [3, 4, 5, 7])
@pytest.mark.parametrize("bpm", [90, 150])
def test_bars_finds_length_and_downbeats(beats_per_bar: int, bpm: float) -> None:
    times = np.arange(0.4, 29.6, 60 / bpm)
    beats = beats_of(clicked(times, beats_per_bar, duration_s=30.0), TRACKERS["bars"])
    spacings = set(beats.downbeat_spacings.tolist())
    assert all(spacing % beats_per_bar == 0 for spacing in spacings)
    reference = times[::beats_per_bar]
    heard = beats.downbeat_times_s[
        beats.downbeat_times_s < reference[-1] + 0.1
    ]  # it may count on beyond the end
    assert len(heard) > 0.4 * len(reference)
    assert np.abs(heard[:, np.newaxis] - reference).min(axis=1).max() < 0.02


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("kind", ["silence", "constant", "noise", "one click", "clipped"])
def test_hostile_sounds_give_finite_ascending_rows(name: str, kind: str) -> None:
    n = 5 * SAMPLE_RATE
    samples = np.zeros(n, dtype=np.float32)
    if kind == "constant":
        samples += 0.5
    elif kind == "noise":
        samples += np.random.default_rng(1).normal(0, 0.1, n).astype(np.float32)
    elif kind == "one click":
        samples[n // 2] = 1.0
    elif kind == "clipped":
        samples = np.sign(np.sin(np.arange(n) * 0.03)).astype(np.float32)
    rows = TRACKERS[name](Clip(samples, SAMPLE_RATE))
    assert rows.shape[1] == len(BEAT_COLUMNS)
    assert np.isfinite(rows).all()
    assert (np.diff(rows[:, 0]) > 0).all()
    assert ((rows[:, 2] >= 0) & (rows[:, 2] <= 1)).all()
    if kind == "silence":
        assert len(rows) == 0


@pytest.mark.parametrize("name", EVERYWHERE)
def test_level_and_repetition_change_nothing(name: str) -> None:
    clip = clicked(np.arange(0.4, 9.5, 0.5), 4, duration_s=10.0)
    quiet = Clip(clip.samples / 8, SAMPLE_RATE)  # a power of two: peak and filter see the same digits
    np.testing.assert_array_equal(TRACKERS[name](clip), TRACKERS[name](Clip(clip.samples, SAMPLE_RATE)))
    np.testing.assert_array_equal(TRACKERS[name](clip), TRACKERS[name](quiet))


def test_half_a_second_is_too_short() -> None:
    with pytest.raises(TooShortError, match=r"at least 2 s"):
        TRACKERS["bars"](Clip(np.zeros(SAMPLE_RATE // 2, dtype=np.float32), SAMPLE_RATE))


def test_bars_reads_the_beats_that_are_handed_in() -> None:
    clip = clicked(np.arange(0.4, 9.5, 0.5), 4, duration_s=10.0)
    cold = TRACKERS["bars"](Clip(clip.samples, SAMPLE_RATE))
    half_warm = Clip(clip.samples, SAMPLE_RATE)
    TRACKERS["dp"].hand_in(half_warm, TRACKERS["dp"](clip))
    np.testing.assert_array_equal(TRACKERS["bars"](half_warm), cold)


def test_rows_round_trip() -> None:
    beats = Beats(
        np.array([0.5, 1.0, 1.5]), np.array([3, 1, 2]), np.array([0.25, 1.0, 0.5], dtype=np.float32)
    )
    again = Beats.of_rows(beats.rows)
    np.testing.assert_array_equal(again.times_s, beats.times_s)
    np.testing.assert_array_equal(again.positions, beats.positions)
    assert again.downbeat_times_s.tolist() == [1.0]
    assert len(Beats.none()) == 0
    assert len(Beats.of_rows(Beats.none().rows)) == 0


def test_alignment_by_hand() -> None:
    beats, onsets = np.array([1.0, 2.0]), np.array([1.0, 1.5, 2.035])
    # beats: distances 0 and 35 ms, so 0.75; onsets: 0, 70 (clipped), 35 ms, so 0.5; harmonic mean 0.6
    assert alignment(beats, onsets) == pytest.approx(0.6)
    assert alignment(beats, np.empty(0)) == alignment(np.empty(0), onsets) == 0.0
    assert alignment(beats, beats) == pytest.approx(1.0)
    assert alignment(np.array([0.0]), np.array([9.0])) == 0.0
    assert [trust(a) for a in (0.0, 0.4, 0.6, 0.8, 1.0)] == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.0])
    assert primary([0.2, 0.7, 0.7]) == 1


def test_a_network_without_weights_is_absent_and_says_what_to_get() -> None:
    first, second, third = slots(environ={})
    assert [slot.status for slot in (first, second, third)] == ["ok", ABSENT, "ok"]
    assert "EARMARK_BEAT_THIS" in second.reason
    assert "final0.ckpt" in second.reason
    clip = clicked(np.arange(0.4, 4.5, 0.5), duration_s=5.0)
    assert len(beats_of(clip, second.group)) == 0
    for name in ("beatnet", "beat_this"):
        assert tracker(name, {}) is None
        with pytest.raises(UsageError, match=r"EARMARK_BEAT"):
            TRACKERS[name](clip)
    assert slots(("dp", ABSENT, ABSENT), {})[1].group is None


def test_unknown_trackers_and_paths_are_refused() -> None:
    with pytest.raises(UsageError, match=r"beatles.*no tracker"):
        tracker("beatles", {})
    with pytest.raises(UsageError, match=r"three slots"):
        slots(("dp",), {})
    with pytest.raises(UsageError, match=r"cannot be read"):
        tracker("beatnet", {"EARMARK_BEATNET": "/nowhere/weights.pt"})
