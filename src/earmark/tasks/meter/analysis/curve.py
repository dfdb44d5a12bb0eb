"""How the tempo moves: local tempo along the beats, how variable it is, and where it jumps.

Conventions: times in seconds, ascending; intervals below 0.1 s and above 3 s are slips of a tracker and left out. The
local tempo is the median over `SPAN` intervals, so a single beat that is missed or doubled does not show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.trackers.rows import LONGEST_INTERVAL_S, SHORTEST_INTERVAL_S

__all__ = ["VARIABLE_ABOVE", "TempoCurve", "category", "jumps_s", "tempo_curve"]

Float64 = NDArray[np.float64]

SPAN = 8
VARIABLE_ABOVE = 0.05
CATEGORIES = ((0.03, "steady"), (0.07, "slightly variable"), (0.15, "variable"))
WILDEST = "rubato"
JUMP = 0.15
"""Share by which the local tempo must change between one span of beats and the next."""
JUMP_APART_S = 8.0
_MEAN_WEIGHT = 1e-3
"""Medians are equal for several beats around a jump; means, which decide between these, are not."""


@dataclass(frozen=True)
class TempoCurve:
    """Local tempo in BPM at times in seconds, both of shape (n_points,)."""

    times_s: Float64
    bpm: Float64

    @property
    def variation(self) -> float:
        """Standard deviation as a share of the mean; 0 with fewer than two points."""
        return float(self.bpm.std() / self.bpm.mean()) if len(self.bpm) > 1 else 0.0

    @property
    def range_bpm(self) -> tuple[float, float] | None:
        """Slowest and fastest; None without points."""
        return (float(self.bpm.min()), float(self.bpm.max())) if len(self.bpm) else None

    def between(self, start_s: float, end_s: float) -> TempoCurve:
        """The points in a half-open span of time."""
        inside = (self.times_s >= start_s) & (self.times_s < end_s)
        return TempoCurve(self.times_s[inside], self.bpm[inside])

    def in_octave_of(self, bpm: float | None) -> TempoCurve:
        """The curve doubled or halved as a whole, so that its median is nearest to a tempo."""
        if bpm is None or not len(self.bpm):
            return self
        octaves = round(float(np.log2(bpm / np.median(self.bpm))))
        return TempoCurve(self.times_s, self.bpm * 2.0**octaves)


def tempo_curve(times_s: Float64) -> TempoCurve:
    """Local tempo along beats: a point per `SPAN` successive intervals, at the beat in their middle.

    Fewer intervals give one point; fewer than two beats none.
    """
    ends_s, intervals_s = _intervals(times_s)
    if not len(intervals_s):
        return TempoCurve(np.empty(0), np.empty(0))
    span = min(SPAN, len(intervals_s))
    windows = np.lib.stride_tricks.sliding_window_view(intervals_s, span)
    middle = (span - 1) // 2
    return TempoCurve(ends_s[middle : middle + len(windows)], 60.0 / np.median(windows, axis=1))


def category(variation: float) -> str:
    """The word for a coefficient of variation, ``steady`` to ``rubato``."""
    return next((word for limit, word in CATEGORIES if variation < limit), WILDEST)


def jumps_s(times_s: Float64) -> tuple[float, ...]:
    """Times of the beats at which the tempo changes by more than 15 %, at least 8 s apart, the largest first served."""
    ends_s, intervals_s = _intervals(times_s)
    span = min(SPAN, len(intervals_s) // 2)
    if span < SPAN // 2:
        return ()
    windows = np.lib.stride_tricks.sliding_window_view(intervals_s, span)
    change = _change(np.median(windows, axis=1), span)
    finer = _change(windows.mean(axis=1), span)
    places_s = ends_s[span - 1 : span - 1 + len(change)]
    chosen: list[float] = []
    for i in np.argsort(-(change + _MEAN_WEIGHT * finer), kind="stable"):
        if change[i] <= np.log1p(JUMP):
            break
        if all(abs(places_s[i] - other) > JUMP_APART_S for other in chosen):
            chosen.append(float(places_s[i]))
    return tuple(sorted(chosen))


def _intervals(times_s: Float64) -> tuple[Float64, Float64]:
    """Beats that end an interval which can be a tempo, and these intervals."""
    intervals_s = np.diff(times_s)
    possible = (intervals_s >= SHORTEST_INTERVAL_S) & (intervals_s <= LONGEST_INTERVAL_S)
    return times_s[1:][possible], intervals_s[possible]


def _change(levels: Float64, span: int) -> Float64:
    """Absolute log ratio of each span to the one that begins where it ends."""
    return np.asarray(np.abs(np.log(levels[:-span] / levels[span:])))
