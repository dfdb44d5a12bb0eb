"""The loops of beat tracking: smoothing of the envelope, and the scores of all chains of beats."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
SMOOTHING = 32.0  # the Gaussian on the envelope has a standard deviation of 1/32 beat
FIRST_BEAT_SHARE = 0.01  # of the highest local score: before this nothing starts a chain


@njit(cache=True)
def local_score(envelope: Float64, frames_per_beat: float) -> Float64:
    """The envelope smoothed by a Gaussian of 1/32 beat."""
    half = int(frames_per_beat)
    window = np.exp(-0.5 * (np.arange(-half, half + 1) * SMOOTHING / frames_per_beat) ** 2)
    n = len(envelope)
    score = np.empty(n)
    for i in range(n):
        total = 0.0
        for k in range(max(0, i + half - n + 1), min(i + half + 1, 2 * half + 1)):
            total += window[k] * envelope[i + half - k]
        score[i] = total
    return score


@njit(cache=True)
def chain_scores(score: Float64, frames_per_beat: float, tightness: float) -> tuple[Int64, Float64]:
    """Best predecessor of each frame (-1: none) and the score of the best chain that ends there."""
    n = len(score)
    nearest = int(np.round(frames_per_beat / 2))
    farthest = int(2 * frames_per_beat)
    penalty = np.zeros(farthest + 1)
    for lag in range(1, farthest + 1):
        penalty[lag] = tightness * (np.log(lag) - np.log(frames_per_beat)) ** 2
    backlink = np.empty(n, dtype=np.int64)
    total = np.empty(n)
    threshold = FIRST_BEAT_SHARE * score.max()
    started = False
    for i in range(n):
        best, place = -np.inf, -1
        for lag in range(max(nearest, 1), min(farthest, i) + 1):
            candidate = total[i - lag] - penalty[lag]
            if candidate > best:
                best, place = candidate, i - lag
        total[i] = score[i] + best if place >= 0 else score[i]
        started = started or score[i] >= threshold
        backlink[i] = place if started and i > 0 else -1
    return backlink, total
