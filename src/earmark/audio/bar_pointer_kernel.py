"""The loop of the bar pointer: best paths over bars whose beats may each have another length.

Tempo changes at beats only, so a path is a chain of whole beats, and the pointer need not be moved frame by frame: what
a beat of so many frames explains is a difference of two running sums. The result is that of the frame-wise Viterbi
decoding, in a small part of its time.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]

FIRST = -1  # back pointer of a beat before which the clip began
NEVER = np.float32(-1e30)


@njit(cache=True)
def best_path(
    beat: Float64,
    rest: Float64,
    intervals: Int64,
    heads: Int64,
    changes: Float32,
    reach: Int64,
    prior: Float32,
) -> tuple[Int64, Int64, float]:
    """Frames and numbers in the bar of the beats of the best path, and its log likelihood.

    Parameters
    ----------
    beat : float64, shape (n_beats_per_bar, n_frames + 1)
        Running sums of the log likelihood of the frames as head of that beat; 0 first.
    rest : float64, shape (n_frames + 1,)
        The same for frames between the heads of beats.
    intervals, heads : int64, shape (n_intervals,)
        Frames of a beat, ascending, and how many of them are its head.
    changes : float32, shape (n_intervals, n_intervals)
        Log probability of one interval (first axis) after another (second axis).
    reach : int64, shape (n_intervals, 2)
        Range of the previous intervals, [first, end), that can lead to one.
    prior : float32, shape (n_intervals,)
        Log weight of each beat of that length.
    """
    n_beats, n_frames, n_intervals = len(beat), len(rest) - 1, len(intervals)
    score = np.full((n_beats, n_frames, n_intervals), NEVER, dtype=np.float32)
    before = np.full((n_beats, n_frames, n_intervals), FIRST, dtype=np.int16)
    arrived = np.empty(n_intervals, dtype=np.float32)
    score[:, 0, :] = 0.0
    for t in range(1, n_frames):
        for b in range(n_beats):
            previous = (b - 1) % n_beats
            n_known = _arrive(score[previous], beat[previous], rest, intervals, heads, prior, t, arrived)
            for k in range(n_intervals):
                best, place = NEVER, FIRST
                for j in range(reach[k, 0], min(reach[k, 1], n_intervals)):
                    value = arrived[j] + changes[k, j]
                    if value > best:
                        best, place = value, j
                score[b, t, k] = best
                before[b, t, k] = place if place < n_known else -2 - place
    return _trace(score, before, beat, rest, intervals, heads, prior)


@njit(cache=True)
def _arrive(
    score: Float32,
    beat: Float64,
    rest: Float64,
    intervals: Int64,
    heads: Int64,
    prior: Float32,
    t: int,
    arrived: Float32,
) -> int:
    """Fill the best scores of beats that end at frame t, by interval; returns how many of them began in the clip."""
    n_known = 0
    for k in range(len(intervals)):
        start = t - intervals[k]
        head = start + heads[k]
        if start >= 0:
            n_known = k + 1
            arrived[k] = score[start, k] + beat[head] - beat[start] + rest[t] - rest[head] + prior[k]
        else:  # the beat began before the clip: of its head only what is left counts
            head = min(max(head, 0), t)
            arrived[k] = beat[head] + rest[t] - rest[head]
    return n_known


@njit(cache=True)
def _trace(
    score: Float32,
    before: Int16,
    beat: Float64,
    rest: Float64,
    intervals: Int64,
    heads: Int64,
    prior: Float32,
) -> tuple[Int64, Int64, float]:
    """From the best beat that runs to the end of the clip, back to its beginning."""
    n_beats, n_frames, n_intervals = score.shape
    best, b, t, k = -np.inf, 0, 0, 0
    for k_last in range(n_intervals):
        for start in range(max(0, n_frames - intervals[k_last]), n_frames):
            head = min(start + heads[k_last], n_frames)
            for b_last in range(n_beats):
                ahead = beat[b_last, head] - beat[b_last, start] + rest[n_frames] - rest[head]
                value = score[b_last, start, k_last] + ahead
                if value > best:
                    best, b, t, k = value, b_last, start, k_last
    frames = np.empty(n_frames, dtype=np.int64)
    numbers = np.empty(n_frames, dtype=np.int64)
    n = 0
    while True:
        frames[n], numbers[n] = t, b
        n += 1
        link = before[b, t, k]
        if link < 0:  # FIRST, or a beat that began before the clip
            break
        t, b, k = t - intervals[link], (b - 1) % n_beats, link
    return frames[:n][::-1].copy(), numbers[:n][::-1].copy(), best
