"""Intervals between beats and between downbeats.

Conventions: seconds; positions count from 1 at the downbeat, 0 without bars; a spacing is a number of beats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SPACINGS",
    "beat_interval_s",
    "downbeat_spacings",
    "inter_beat_intervals_s",
    "modal_spacing",
    "spacing_shares",
]

INTERVAL_S = (0.1, 3.0)
"""Shorter and longer intervals are slips of a tracker."""

SPACINGS = range(2, 13)


def inter_beat_intervals_s(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intervals of successive beats that can be tempos, shape (<= n_beats - 1,)."""
    intervals = np.diff(times_s)
    return np.asarray(intervals[(intervals >= INTERVAL_S[0]) & (intervals <= INTERVAL_S[1])])


def beat_interval_s(times_s: NDArray[np.float64]) -> float:
    """Median inter-beat interval; 0 without any."""
    intervals = inter_beat_intervals_s(times_s)
    return float(np.median(intervals)) if len(intervals) else 0.0


def downbeat_spacings(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Beats from each downbeat to the next, shape (n_downbeats - 1,); empty without bars."""
    return np.diff(np.flatnonzero(positions == 1))


def spacing_shares(positions: NDArray[np.int64]) -> dict[int, float]:
    """Share of the spacings that equal 2, ..., 12 beats; all 0 with fewer than two downbeats."""
    spacings = downbeat_spacings(positions)
    n = max(len(spacings), 1)
    return {beats: float(np.count_nonzero(spacings == beats)) / n for beats in SPACINGS}


def modal_spacing(positions: NDArray[np.int64]) -> int | None:
    """The most frequent spacing, the shortest of equals; None with fewer than two downbeats."""
    spacings = downbeat_spacings(positions)
    if not len(spacings):
        return None
    values, counts = np.unique(spacings, return_counts=True)
    return int(values[np.argmax(counts)])
