"""From the windows of a recording to beats that run through all of it.

Neighbouring windows overlap by half. The seam between two of them lies at a beat that both heard, as near to the middle
of the overlap as there is one, at the same place in the bar if possible: before it the earlier window speaks, from it
on the later one. So each window gives its core, where it heard what comes before and after.

Conventions: seconds; times of a window count from its start, those of the result from the start of the recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.analysis.bars import Bars
from earmark.tasks.meter.groups.sync import HALF_WIDTH, at_beats
from earmark.tasks.meter.trackers.rows import SHORTEST_INTERVAL_S, Beats

__all__ = ["Piece", "stitched", "window_bars"]

Array = NDArray[np.float32]

SAME_BEAT_S = 0.070
BEFORE_BEAT_S = 1e-3


@dataclass(frozen=True)
class Piece:
    """A window of the recording and the bars heard in it, its times from the start of the recording."""

    start_s: float
    end_s: float
    bars: Bars


def window_bars(start_s: float, beats: Beats, onsets: Array, accents: Array, peak: float) -> Bars:
    """Bars of one window.

    Parameters
    ----------
    start_s : float
        Where the window begins.
    beats : Beats
    onsets, accents : np.ndarray
        Rows of the groups ``meter.onsets`` and ``meter.accents``.
    peak : float
        By which the front end divided the window: windows differ in it, and levels are compared across them.
    """
    half_width_s: NDArray[np.float64] | float = HALF_WIDTH
    if len(beats) > 1:
        half_width_s = HALF_WIDTH * np.gradient(beats.times_s)
    onset, level = (at_beats(curve, beats.times_s, half_width_s) for curve in accents.T)
    moved = Beats(beats.times_s + start_s, beats.positions, beats.strengths)
    return Bars(moved, onsets[:, 0].astype(np.float64) + start_s, onset, level * peak)


def stitched(pieces: Sequence[Piece]) -> Bars:
    """One sequence of beats from the windows, ascending by start; nothing from none."""
    if not pieces:
        return Bars.none()
    seams = [_seam_s(before, after) for before, after in pairwise(pieces)]
    spans = pairwise([-np.inf, *seams, np.inf])
    cores = [piece.bars.between(start, end) for piece, (start, end) in zip(pieces, spans, strict=True)]
    return _without_doubles(Bars.joined(cores))


def _seam_s(before: Piece, after: Piece) -> float:
    middle_s = (after.start_s + before.end_s) / 2
    if after.start_s >= before.end_s:
        return middle_s
    shared = _shared_beats(before.bars.beats, after.bars.beats, after.start_s, before.end_s)
    if not shared:
        return middle_s
    return min(shared, key=lambda one: (not one[1], abs(one[0] - middle_s)))[0] - BEFORE_BEAT_S


def _shared_beats(first: Beats, second: Beats, start_s: float, end_s: float) -> list[tuple[float, bool]]:
    """Times of the beats that both heard in a span, and whether they have the same place in the bar."""
    shared = []
    for i in np.flatnonzero((first.times_s >= start_s) & (first.times_s < end_s)):
        if not len(second):
            break
        j = int(np.argmin(np.abs(second.times_s - first.times_s[i])))
        if abs(second.times_s[j] - first.times_s[i]) <= SAME_BEAT_S:
            earlier_s = float(min(first.times_s[i], second.times_s[j]))
            shared.append((earlier_s, bool(first.positions[i] == second.positions[j])))
    return shared


def _without_doubles(bars: Bars) -> Bars:
    """Without beats that follow another faster than beats can: what a seam between disagreeing windows leaves."""
    kept: list[int] = []
    for i, time_s in enumerate(bars.beats.times_s):
        if not kept or time_s - bars.beats.times_s[kept[-1]] >= SHORTEST_INTERVAL_S:
            kept.append(i)
    return bars if len(kept) == len(bars.beats) else bars.taken(np.array(kept))
