"""One tempo from several estimates that may be an octave apart.

Conventions: BPM; intervals in seconds; a confidence is 0 to 1 and weighs its estimate. An estimate without confidence,
or of 0 BPM, says nothing. An octave is a factor of two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DP_CONFIDENCE", "NO_TEMPO", "Candidate", "Tempo", "beat_candidate", "consensus"]

Float64 = NDArray[np.float64]

DP_CONFIDENCE = 0.7
SAME_OCTAVE = (0.7, 1.4)
"""Of the most confident estimate: others are doubled below, halved above; the range spans one octave."""
SLOW_BPM, FAST_BPM = 80.0, 200.0
HALF_BPM = (80.0, 180.0)
SUPPORT = 0.15
"""How near, as a share, an estimate must lie to speak for a tempo."""


@dataclass(frozen=True)
class Candidate:
    """An estimate: what made it, BPM, and how sure it is."""

    source: str
    bpm: float
    confidence: float


@dataclass(frozen=True)
class Tempo:
    """The consensus; None with confidence 0 where nothing was heard."""

    bpm: float | None
    confidence: float


NO_TEMPO = Tempo(None, 0.0)


def beat_candidate(intervals_s: Float64, source: str = "beats") -> Candidate:
    """The median interval as a tempo; its confidence falls by twice the coefficient of variation.

    Parameters
    ----------
    intervals_s : np.ndarray, shape (n,)
        Inter-beat intervals; none give 0 BPM.
    """
    if not len(intervals_s):
        return Candidate(source, 0.0, 0.0)
    variation = float(np.std(intervals_s) / np.mean(intervals_s))
    return Candidate(source, 60.0 / float(np.median(intervals_s)), max(0.0, 1.0 - 2.0 * variation))


def consensus(candidates: Iterable[Candidate]) -> Tempo:
    """The confidence-weighted mean, in the octave of the most confident estimate, moved out of unlikely octaves.

    A mean below 80 BPM is doubled where an estimate lies within 15 % of the double; one above 200 BPM is halved where
    an estimate lies within 15 % of the half, or the half lies in 80 to 180. An estimate that no octave brings within
    15 % of the most confident hears another level, thirds say: it takes no part in the mean, only in the confidence,
    which is 1 less five times the weighted standard deviation in shares of the mean.

    Examples
    --------
    >>> consensus([Candidate("beats", 60.0, 0.9), Candidate("dp", 120.0, 0.7)])
    Tempo(bpm=120.0, confidence=1.0)
    """
    heard = [one for one in candidates if one.bpm > 0 and one.confidence > 0]
    if not heard:
        return NO_TEMPO
    leader = max(heard, key=lambda one: one.confidence).bpm
    bpm = np.array([_in_octave_of(leader, one.bpm) for one in heard])
    weights = np.array([one.confidence for one in heard])
    agree = np.abs(bpm - leader) <= SUPPORT * leader
    mean = float(np.average(bpm[agree], weights=weights[agree]))
    deviation = float(np.sqrt(np.average((bpm - mean) ** 2, weights=weights)))
    return Tempo(_likely_octave(mean, [one.bpm for one in heard]), max(0.0, 1.0 - 5.0 * deviation / mean))


def _in_octave_of(leader: float, bpm: float) -> float:
    while bpm < SAME_OCTAVE[0] * leader:
        bpm *= 2.0
    while bpm > SAME_OCTAVE[1] * leader:
        bpm /= 2.0
    return bpm


def _likely_octave(bpm: float, estimates: Sequence[float]) -> float:
    def is_supported(octave: float) -> bool:
        return any(abs(one - octave) <= SUPPORT * octave for one in estimates)

    if bpm < SLOW_BPM and is_supported(2.0 * bpm):
        return 2.0 * bpm
    half = bpm / 2.0
    if bpm > FAST_BPM and (is_supported(half) or HALF_BPM[0] <= half <= HALF_BPM[1]):
        return half
    return bpm
