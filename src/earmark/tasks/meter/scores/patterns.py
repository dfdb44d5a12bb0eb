"""Generated pieces in every meter: drums, melodies, melodies with chords, all of them, with phrases and expression.

A piece is drawn from top to bottom: meter and grouping, bar length, instruments, style of rhythm, mode, form. Phrases
repeat with variation every two, four or eight bars; rhythms return with the letters of the form; harmony changes at
bars; long notes lean to strong places. The same generator state gives the same piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from earmark.tasks.meter.scores.accompaniment import CHORD_STYLES, chord_bar, draw_drumming, drum_bar
from earmark.tasks.meter.scores.expression import Manner, draw_tempo, played
from earmark.tasks.meter.scores.melody import (
    Mode,
    chord_degrees,
    draw_harmony,
    draw_mode,
    melody_bar,
    ornamented,
)
from earmark.tasks.meter.scores.meters import draw_bar_s, draw_meter
from earmark.tasks.meter.scores.rhythm import Stroke, Style, bar_rhythm, cadence_rhythm, draw_form
from earmark.tasks.meter.scores.score import Meter, Note, Part, Score

__all__ = ["LAYERS", "MELODIC_PROGRAMS", "MIN_BARS", "draw_programs", "generate", "in_range"]

LAYERS = {
    "melody": 0.38,
    "melody+usul": 0.17,
    "melody+chords": 0.24,
    "melody+chords+kit": 0.09,
    "usul": 0.05,
    "kit": 0.07,
}
"""What sounds in a piece, and its share."""

MELODIC_PROGRAMS = (
    *range(8), 9, 11, 12, 13, 15, *range(16, 24), *range(24, 29), 32, 40, 41, 42, 45, 46, 48, 52, 56, 57, 60,
    *range(64, 76), 77, 79, 104, 105, 106, 107, 108, 109, 110, 111,
)  # fmt: skip
"""General MIDI programs that play a tune: keyboards, plucked, bowed and blown ones, instruments of the world."""
_CHORD_PROGRAMS = (0, 0, 1, 4, 5, 6, 8, 16, 19, 21, 24, 25, 26, 46, 48, 49, 105)
_LOW_PROGRAMS = {1: (32, 42, 57, 60, 66, 70, 71), 2: (67,)}
MIN_BARS = 2.5
"""Bars that a clip shows at least: slower pieces are played faster."""
_FIT_S = 3.0
"""Music beyond the length that was asked for, so that a window can start later."""


@dataclass(frozen=True)
class _Plan:
    meter: Meter
    quarter_s: float
    n_bars: int
    layers: str
    first_bar: float
    style: Style
    mode: Mode


def generate(rng: np.random.Generator, label: str | None = None, *, duration_s: float = 30.0) -> Score:
    """A piece of a class, or of any.

    Parameters
    ----------
    rng : numpy.random.Generator
    label : str, optional
        Beats per bar, one of `earmark.tasks.meter.schema.CLASSES`.
    duration_s : float
        The piece lasts at least so long, and a bar and some seconds more.
    """
    plan = _plan(rng, label, duration_s)
    manner = Manner.draw(rng)
    tempo = draw_tempo(rng, plan.quarter_s, plan.meter, plan.n_bars, plan.first_bar)
    parts = []
    phrase = len(draw_form(rng))
    if "melody" in plan.layers:
        harmony, phrase, notes = _melody(rng, plan)
        programs = draw_programs(rng)
        parts.append(in_range(Part("melody", programs[0], notes)))
        if "chords" in plan.layers:
            parts.append(Part("chords", programs[1], _chords(rng, plan, harmony)))
    if "usul" in plan.layers or "kit" in plan.layers:
        kind = "usul" if "usul" in plan.layers else "kit"
        parts.append(Part("drums", 0, _drums(rng, plan, kind, phrase), is_drums=True))
    finished = tuple(
        replace(part, notes=played(rng, part.notes, plan.meter, manner, plan.first_bar, plan.quarter_s))
        for part in parts
    )
    return Score(
        plan.meter, plan.n_bars, tempo, finished, plan.first_bar, style=plan.layers, source="patterns"
    )


def in_range(part: Part) -> Part:
    """The part, an octave or two lower where its instrument has no such notes: a baritone saxophone at C6 is silent."""
    down = next((octaves for octaves, programs in _LOW_PROGRAMS.items() if part.program in programs), 0)
    if part.is_drums or not down:
        return part
    return replace(part, notes=tuple(replace(note, pitch=note.pitch - 12 * down) for note in part.notes))


def draw_programs(rng: np.random.Generator) -> tuple[int, int]:
    """Programs of the melody, one in six a piano, and of what goes with it; one in three plays both."""
    melody = 0 if rng.random() < 1 / 6 else int(rng.choice(MELODIC_PROGRAMS))
    return melody, melody if rng.random() < 0.33 and melody < 32 else int(rng.choice(_CHORD_PROGRAMS))


def _plan(rng: np.random.Generator, label: str | None, duration_s: float) -> _Plan:
    meter, made = draw_meter(rng, label)
    bar_s = min(draw_bar_s(rng, made, meter), duration_s / MIN_BARS)
    layers = str(rng.choice(list(LAYERS), p=list(LAYERS.values())))
    has_upbeat = "melody" in layers and rng.random() < 0.3
    upbeat = meter.pulse_quarters * int(rng.integers(1, 3)) if has_upbeat else 0.0
    return _Plan(
        meter,
        bar_s / meter.bar_quarters,
        n_bars=int(np.ceil((duration_s + _FIT_S) / (0.85 * bar_s))) + 2,
        layers=layers,
        first_bar=upbeat,
        style=Style.draw(rng),
        mode=draw_mode(rng),
    )


def _melody(rng: np.random.Generator, plan: _Plan) -> tuple[tuple[int, ...], int, tuple[Note, ...]]:
    """Roots of the bars' chords, bars of a phrase, and notes: two or three phrases, each heard again and again."""
    forms = [draw_form(rng) for _ in range(int(rng.choice([1, 2, 3], p=[0.25, 0.5, 0.25])))]
    rhythms: dict[str, tuple[Stroke, ...]] = {}
    sections = [_section(rng, plan, form, rhythms) for form in forms]
    order = [index for index in range(len(sections)) for _ in range(int(rng.choice([1, 2], p=[0.35, 0.65])))]
    share = float(rng.choice([0.0, 0.05, 0.2], p=[0.5, 0.3, 0.2]))
    variation = float(rng.choice([0.0, 0.1, 0.3], p=[0.4, 0.35, 0.25]))
    harmony: list[int] = []
    notes: list[Note] = _upbeat(rng, plan)
    while len(harmony) < plan.n_bars:
        for roots, bars in (sections[index] for index in order):
            for root, (rhythm, degrees) in zip(roots, bars, strict=True):
                if rng.random() < variation:
                    rhythm, degrees = _varied(rng, plan, rhythm, degrees, root)
                start = plan.first_bar + len(harmony) * plan.meter.bar_quarters
                notes += _sounding(rng, plan, rhythm, degrees, start, share)
                harmony.append(root)
    end = plan.first_bar + plan.n_bars * plan.meter.bar_quarters
    return (
        tuple(harmony[: plan.n_bars]),
        len(forms[0]),
        tuple(note for note in notes if note.start < end - 1e-6),
    )


def _section(
    rng: np.random.Generator, plan: _Plan, form: str, rhythms: dict[str, tuple[Stroke, ...]]
) -> tuple[tuple[int, ...], list[tuple[tuple[Stroke, ...], tuple[int, ...]]]]:
    roots = draw_harmony(rng, len(form))
    degree = int(rng.integers(0, plan.mode.width // 2 + 1))
    known: dict[str, tuple[int, ...]] = {}
    bars = []
    for index, letter in enumerate(form):
        ends = index == len(form) - 1 or (index % 4 == 3 and rng.random() < 0.5)
        if letter not in rhythms:
            rhythms[letter] = bar_rhythm(rng, plan.meter, plan.style, plan.quarter_s)
        rhythm = rhythms[letter]
        if ends and rng.random() < 0.75:
            rhythm = cadence_rhythm(rng, plan.meter, plan.style, plan.quarter_s)
        degrees = known.get(letter)
        if degrees is None or len(degrees) != len(rhythm) or rng.random() < 0.25:
            degrees = melody_bar(rng, rhythm, plan.meter, plan.mode, roots[index], degree, ends=ends)
        elif rng.random() < 0.5:
            degrees = _moved(degrees, int(rng.choice([-2, -1, 1, 2])))
        known.setdefault(letter, degrees)
        bars.append((rhythm, degrees))
        degree = degrees[-1]
    return roots, bars


def _moved(degrees: Sequence[int], steps: int) -> tuple[int, ...]:
    return tuple(degree + steps for degree in degrees)


def _varied(
    rng: np.random.Generator, plan: _Plan, rhythm: tuple[Stroke, ...], degrees: tuple[int, ...], root: int
) -> tuple[tuple[Stroke, ...], tuple[int, ...]]:
    """The bar again with other notes, or with other notes and another rhythm."""
    if rng.random() < 0.5:
        rhythm = bar_rhythm(rng, plan.meter, plan.style, plan.quarter_s)
    return rhythm, melody_bar(rng, rhythm, plan.meter, plan.mode, root, degrees[0], ends=False)


def _sounding(
    rng: np.random.Generator,
    plan: _Plan,
    rhythm: Sequence[Stroke],
    degrees: Sequence[int],
    start: float,
    share: float,
) -> list[Note]:
    notes: list[Note] = []
    for stroke, degree in zip(rhythm, degrees, strict=True):
        if not stroke.is_rest:
            note = Note(start + stroke.start, stroke.duration, plan.mode.pitch(degree))
            notes += ornamented(rng, note, plan.mode.pitch(degree + 1), plan.quarter_s, share)
    return notes


def _upbeat(rng: np.random.Generator, plan: _Plan) -> list[Note]:
    count = round(plan.first_bar / plan.meter.pulse_quarters)
    degrees = [int(rng.integers(-2, 4)) for _ in range(count)]
    unit = plan.meter.pulse_quarters
    return [Note(index * unit, unit, plan.mode.pitch(degree)) for index, degree in enumerate(degrees)]


def _chords(rng: np.random.Generator, plan: _Plan, harmony: Sequence[int]) -> tuple[Note, ...]:
    style = str(rng.choice(list(CHORD_STYLES)))
    return _placed(
        plan,
        [
            chord_bar(style, plan.meter, [plan.mode.pitch(degree) for degree in chord_degrees(root)])
            for root in harmony
        ],
    )


def _drums(rng: np.random.Generator, plan: _Plan, kind: str, phrase: int) -> tuple[Note, ...]:
    drumming = draw_drumming(rng, plan.meter, plan.quarter_s, kind)
    bars = [
        drum_bar(rng, drumming, plan.meter, closes=bar % phrase == phrase - 1) for bar in range(plan.n_bars)
    ]
    return _placed(plan, bars)


def _placed(plan: _Plan, bars: Sequence[Sequence[Note]]) -> tuple[Note, ...]:
    length = plan.meter.bar_quarters
    return tuple(
        replace(note, start=plan.first_bar + index * length + note.start)
        for index, bar in enumerate(bars)
        for note in bar
    )
