"""A piece of music in one meter: notes, parts, bars and tempo, before it is sound.

Conventions: musical time is counted in quarter notes from the start of the piece, clock time in seconds; a *pulse* is
the note of the signature's denominator and groupings count pulses. Pitches and velocities are those of MIDI, programs
count from 0. Notes carry their own micro-timing: a late note starts late, the bar does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import InputError
from earmark.tasks.meter.signatures import CLASS_OF, grouping_by_rule

__all__ = ["Meter", "Note", "Part", "Score", "TempoMap", "repeated"]

_SAME_COUNT = {
    "2/2": "4/4",
    "4/2": "4/4",
    "3/2": "3/4",
    "6/2": "6/4",
    "8/8": "4/4",
    "4/8": "4/4",
    "2/8": "2/4",
}
"""Signatures that are written otherwise and counted as another; sixteenths are counted as eighths."""


@dataclass(frozen=True, slots=True)
class Note:
    """One sound: start and duration in quarter notes, MIDI pitch and velocity (1-127)."""

    start: float
    duration: float
    pitch: int
    velocity: int = 90


@dataclass(frozen=True)
class Part:
    """What one instrument plays; `program` is a General MIDI program, or ignored for drums."""

    name: str
    program: int
    notes: tuple[Note, ...]
    is_drums: bool = False


@dataclass(frozen=True)
class Meter:
    """A time signature with the grouping of its pulses, e.g. ``Meter("7/8", (2, 2, 3))``.

    Raises
    ------
    InputError
        A signature that no class covers, or groups that do not fill the bar.
    """

    signature: str
    groups: tuple[int, ...]

    def __post_init__(self) -> None:
        if sum(self.groups) != self.pulses:
            raise InputError(
                f"the groups {self.grouping} fill {sum(self.groups)} pulses, but a bar of {self.signature} has "
                f"{self.pulses}. Give groups whose sum is {self.pulses}."
            )
        if self.counted not in CLASS_OF:
            raise InputError(
                f"no class covers the signature {self.signature}; expected one of {', '.join(CLASS_OF)} or one "
                "counted like them. Leave the piece out."
            )

    @classmethod
    def of(cls, signature: str) -> Meter:
        """The signature with the grouping that is meant where none is given; 9/8 as 3+3+3."""
        pulses, denominator = (int(number) for number in signature.split("/"))
        if denominator <= 4 or pulses in (2, 4, 8):
            return cls(signature, (2,) * (pulses // 2) if pulses % 4 == 0 else _simple_groups(pulses))
        return cls(signature, grouping_by_rule(pulses, compound=pulses == 9))

    @property
    def pulses(self) -> int:
        """Numerator of the signature."""
        return int(self.signature.split("/")[0])

    @property
    def denominator(self) -> int:
        """Denominator of the signature."""
        return int(self.signature.split("/")[1])

    @property
    def counted(self) -> str:
        """The signature under which the bar is counted: 2/2 as 4/4, sixteenths as eighths."""
        signature = f"{self.pulses}/8" if self.denominator == 16 else self.signature
        return _SAME_COUNT.get(signature, signature)

    @property
    def label(self) -> str:
        """Class of the meter: beats per bar."""
        return CLASS_OF[self.counted]

    @property
    def pulse_quarters(self) -> float:
        """Length of a pulse in quarter notes."""
        return 4 / self.denominator

    @property
    def bar_quarters(self) -> float:
        """Length of a bar in quarter notes."""
        return self.pulses * self.pulse_quarters

    @property
    def grouping(self) -> str:
        """Groups as text, e.g. ``2+2+3``."""
        return "+".join(str(size) for size in self.groups)

    @property
    def group_starts(self) -> tuple[int, ...]:
        """Pulse at which each group starts; 0 first."""
        return tuple(accumulate(self.groups, initial=0))[:-1]

    @property
    def division(self) -> str:
        """``compound`` where every beat has three pulses, else ``simple``."""
        is_compound = self.denominator >= 8 and len(self.groups) > 1 and set(self.groups) == {3}
        return "compound" if is_compound else "simple"

    @property
    def beat_quarters(self) -> float:
        """Length of the beat one taps to: three pulses in compound meters, else one."""
        return self.pulse_quarters * (3 if self.division == "compound" else 1)


@dataclass(frozen=True)
class TempoMap:
    """Steps of tempo: from ``starts[i]`` on (in quarters, the first is 0) a quarter lasts ``quarter_s[i]`` seconds."""

    starts: tuple[float, ...]
    quarter_s: tuple[float, ...]

    @classmethod
    def constant(cls, quarter_s: float) -> TempoMap:
        """One tempo throughout."""
        return cls((0.0,), (quarter_s,))

    def seconds(self, quarters: ArrayLike) -> NDArray[np.float64]:
        """Clock times of musical times; what lies before 0 is extrapolated."""
        starts, lengths = np.asarray(self.starts), np.asarray(self.quarter_s)
        at_start = np.concatenate([[0.0], np.cumsum(np.diff(starts) * lengths[:-1])])
        wanted = np.asarray(quarters, dtype=np.float64)
        step = np.maximum(np.searchsorted(starts, wanted, side="right") - 1, 0)
        return np.asarray(at_start[step] + (wanted - starts[step]) * lengths[step])


@dataclass(frozen=True)
class Score:
    """A piece in one meter: bars follow each other without gap from `first_bar`.

    Parameters
    ----------
    meter : Meter
    n_bars : int
    tempo : TempoMap
    parts : tuple of Part
    first_bar : float
        Where the first full bar starts, in quarter notes; an upbeat lies before it.
    title, group, style, source : str
        What the labels say of the piece; `group` names what must not straddle a split.
    """

    meter: Meter
    n_bars: int
    tempo: TempoMap
    parts: tuple[Part, ...]
    first_bar: float = 0.0
    title: str = ""
    group: str = ""
    style: str = ""
    source: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def end(self) -> float:
        """End of the last bar in quarter notes."""
        return self.first_bar + self.n_bars * self.meter.bar_quarters

    @property
    def duration_s(self) -> float:
        """Seconds from the start to the end of the last bar."""
        return float(self.tempo.seconds(self.end))

    def downbeats_s(self) -> NDArray[np.float64]:
        """Clock times at which the bars start, shape (n_bars,)."""
        return self.tempo.seconds(self.first_bar + np.arange(self.n_bars) * self.meter.bar_quarters)

    def beats_s(self) -> NDArray[np.float64]:
        """Clock times of the beats of all bars; pulses, or three of them in compound meters."""
        count = round(self.n_bars * self.meter.bar_quarters / self.meter.beat_quarters)
        return self.tempo.seconds(self.first_bar + np.arange(count) * self.meter.beat_quarters)

    @property
    def tempo_bpm(self) -> float:
        """Median number of beats per minute."""
        beats = self.beats_s()
        return float(60 / np.median(np.diff(beats))) if len(beats) > 1 else 0.0


def repeated(score: Score, times: int) -> Score:
    """The piece played several times over; its upbeat, if any, is heard again where its last bar leaves room for it."""
    length = score.n_bars * score.meter.bar_quarters
    parts = tuple(replace(part, notes=_repeat(part.notes, length, times)) for part in score.parts)
    steps = [
        (start + index * length, quarter_s)
        for index in range(times)
        for start, quarter_s in zip(score.tempo.starts, score.tempo.quarter_s, strict=True)
        if start < length
    ]
    starts, lengths = zip(*steps, strict=True)
    return replace(score, parts=parts, n_bars=score.n_bars * times, tempo=TempoMap(starts, lengths))


def _repeat(notes: Sequence[Note], length: float, times: int) -> tuple[Note, ...]:
    return tuple(replace(note, start=note.start + index * length) for index in range(times) for note in notes)


def _simple_groups(pulses: int) -> tuple[int, ...]:
    return {2: (2,), 3: (3,), 5: (3, 2), 6: (3, 3), 7: (4, 3), 9: (3, 3, 3), 11: (4, 4, 3)}.get(
        pulses, (pulses,)
    )
