"""What sounds under a melody: chords, basses, drones, drum kits and the strokes of usuls.

Conventions: each function gives the notes of one bar, from the start of the bar in quarter notes. Drum pitches are the
keys of the General MIDI drum set. An usul is a cycle of strokes, *düm* low and *tek* high; where tradition has none for
a meter, the strokes follow the grouping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.tasks.meter.scores.score import Meter, Note

__all__ = ["CHORD_STYLES", "Drumming", "chord_bar", "draw_drumming", "drum_bar"]

KICK, SNARE, RIM, CLAP, HAT, OPEN_HAT, RIDE, CRASH = 36, 38, 37, 39, 42, 46, 51, 49
_LOW_STROKES = (36, 41, 45, 64, 61, 43)
_HIGH_STROKES = (37, 63, 60, 62, 76, 54, 39)
_SOFT_STROKES = (70, 42, 54, 82, 77)
_TOMS = (50, 48, 47, 45, 43, 41)

_USULS = {
    ("4/4", (2, 2)): ((0, 2, 3), "dtt"),  # sofyan
    ("4/4", (1, 2, 1)): ((0, 0.5, 1.5, 2, 3), "dttdt"),  # duyek
    ("2/4", (2,)): ((0, 1), "dt"),  # nim sofyan
    ("3/4", (3,)): ((0, 1, 2), "dtt"),  # semai
    ("6/8", (3, 3)): ((0, 1, 2, 3, 4), "dttdt"),  # yuruk semai
    ("5/8", (2, 3)): ((0, 2, 4), "dtt"),  # turk aksagi
    ("7/8", (3, 2, 2)): ((0, 1, 3, 5), "dtdt"),  # devr-i hindi
    ("7/8", (2, 2, 3)): ((0, 2, 4, 6), "dtdt"),  # devr-i turan
    ("7/4", (3, 2, 2)): ((0, 1, 3, 5), "dtdt"),
    ("9/8", (2, 2, 2, 3)): ((0, 2, 4, 6, 8), "dtdtt"),  # aksak
}

ChordBar = Callable[[Meter, Sequence[int]], list[Note]]


def _drone(meter: Meter, chord: Sequence[int]) -> list[Note]:
    return [Note(0.0, meter.bar_quarters, pitch, 70) for pitch in (chord[0] - 12, chord[2] - 12)]


def _pads(meter: Meter, chord: Sequence[int]) -> list[Note]:
    return [Note(0.0, meter.bar_quarters, pitch, 66) for pitch in chord]


def _blocks(meter: Meter, chord: Sequence[int]) -> list[Note]:
    unit = meter.pulse_quarters
    spans = zip(meter.group_starts, meter.groups, strict=True)
    return [
        Note(start * unit, size * unit * 0.9, pitch, 84 if start == 0 else 70)
        for start, size in spans
        for pitch in chord
    ]


def _bass_and_chords(meter: Meter, chord: Sequence[int]) -> list[Note]:
    """Oom-pah-pah in every meter: the bass at the bar, or at each group in turn, chords on the pulses between."""
    unit = meter.pulse_quarters
    notes = []
    for pulse in range(meter.pulses):
        if pulse in meter.group_starts:
            low = chord[0] - 12 if pulse == 0 else chord[2] - 24 + 12 * (chord[2] - 24 < 36)
            notes.append(Note(pulse * unit, unit * 0.9, low, 88 if pulse == 0 else 74))
        else:
            notes += [Note(pulse * unit, unit * 0.6, pitch, 62) for pitch in chord]
    return notes


def _arpeggio(meter: Meter, chord: Sequence[int]) -> list[Note]:
    unit, notes = meter.pulse_quarters, []
    for start, size in zip(meter.group_starts, meter.groups, strict=True):
        order = (chord[0] - 12 if start == 0 else chord[0], chord[1], chord[2], chord[1])
        notes += [
            Note((start + step) * unit, unit, order[step % 4], 80 if start + step == 0 else 66)
            for step in range(size)
        ]
    return notes


def _alberti(meter: Meter, chord: Sequence[int]) -> list[Note]:
    unit = meter.pulse_quarters / 2
    order = (chord[0], chord[2], chord[1], chord[2])
    return [
        Note(step * unit, unit, order[step % 4] - 12, 78 if step == 0 else 64)
        for step in range(2 * meter.pulses)
    ]


def _bass(meter: Meter, chord: Sequence[int]) -> list[Note]:
    unit = meter.pulse_quarters
    spans = zip(meter.group_starts, meter.groups, strict=True)
    return [
        Note(start * unit, size * unit * 0.95, (chord[0] if index % 2 == 0 else chord[2] - 12) - 12, 80)
        for index, (start, size) in enumerate(spans)
    ]


CHORD_STYLES: dict[str, ChordBar] = {
    "drone": _drone,
    "pads": _pads,
    "blocks": _blocks,
    "oom-pah": _bass_and_chords,
    "arpeggio": _arpeggio,
    "alberti": _alberti,
    "bass": _bass,
}
"""Name of a texture -> notes of a bar from its meter and chord."""


def chord_bar(style: str, meter: Meter, chord: Sequence[int], *, low: int = 48) -> list[Note]:
    """Notes of a bar of accompaniment from three pitches, moved by octaves so that the first lies just above `low`."""
    shift = (chord[0] - low) // 12 * 12
    notes = CHORD_STYLES[style](meter, [pitch - shift for pitch in chord])
    return [note for note in notes if 21 <= note.pitch <= 108]


@dataclass(frozen=True)
class Drumming:
    """The ostinato of a piece: places (quarter notes), keys and velocities, and whether it has fills."""

    places: tuple[float, ...]
    keys: tuple[int, ...]
    velocities: tuple[int, ...]
    fills: float


def draw_drumming(rng: np.random.Generator, meter: Meter, quarter_s: float, kind: str) -> Drumming:
    """An usul or a kit pattern of a meter."""
    strokes = _usul(rng, meter) if kind == "usul" else _kit(rng, meter, quarter_s)
    strokes = sorted(strokes)
    return Drumming(
        tuple(place * meter.pulse_quarters for place, _, _ in strokes),
        tuple(key for _, key, _ in strokes),
        tuple(velocity for _, _, velocity in strokes),
        fills=float(rng.choice([0.0, 0.5, 1.0])) if kind == "kit" else 0.0,
    )


def drum_bar(rng: np.random.Generator, drumming: Drumming, meter: Meter, *, closes: bool) -> list[Note]:
    """One bar of it; the bar that closes a phrase may end with a fill over its last group."""
    notes = [
        Note(place, 0.2, key, int(np.clip(velocity + rng.normal(0, 5), 20, 127)))
        for place, key, velocity in zip(drumming.places, drumming.keys, drumming.velocities, strict=True)
        if velocity > 60 or rng.random() < 0.93
    ]
    if not closes or rng.random() >= drumming.fills:
        return notes
    start = meter.group_starts[-1] * meter.pulse_quarters
    count = 2 * meter.groups[-1]
    step = (meter.bar_quarters - start) / count
    fill = [
        Note(start + index * step, step, _TOMS[index * len(_TOMS) // count], 84 + int(rng.integers(0, 20)))
        for index in range(count)
    ]
    return [note for note in notes if note.start < start] + fill


def _usul(rng: np.random.Generator, meter: Meter) -> list[tuple[float, int, int]]:
    low, high, soft = (int(rng.choice(keys)) for keys in (_LOW_STROKES, _HIGH_STROKES, _SOFT_STROKES))
    known = _USULS.get((meter.signature, meter.groups))
    if known is None or rng.random() < 0.25:
        starts: tuple[float, ...] = tuple(float(start) for start in meter.group_starts)
        extra = tuple(start + size - 1 for start, size in zip(starts, meter.groups, strict=True) if size > 2)
        places, names = (*starts, *extra), "d" + "t" * (len(starts) - 1 + len(extra))
    else:
        places, names = known
    strokes = [
        (float(place), low if name == "d" else high, 108 if place == 0 else 92 if name == "d" else 80)
        for place, name in zip(places, names, strict=True)
    ]
    if rng.random() < 0.5:
        taken = {place for place, _, _ in strokes}
        strokes += [
            (float(pulse), soft, 48)
            for pulse in range(meter.pulses)
            if pulse not in taken and rng.random() < 0.7
        ]
    return strokes


def _kit(rng: np.random.Generator, meter: Meter, quarter_s: float) -> list[tuple[float, int, int]]:
    """Kick at the bar, snare at other groups or on the back beat, cymbals on the pulses or their halves."""
    starts = meter.group_starts
    backbeat = meter.signature == "4/4" and rng.random() < 0.8
    snares = [1.0, 3.0] if backbeat else [float(start) for start in starts[1:]] or [meter.pulses - 1.0]
    kicks = [0.0, *([2.0] if backbeat and rng.random() < 0.7 else [])]
    kicks += [
        place / 2 for place in range(1, 2 * meter.pulses) if rng.random() < 0.1 and place / 2 not in snares
    ]
    pulse_s = meter.pulse_quarters * quarter_s
    step = 0.5 if pulse_s > 0.3 and rng.random() < 0.75 else 1.0
    cymbal = int(rng.choice([HAT, RIDE, OPEN_HAT], p=[0.65, 0.3, 0.05]))
    strokes = [(place, KICK, 110 if place == 0 else 92) for place in kicks]
    strokes += [(place, int(rng.choice([SNARE, SNARE, RIM, CLAP])), 98) for place in snares]
    hats = np.arange(0, meter.pulses, step)
    strokes += [
        (float(place), cymbal, 78 if place in starts else 62 if place % 1 == 0 else 50) for place in hats
    ]
    if rng.random() < 0.3:
        ghosts = [place / 2 for place in range(1, 2 * meter.pulses) if rng.random() < 0.15]
        strokes += [(place, SNARE, 42) for place in ghosts if place not in snares]
    return strokes
