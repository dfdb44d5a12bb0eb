"""What beats and onsets tell about the bar, beyond its class: division, pulse, accents, and where bars begin.

Conventions: seconds from the start of the recording; positions count from 1 at the downbeat, 0 without bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.division import division
from earmark.tasks.meter.grouping import accents, bar_accents, grouping
from earmark.tasks.meter.intervals import beats_bpm, modal_spacing
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["FAST_PULSE_BPM", "Bars", "counted_in"]

Float64 = NDArray[np.float64]

_SPACINGS_OF = {"3": (3, 6, 2), "4": (4, 2, 8, 12), "5": (5, 10), "7": (7, 14), "9": (9, 3), "11": (11,)}
"""Bars in beats that agree with a class: tracked at another level, or 6/8 in two."""


FAST_PULSE_BPM = 200.0
"""Above it the beats that are counted are eighths."""

_BARS_OF_THIRDS = (6, 12)


@dataclass(frozen=True)
class Bars:
    """The beats of a span, the onsets between them, and how strong each beat is.

    Parameters
    ----------
    beats : Beats
    onset_times_s : np.ndarray, shape (n_onsets,)
        Ascending.
    onset_at_beats, level_at_beats : np.ndarray, shape (n_beats,)
        Onset strength and level (RMS) around each beat.
    """

    beats: Beats
    onset_times_s: Float64
    onset_at_beats: Float64
    level_at_beats: Float64

    @classmethod
    def none(cls) -> Bars:
        """Nothing was heard."""
        return cls(Beats.none(), np.empty(0), np.empty(0), np.empty(0))

    @classmethod
    def joined(cls, parts: Sequence[Bars]) -> Bars:
        """Bars of successive spans as one; at least one span."""
        return cls(
            Beats(
                np.concatenate([one.beats.times_s for one in parts]),
                np.concatenate([one.beats.positions for one in parts]),
                np.concatenate([one.beats.strengths for one in parts]),
            ),
            np.concatenate([one.onset_times_s for one in parts]),
            np.concatenate([one.onset_at_beats for one in parts]),
            np.concatenate([one.level_at_beats for one in parts]),
        )

    def between(self, start_s: float, end_s: float) -> Bars:
        """What lies in a half-open span of time."""
        onsets = (self.onset_times_s >= start_s) & (self.onset_times_s < end_s)
        inside = np.flatnonzero((self.beats.times_s >= start_s) & (self.beats.times_s < end_s))
        return replace(self.taken(inside), onset_times_s=self.onset_times_s[onsets])

    def taken(self, indices: NDArray[np.int64]) -> Bars:
        """Some of the beats, and all onsets."""
        beats = self.beats
        return replace(
            self,
            beats=Beats(beats.times_s[indices], beats.positions[indices], beats.strengths[indices]),
            onset_at_beats=self.onset_at_beats[indices],
            level_at_beats=self.level_at_beats[indices],
        )

    @cached_property
    def is_compound(self) -> bool:
        """Whether beats divide into three, or are themselves thirds: fast, and accented by threes in 6 or 12."""
        return division(self.beats.times_s, self.onset_times_s).is_compound or self._counts_thirds

    @cached_property
    def _counts_thirds(self) -> bool:
        n_beats = self.beats_per_bar
        if n_beats not in _BARS_OF_THIRDS or self.pulse_bpm <= FAST_PULSE_BPM:
            return False
        heard = self.accents_of(n_beats)
        found = grouping(heard) if heard is not None else None
        return found is not None and found.is_measured and set(found.groups) == {3}

    @cached_property
    def beats_per_bar(self) -> int | None:
        """The most frequent number; None with fewer than two downbeats."""
        return modal_spacing(self.beats)

    @cached_property
    def pulse_bpm(self) -> float:
        """The counted pulse; 0 without two beats."""
        return beats_bpm(self.beats)

    @cached_property
    def accents(self) -> Float64:
        """Standardised accent of each beat, shape (n_beats,)."""
        return accents(self.onset_at_beats, self.level_at_beats)

    def accents_of(self, beats_per_bar: int) -> Float64 | None:
        """Mean accent of each position of such bars; None where fewer than two of them were heard."""
        starts = np.flatnonzero(self.beats.positions == 1)
        if np.count_nonzero(np.diff(starts) == beats_per_bar) < 2:
            return None
        return bar_accents(self.accents, self.beats.positions, beats_per_bar)


def counted_in(bars: Bars, name: str) -> Bars:
    """The same beats with downbeats that agree with a class, for where a tracker counted other bars than the model.

    Downbeats are put where the accents are, all bars alike; bars that agree already are left as they are.

    Parameters
    ----------
    bars : Bars
    name : str
        A class, such as ``"7"``.
    """
    beats, length = bars.beats, int(name)
    if bars.beats_per_bar in _SPACINGS_OF[name] or len(beats) < length:
        return bars
    by_phase = [float(bars.accents[phase::length].mean()) for phase in range(length)]
    positions = (np.arange(len(beats)) - int(np.argmax(by_phase))) % length + 1
    return replace(bars, beats=Beats(beats.times_s, positions.astype(np.int64), beats.strengths))
