"""The bar pointer against a frame-wise decoder, on activations of known bars, and on what it must refuse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.bar_pointer_kernel import best_path
from earmark.audio.bar_tracking import _log_densities, _TempoModel, parabolic_offsets, track_bars
from earmark.audio.downbeats import fit_bars, positions_of
from earmark.errors import UsageError

FPS = 50.0


def activation(bpm: float, n: int, phase: int = 0, duration_s: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    frames = np.arange(int(duration_s * FPS))
    result = np.full((len(frames), 2), 0.01)
    times = np.arange(0.4, duration_s - 0.3, 60 / bpm)
    for i, time in enumerate(times):
        bump = np.exp(-0.5 * ((frames - time * FPS) / 1.2) ** 2)
        column = 1 if (i - phase) % n == 0 else 0
        result[:, column] = np.maximum(result[:, column], 0.8 * bump)
    return result, times


@pytest.mark.parametrize("n", [3, 4, 5, 7])
@pytest.mark.parametrize("bpm", [62.0, 97.0, 150.0, 187.5])
def test_known_bars_are_found(n: int, bpm: float) -> None:
    wanted, times = activation(bpm, n, phase=1)
    bars = track_bars(wanted, FPS)
    assert bars.beats_per_bar == n
    assert bars.log_likelihood[n] == 0.0
    assert max(value for key, value in bars.log_likelihood.items() if key != n) < 0
    inner = times[2:-2]
    nearest = np.abs(bars.times_s - inner[:, np.newaxis]).argmin(axis=1)
    assert np.abs(bars.times_s[nearest] - inner).max() < 0.01
    np.testing.assert_array_equal(bars.positions[nearest], (np.arange(len(times)) - 1)[2:-2] % n + 1)


def test_nine_and_eleven() -> None:
    for n in (9, 11):
        wanted, _ = activation(160.0, n)
        assert track_bars(wanted, FPS, beats_per_bar=(3, 4, 9, 11)).beats_per_bar == n


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(20, 60))
def test_the_path_is_that_of_a_frame_wise_decoder(seed: int, n: int, n_frames: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.dirichlet((1.0, 1.0, 4.0), n_frames)[:, :2]
    tempo = _TempoModel.of(10.0, 75.0, 150.0, 20.0, 4.0, 0.0, 120.0)
    beat, downbeat, rest = _log_densities(raw, 4.0)
    by_number = np.stack([downbeat] + [beat] * (n - 1))
    _, _, found = best_path(
        by_number, rest, tempo.intervals, tempo.heads, tempo.changes, tempo.reach, tempo.prior
    )
    assert found == pytest.approx(_frame_wise(by_number, rest, tempo), rel=1e-5, abs=1e-3)


def _frame_wise(by_number: np.ndarray, rest: np.ndarray, tempo: _TempoModel) -> float:
    """Highest log likelihood by Viterbi decoding over every (beat, interval, place) state, written the long way."""
    states = [
        (b, k, p) for b in range(len(by_number)) for k, t in enumerate(tempo.intervals) for p in range(t)
    ]
    density = {(b, k, p): np.diff(by_number[b] if p < tempo.heads[k] else rest) for b, k, p in states}
    score = {state: density[state][0] for state in states}
    for t in range(1, len(rest) - 1):
        new = {}
        for b, k, p in states:
            if p:
                best = score[b, k, p - 1]
            else:
                previous = (b - 1) % len(by_number)
                best = max(
                    score[previous, j, int(length) - 1] + float(tempo.changes[k, j])
                    for j, length in enumerate(tempo.intervals)
                )
            new[b, k, p] = best + density[b, k, p][t]
        score = new
    return max(score.values())


def test_nothing_is_heard_in_silence() -> None:
    bars = track_bars(np.zeros((500, 2)), FPS)
    assert len(bars.times_s) == bars.beats_per_bar == 0
    assert len(track_bars(np.zeros((0, 2)), FPS).times_s) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 120))
def test_any_activation_gives_ascending_beats(seed: int, n_frames: int) -> None:
    bars = track_bars(np.random.default_rng(seed).random((n_frames, 2)) / 2, FPS)
    assert (np.diff(bars.times_s) > 0).all()
    assert set(np.diff(bars.positions)) <= {1, 1 - bars.beats_per_bar}


@pytest.mark.parametrize(
    ("shape", "given", "complaint"),
    [
        ((5, 3), {}, "shape"),
        ((5, 2), {"beats_per_bar": ()}, "beats_per_bar"),
        ((5, 2), {"beats_per_bar": (0,)}, "beats_per_bar"),
        ((5, 2), {"min_bpm": 200, "max_bpm": 100}, "range of tempo"),
    ],
)
def test_wrong_arguments_are_named(shape: tuple[int, int], given: dict[str, object], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        track_bars(np.zeros(shape), FPS, **given)  # type: ignore[arg-type]


def test_parabola_by_hand() -> None:
    curve = -((np.arange(7) - 3.3) ** 2)
    assert parabolic_offsets(curve, np.array([3])) == pytest.approx([0.3])
    assert parabolic_offsets(np.zeros(3), np.array([0, 1, 2])).tolist() == [0, 0, 0]


@given(st.integers(2, 12), st.integers(0, 11), st.integers(24, 60))
def test_bars_of_a_clear_activation(n: int, phase: int, n_beats: int) -> None:
    wanted = positions_of(n_beats, n, phase % n)
    fit = fit_bars(np.where(wanted == 1, 0.95, 0.05), (n,))
    np.testing.assert_array_equal(fit.positions, wanted)
    assert fit_bars(np.where(wanted == 1, 0.95, 0.05), range(2, 13)).beats_per_bar == n
