"""Bars and beats of an activation: the bar pointer, a hidden Markov model of position in the bar and tempo.

The state is the place within the bar and the length of the beat in frames; the length may change at each beat, the
less likely the more it changes. A frame at the head of a beat is explained by the activation of its kind, any other by
what is left. Each bar length is decoded by itself; the most likely one is the answer.

Conventions: frames at `fps` per second; an activation is (n_frames, 2), probability of a beat that is no downbeat, and
of a downbeat, as networks give them; positions count from 1 at the downbeat.

References: N. Whiteley, A. Cemgil, S. Godsill, Bayesian modelling of temporal structure in musical audio, ISMIR 2006;
F. Krebs, S. Boeck, G. Widmer, An efficient state-space model for joint tempo and meter tracking, ISMIR 2015;
S. Boeck, F. Krebs, G. Widmer, Joint beat and downbeat tracking with recurrent neural networks, ISMIR 2016 (transition
lambda 100, observation lambda 16).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

EPSILON = 1e-5  # an activation of 0 or 1 would forbid what the rest of the clip says
NEGLIGIBLE = 1e-8  # share of the most likely change of tempo; below this it is left out


@dataclass(frozen=True)
class Bars:
    """Beats with their place in the bar.

    Attributes
    ----------
    times_s : np.ndarray, float64, shape (n_beats,)
    positions : np.ndarray, int64, shape (n_beats,)
        From 1 at the downbeat.
    strengths : np.ndarray, float64, shape (n_beats,)
        Activation at the beat, 0 to 1.
    beats_per_bar : int
        Of the most likely bar length; 0 without any beat.
    log_likelihood : dict of int to float
        By bar length, per frame, relative to the most likely: 0 or below.
    """

    times_s: Float64
    positions: Int64
    strengths: Float64
    beats_per_bar: int
    log_likelihood: dict[int, float]


def track_bars(
    activation: NDArray[np.floating],
    fps: float,
    *,
    beats_per_bar: Sequence[int] = (3, 4, 5, 7),
    min_bpm: float = 55.0,
    max_bpm: float = 215.0,
    transition_lambda: float = 100.0,
    observation_lambda: float = 16.0,
    tempo_weight: float = 0.0,
    tempo_bpm: float = 120.0,
    silence: float = 0.05,
) -> Bars:
    """Most likely beats and bars of an activation.

    Parameters
    ----------
    activation : np.ndarray, shape (n_frames, 2)
        Probability of a beat that is no downbeat, and of a downbeat.
    fps : float
        Frames per second, > 0.
    beats_per_bar : sequence of int
        Bar lengths to try, each at least 1.
    min_bpm, max_bpm : float
        Range of the tempo, BPM.
    transition_lambda : float
        How steady the tempo is: a change to ``r`` times the interval has weight ``exp(-lambda |r - 1|)``.
    observation_lambda : float
        The head of a beat is this part of it, 1/16 by default.
    tempo_weight, tempo_bpm : float
        Log weight of a beat an octave from that tempo, squared with the octaves; 0 for none.
    silence : float
        If no activation reaches this, there are no beats.

    Raises
    ------
    UsageError
        A bar length, rate or range of tempo is not possible, or the activation has another shape.
    """
    _validate(activation, fps, beats_per_bar, min_bpm, max_bpm)
    raw = np.asarray(activation, dtype=np.float64)
    if not len(raw) or raw.sum(axis=1).max() < silence:
        return Bars(
            np.empty(0), np.empty(0, dtype=np.int64), np.empty(0), 0, dict.fromkeys(beats_per_bar, 0.0)
        )
    tempo = _TempoModel.of(
        fps, min_bpm, max_bpm, transition_lambda, observation_lambda, tempo_weight, tempo_bpm
    )
    densities = _log_densities(raw, observation_lambda)
    paths = {n: _decode(densities, n, tempo) for n in dict.fromkeys(beats_per_bar)}
    best = max(paths, key=lambda n: paths[n][2])
    frames, numbers, likelihood = paths[best]
    relative = {n: (path[2] - likelihood) / len(raw) for n, path in paths.items()}
    return _located(raw, frames, numbers, tempo, fps, best, relative)


@dataclass(frozen=True)
class _TempoModel:
    intervals: Int64
    heads: Int64
    changes: NDArray[np.float32]
    reach: Int64
    prior: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        fps: float,
        min_bpm: float,
        max_bpm: float,
        steadiness: float,
        observation_lambda: float,
        weight: float,
        centre_bpm: float,
    ) -> _TempoModel:
        intervals = np.arange(max(1, round(60.0 * fps / max_bpm)), round(60.0 * fps / min_bpm) + 1)
        ratio = intervals[:, np.newaxis] / intervals[np.newaxis, :]
        changes = np.exp(-steadiness * np.abs(ratio - 1.0))
        changes[changes < NEGLIGIBLE] = 0.0
        changes /= changes.sum(axis=0, keepdims=True)
        likely = changes > 0
        end = len(intervals) - np.argmax(likely[:, ::-1], axis=1)
        reach = np.stack([np.argmax(likely, axis=1), end], axis=1)
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(changes), -1e6)
        octaves = np.log2(60.0 * fps / intervals / centre_bpm)
        return cls(
            intervals.astype(np.int64),
            np.ceil(intervals / observation_lambda).astype(np.int64),
            logs.astype(np.float32),
            reach.astype(np.int64),
            (-weight * octaves**2).astype(np.float32),
        )


def _validate(
    activation: NDArray[np.floating], fps: float, beats_per_bar: Sequence[int], min_bpm: float, max_bpm: float
) -> None:
    if np.ndim(activation) != 2 or np.shape(activation)[1] != 2:
        raise UsageError(
            f"The activation has shape {np.shape(activation)}; expected (n_frames, 2), beats and downbeats. Stack them."
        )
    if not beats_per_bar or min(beats_per_bar) < 1:
        raise UsageError(
            f"beats_per_bar is {tuple(beats_per_bar)}; expected whole numbers from 1. Name at least one."
        )
    if not (fps > 0 and 0 < min_bpm < max_bpm):
        raise UsageError(
            f"fps {fps:g}, min_bpm {min_bpm:g}, max_bpm {max_bpm:g} are no range of tempo; expected fps > 0 and "
            "0 < min_bpm < max_bpm. Correct them."
        )


def _log_densities(raw: Float64, observation_lambda: float) -> tuple[Float64, Float64, Float64]:
    """Running sums of the log likelihood of beat, downbeat and neither, each (n_frames + 1,)."""
    scaled = raw * (1.0 - EPSILON) + EPSILON / 2
    beat, downbeat = np.log(scaled).T
    neither = np.log(np.maximum(1.0 - scaled.sum(axis=1), EPSILON) / (observation_lambda - 1.0))
    sums = [np.concatenate(([0.0], np.cumsum(logs))) for logs in (beat, downbeat, neither)]
    return sums[0], sums[1], sums[2]


def _decode(
    densities: tuple[Float64, Float64, Float64], n: int, tempo: _TempoModel
) -> tuple[Int64, Int64, float]:
    """Frames and numbers of the beats, and the log likelihood less that of choosing one of the bar's states."""
    from earmark.audio.bar_pointer_kernel import best_path

    beat, downbeat, rest = densities
    by_number = np.stack([downbeat] + [beat] * (n - 1))
    frames, numbers, likelihood = best_path(
        by_number, rest, tempo.intervals, tempo.heads, tempo.changes, tempo.reach, tempo.prior
    )
    return frames, numbers, likelihood - float(np.log(n * tempo.intervals.sum()))


def _located(
    raw: Float64,
    frames: Int64,
    numbers: Int64,
    tempo: _TempoModel,
    fps: float,
    n: int,
    relative: dict[int, float],
) -> Bars:
    """Each beat at the peak of the activation in its head, between frames by a parabola."""
    both = raw.sum(axis=1)
    lengths = np.append(np.diff(frames), np.diff(frames)[-1:])
    heads = (
        tempo.heads[np.clip(lengths - tempo.intervals[0], 0, len(tempo.heads) - 1)]
        if len(lengths)
        else frames
    )
    heads = heads if len(heads) == len(frames) else np.ones(len(frames), dtype=np.int64)
    peaks = np.array(
        [f + int(np.argmax(both[f : f + max(1, h)])) for f, h in zip(frames, heads, strict=True)],
        dtype=np.int64,
    )
    times = (peaks + parabolic_offsets(both, peaks)) / fps
    return Bars(np.maximum(times, 0.0), numbers + 1, np.clip(both[peaks], 0.0, 1.0), n, relative)


def parabolic_offsets(curve: Float64, peaks: Int64) -> Float64:
    """Summit of the parabola through each peak and its neighbours, -0.5 to 0.5 frames from it; 0 without one."""
    left, right = curve[np.maximum(peaks - 1, 0)], curve[np.minimum(peaks + 1, len(curve) - 1)]
    bend = left - 2.0 * curve[peaks] + right
    inner = (peaks > 0) & (peaks < len(curve) - 1) & (bend < 0)
    offset = np.where(inner, 0.5 * (left - right) / np.where(inner, bend, -1.0), 0.0)
    return np.asarray(np.clip(offset, -0.5, 0.5))
