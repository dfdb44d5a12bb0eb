"""Rhythms of bars: how a bar divides, which bars repeat, and how strong each place in a bar is.

Conventions: places and durations in quarter notes from the start of the bar. A rhythm is a tuple of `Stroke`. Longer
notes tend to start at stronger places, which is what makes a meter audible in a melody without accents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from earmark.tasks.meter.scores.score import Meter

__all__ = ["FORMS", "Stroke", "Style", "bar_rhythm", "cadence_rhythm", "draw_form", "strength"]

SHORTEST_S = 0.085
_SPLITS = {
    1: ((0.5, (0.5, 0.5)), (0.14, (0.75, 0.25)), (0.2, (0.5, 0.25, 0.25)), (0.16, (0.25, 0.25, 0.5))),
    2: ((0.7, (1, 1)), (0.22, (1.5, 0.5)), (0.08, (0.5, 1.5))),
    3: ((0.5, (2, 1)), (0.3, (1, 1, 1)), (0.12, (1, 2)), (0.08, (1.5, 0.5, 1))),
    4: ((0.8, (2, 2)), (0.12, (3, 1)), (0.08, (1, 2, 1))),
}
"""How so many pulses divide, each with its weight."""
FORMS = ("aabc", "abac", "abab", "aaab", "abcd", "aabb", "abcb", "aaaa", "ab", "aab", "abcabd", "abacabad")
_FORM_WEIGHTS = (3, 4, 3, 3, 2, 1.5, 1.5, 0.6, 1, 0.4, 0.6, 1.5)


@dataclass(frozen=True)
class Stroke:
    """A note without pitch: start and duration in quarter notes; a rest takes its time in silence."""

    start: float
    duration: float
    is_rest: bool = False


@dataclass(frozen=True)
class Style:
    """How a piece moves.

    Parameters
    ----------
    note_s : float
        Typical duration of a note in seconds.
    syncopation, rests, ties : float
        Shares: groups whose start is played early, notes that are left out, groups bound to the one before.
    regularity : float
        0 divides freely, 1 keeps to even notes.
    """

    note_s: float
    syncopation: float
    rests: float
    ties: float
    regularity: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        """A style as folk, art and popular music have it; most pieces are plain."""
        return cls(
            note_s=float(np.clip(np.exp(rng.normal(np.log(0.3), 0.45)), 0.11, 0.9)),
            syncopation=float(rng.choice([0.0, 0.05, 0.2], p=[0.6, 0.25, 0.15])),
            rests=float(rng.choice([0.0, 0.03, 0.1], p=[0.5, 0.35, 0.15])),
            ties=float(rng.choice([0.0, 0.1, 0.25], p=[0.4, 0.4, 0.2])),
            regularity=float(rng.beta(1.2, 1.5)),
        )


def strength(meter: Meter, place: float) -> float:
    """How strong a place of the bar is: 1 at its start, about 0.6 at groups, 0.3 at pulses, 0 between."""
    pulse = place / meter.pulse_quarters
    if abs(pulse) < 1e-6:
        return 1.0
    if abs(pulse - round(pulse)) > 1e-6:
        return 0.0
    if round(pulse) in meter.group_starts:
        return 0.65 if 2 * round(pulse) == meter.pulses else 0.55
    return 0.25


def bar_rhythm(rng: np.random.Generator, meter: Meter, style: Style, quarter_s: float) -> tuple[Stroke, ...]:
    """One bar: its groups divide until notes are about as long as the style wants them."""
    pulse_s = meter.pulse_quarters * quarter_s
    lengths: list[float] = []
    for index, size in enumerate(meter.groups):
        group = _divided(rng, float(size), style, pulse_s)
        if index and rng.random() < style.ties:
            lengths[-1] += group.pop(0)
        elif index and len(group) > 1 and lengths[-1] > 0.5 and rng.random() < style.syncopation:
            lengths[-1] -= 0.5  # the group's first note is played half a pulse early
            group[0] += 0.5
        lengths += group
    starts = np.cumsum([0.0, *lengths])[:-1]
    unit = meter.pulse_quarters
    return tuple(
        Stroke(float(start) * unit, length * unit, bool(start > 0 and rng.random() < style.rests))
        for start, length in zip(starts, lengths, strict=True)
    )


def cadence_rhythm(
    rng: np.random.Generator, meter: Meter, style: Style, quarter_s: float
) -> tuple[Stroke, ...]:
    """The last bar of a phrase: movement, then a long note from a group on, or the whole bar."""
    groups = meter.group_starts
    place = groups[int(rng.integers(0, max(1, (len(groups) + 1) // 2)))] * meter.pulse_quarters
    before = [stroke for stroke in bar_rhythm(rng, meter, style, quarter_s) if stroke.start < place - 1e-9]
    if before:
        last = before[-1]
        before[-1] = Stroke(last.start, place - last.start, last.is_rest)
    rest = (
        meter.pulse_quarters
        if rng.random() < 0.4 and meter.bar_quarters - place > 2 * meter.pulse_quarters
        else 0.0
    )
    long = [Stroke(place, meter.bar_quarters - place - rest)]
    return (*before, *long, *([Stroke(meter.bar_quarters - rest, rest, True)] if rest else []))


def draw_form(rng: np.random.Generator) -> str:
    """Letters of the bars of a phrase: equal letters are equal rhythms."""
    weights = np.array(_FORM_WEIGHTS)
    return FORMS[int(rng.choice(len(FORMS), p=weights / weights.sum()))]


def _divided(rng: np.random.Generator, size: float, style: Style, pulse_s: float) -> list[float]:
    """Lengths in pulses that fill `size` pulses."""
    length_s = size * pulse_s
    table = _SPLITS.get(round(size)) if abs(size - round(size)) < 1e-9 else None
    if size < 1 and length_s > 2 * style.note_s:
        table = ((1.0, (size / 2, size / 2)),)
    if table is None or length_s < 2 * SHORTEST_S or rng.random() > _wish_to_divide(length_s, style):
        return [size]
    weights = np.array([weight for weight, _ in table])
    if rng.random() < style.regularity:
        even = [index for index, (_, parts) in enumerate(table) if len(set(parts)) == 1]
        pick = even[0] if even else 0
    else:
        pick = int(rng.choice(len(table), p=weights / weights.sum()))
    parts = table[pick][1]
    if min(parts) * pulse_s < SHORTEST_S:
        return [size]
    return [piece for part in parts for piece in _divided(rng, float(part), style, pulse_s)]


def _wish_to_divide(length_s: float, style: Style) -> float:
    return float(1 / (1 + (1.45 * style.note_s / length_s) ** 3.2))
