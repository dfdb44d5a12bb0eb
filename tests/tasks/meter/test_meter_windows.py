"""Windows of recordings of every length, and beats stitched from windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_bars import beats_at, steady

from earmark.audio.fragment import split_fragment
from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.meter.serving.stitching import Piece, stitched, window_bars
from earmark.tasks.meter.serving.windows import planned, settled


def lengths_of(layout, n_samples: int) -> list[int | None]:
    """What the windows of a file of so many samples hold, as the decoder cuts them."""
    found = []
    for uri in layout.uris:
        _, span = split_fragment(uri)
        start, end = (
            (0, n_samples)
            if span is None
            else (round(edge * SAMPLE_RATE) for edge in (span.start_s, span.end_s))
        )
        found.append(min(end, n_samples) - start if start < n_samples else None)
    return found


@pytest.mark.parametrize(
    ("duration_s", "uris"),
    [
        (10.0, ("a.wav",)),
        (31.0, ("a.wav",)),
        (40.0, ("a.wav#t=0,30", "a.wav#t=15,45")),
        (45.0, ("a.wav#t=0,30", "a.wav#t=15,45")),
        (46.0, ("a.wav#t=0,30", "a.wav#t=15,45", "a.wav#t=30,60")),
    ],
)
def test_windows_begin_every_15_s(duration_s, uris):
    assert planned("a.wav", duration_s).uris == uris


def test_a_part_is_cut_into_windows_of_its_own():
    assert planned("a.wav#t=100,140", 40.0).uris == ("a.wav#t=100,130", "a.wav#t=115,140")
    assert planned("a.wav#t=100,130", 30.0).uris == ("a.wav#t=100,130",)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200 * SAMPLE_RATE), st.floats(-20, 20))
def test_a_header_that_lies_changes_nothing(n_samples, error_s):
    """From any estimate of the length the same windows are reached, within the rounds that a reader takes."""
    true = planned("a.wav", n_samples / SAMPLE_RATE)
    layout = planned("a.wav", max(0.1, n_samples / SAMPLE_RATE + error_s))
    for _ in range(4):
        layout = settled(layout, lengths_of(layout, n_samples))
    assert layout == true
    ends = [start + 30.0 for start in true.starts_s]
    assert ends[-1] >= n_samples / SAMPLE_RATE - 1.0
    assert all(
        length and (k == 0 or length > 15 * SAMPLE_RATE)
        for k, length in enumerate(lengths_of(true, n_samples))
    )


def pieces_of(times_s, positions, duration_s: float, jitter_s: float = 0.0, seed: int = 0) -> list[Piece]:
    """Windows that hear the same beats, each a little differently."""
    rng = np.random.default_rng(seed)
    pieces = []
    for start_s in planned("a.wav", duration_s).starts_s:
        end_s = min(start_s + 30.0, duration_s)
        inside = (times_s >= start_s) & (times_s < end_s)
        heard_s = times_s[inside] - start_s + rng.uniform(-jitter_s, jitter_s, np.count_nonzero(inside))
        beats = beats_at(heard_s, positions[inside])
        accents = np.ones((round((end_s - start_s) * 43), 2), dtype=np.float32)
        bars = window_bars(start_s, beats, np.stack([heard_s] * 3, axis=1).astype(np.float32), accents, 1.0)
        pieces.append(Piece(start_s, end_s, bars))
    return pieces


@settings(deadline=None, max_examples=40)
@given(st.floats(50, 280), st.integers(2, 11), st.floats(32, 150), st.integers(0, 9))
def test_stitching_restores_beats_that_all_windows_hear(bpm, length, duration_s, seed):
    times_s = steady(bpm, duration_s, 0.3)
    positions = np.arange(len(times_s)) % length + 1
    found = stitched(pieces_of(times_s, positions, duration_s, jitter_s=0.03, seed=seed))
    np.testing.assert_allclose(found.beats.times_s, times_s, atol=0.031)
    np.testing.assert_array_equal(found.beats.positions, positions)
    assert len(found.onset_at_beats) == len(found.level_at_beats) == len(times_s)


def test_a_window_that_heard_half_the_beats_speaks_for_its_core_only():
    times_s = steady(120, 60.0, 0.25)
    pieces = pieces_of(times_s, np.ones(len(times_s)), 60.0)
    pieces[1] = Piece(15.0, 45.0, pieces[1].bars.taken(np.arange(0, len(pieces[1].bars.beats), 2)))
    found = stitched(pieces).beats.times_s
    assert np.all(np.diff(found[found < 21]) < 0.6) and np.all(np.diff(found[found > 39]) < 0.6)
    assert np.all(np.diff(found) >= 0.1)


def test_nothing_heard_is_no_beats():
    assert len(stitched([]).beats) == 0
    silent = pieces_of(np.empty(0), np.empty(0), 50.0)
    assert len(stitched(silent).beats) == 0
