"""Where a recording is cut into sections: at changes of tempo and meter, and else about every 20 s.

Conventions: seconds; edges include the start and the end of the recording; inner edges lie on beats where there are
any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Section", "edges_s"]

SLICE_S = 20.0
APART_S = 8.0
"""Least length of a section, unless the recording itself is shorter."""


@dataclass(frozen=True)
class Section:
    """A span with its meter, such as ``7/8`` (None: nothing heard), and its tempo in BPM."""

    start_s: float
    end_s: float
    meter: str | None
    bpm: float | None


def edges_s(
    duration_s: float, beat_times_s: NDArray[np.float64], changes_s: Iterable[float]
) -> tuple[float, ...]:
    """Edges of the sections, ascending.

    Parameters
    ----------
    duration_s : float
    beat_times_s : np.ndarray, shape (n_beats,)
        Ascending.
    changes_s : iterable of float
        Where tempo or meter change, the surest first; one within 8 s of another edge is left out.
    """
    edges = [0.0, duration_s]
    for change_s in changes_s:
        if all(abs(change_s - edge) > APART_S for edge in edges):
            edges.append(change_s)
    edges.sort()
    cuts = [cut for start, end in pairwise(edges) for cut in _slices(start, end, beat_times_s)]
    return (*cuts, duration_s)


def _slices(start_s: float, end_s: float, beat_times_s: NDArray[np.float64]) -> Sequence[float]:
    """Starts of the slices of a span; what would be left over as a stub joins the last one."""
    starts = [start_s]
    while end_s - starts[-1] > SLICE_S + APART_S:
        starts.append(_on_beat(starts[-1] + SLICE_S, beat_times_s))
    return starts


def _on_beat(time_s: float, beat_times_s: NDArray[np.float64]) -> float:
    """The nearest beat, if one lies within half of the least length."""
    if not len(beat_times_s):
        return time_s
    nearest = float(beat_times_s[np.argmin(np.abs(beat_times_s - time_s))])
    return nearest if abs(nearest - time_s) <= APART_S / 2 else time_s
