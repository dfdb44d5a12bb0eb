"""How well beats sit on onsets: alignment, trust, and the tracker that everything else follows.

Conventions: times in seconds, ascending. Distances count up to 70 ms, the tolerance of beat evaluation (M. Davies,
N. Degara, M. Plumbley, Evaluation methods for musical audio beat tracking algorithms, 2009).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

TOLERANCE_S = 0.070
TRUST_FROM, TRUST_TO = 0.4, 0.8


def alignment(beats_s: Float64, onsets_s: Float64) -> float:
    """Harmonic mean of how near beats are to onsets and onsets to beats, 0 to 1; 0 if either is empty."""
    if not len(beats_s) or not len(onsets_s):
        return 0.0
    precision = 1.0 - _mean_distance_s(beats_s, onsets_s) / TOLERANCE_S
    recall = 1.0 - _mean_distance_s(onsets_s, beats_s) / TOLERANCE_S
    total = precision + recall
    return float(2.0 * precision * recall / total) if total > 0 else 0.0


def trust(aligned: float) -> float:
    """0 up to an alignment of 0.4, 1 from 0.8, linear between."""
    return float(np.clip((aligned - TRUST_FROM) / (TRUST_TO - TRUST_FROM), 0.0, 1.0))


def primary(alignments: Sequence[float]) -> int:
    """Index of the highest alignment, the first of equals."""
    return int(np.argmax(alignments))


def _mean_distance_s(times_s: Float64, references_s: Float64) -> float:
    """Mean distance to the nearest reference, each at most the tolerance."""
    after = np.searchsorted(references_s, times_s)
    right = references_s[np.minimum(after, len(references_s) - 1)]
    left = references_s[np.maximum(after - 1, 0)]
    distance = np.minimum(np.abs(times_s - left), np.abs(right - times_s))
    return float(np.minimum(distance, TOLERANCE_S).mean())
