"""Tunes made into performances: another key, instrument and tempo, chords and drums under them, and limping bars.

A *limp* bends the bars of a tune into a meter that few notated tunes have: one group of a bar is held longer or cut
shorter, the same in every bar, as aksak dances do to even ones. Its notes stay those of a tune that people sang.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.scores.accompaniment import CHORD_STYLES, chord_bar, draw_drumming, drum_bar
from earmark.tasks.meter.scores.expression import Manner, draw_tempo, played
from earmark.tasks.meter.scores.meters import MADE, MadeMeter, draw_bar_s
from earmark.tasks.meter.scores.patterns import MIN_BARS, draw_programs, in_range
from earmark.tasks.meter.scores.score import Meter, Note, Part, Score, TempoMap, repeated

__all__ = ["LIMPS", "Limp", "arranged", "chords_of", "limping"]

NOTES_PER_S = (1.2, 8.5)
"""Slowest and fastest playing of a tune, over its parts' busiest."""
_TRIADS = tuple((root, third, 7) for third in (4, 3) for root in range(12))


@dataclass(frozen=True)
class Limp:
    """How bars of `bars` x `signature` become one bar of `meter`: place `source[i]` goes to `target[i]`, in eighths,
    straight between."""

    signature: str
    bars: int
    meter: Meter
    source: tuple[float, ...]
    target: tuple[float, ...]


def _limp(signature: str, bars: int, target: str, groups: tuple[int, ...], places: str, goals: str) -> Limp:
    source, target_places = (tuple(float(place) for place in text.split()) for text in (places, goals))
    return Limp(signature, bars, Meter(target, groups), source, target_places)


LIMPS = (
    _limp("2/4", 1, "5/8", (2, 3), "0 2 3 4", "0 2 3 5"),
    _limp("2/4", 1, "5/8", (2, 3), "0 2 3 4", "0 2 4 5"),
    _limp("2/4", 1, "5/8", (3, 2), "0 1 2 4", "0 2 3 5"),
    _limp("6/8", 1, "5/8", (3, 2), "0 3 4 6", "0 3 4 5"),
    _limp("6/8", 1, "5/8", (2, 3), "0 1 3 6", "0 1 2 5"),
    _limp("4/4", 1, "5/4", (3, 2), "0 6 8", "0 6 10"),
    _limp("3/4", 1, "5/4", (3, 2), "0 4 6", "0 6 10"),
    _limp("3/4", 1, "7/8", (2, 2, 3), "0 4 5 6", "0 4 5 7"),
    _limp("3/4", 1, "7/8", (3, 2, 2), "0 1 2 6", "0 2 3 7"),
    _limp("3/4", 1, "7/8", (2, 3, 2), "0 2 3 4 6", "0 2 3 5 7"),
    _limp("9/8", 1, "7/8", (3, 2, 2), "0 3 4 6 7 9", "0 3 4 5 6 7"),
    _limp("4/4", 1, "7/8", (2, 2, 3), "0 6 8", "0 6 7"),
    _limp("3/4", 2, "7/4", (3, 4), "0 10 12", "0 10 14"),
    _limp("4/4", 1, "9/8", (2, 2, 2, 3), "0 6 7 8", "0 6 7 9"),
    _limp("2/4", 2, "9/8", (2, 2, 2, 3), "0 6 7 8", "0 6 8 9"),
    _limp("4/4", 1, "9/8", (2, 3, 2, 2), "0 2 3 4 8", "0 2 3 5 9"),
    _limp("6/8", 2, "11/8", (3, 3, 3, 2), "0 9 10 12", "0 9 10 11"),
    _limp("4/4", 1, "11/8", (3, 3, 3, 2), "0 1 2 3 4 5 6 8", "0 2 3 5 6 8 9 11"),
    _limp("2/4", 2, "11/8", (3, 3, 3, 2), "0 1 2 3 4 5 6 8", "0 2 3 5 6 8 9 11"),
)
"""Ways from a common meter to a rare one."""


def limping(score: Score, limp: Limp) -> Score:
    """The piece with every bar bent, played from its first full bar at its first tempo."""
    length, new_length = limp.source[-1] / 2, limp.meter.bar_quarters
    n_bars = score.n_bars // limp.bars

    def moved(time: float) -> float:
        bar, place = divmod(time - score.first_bar, length)
        return float(bar * new_length + np.interp(place * 2, limp.source, limp.target) / 2)

    def bent(note: Note) -> Note:
        start = moved(note.start)
        return replace(note, start=start, duration=moved(note.start + note.duration) - start)

    stop = score.first_bar + n_bars * length
    parts = tuple(
        replace(
            part,
            notes=tuple(
                bent(note) for note in part.notes if score.first_bar - 1e-9 <= note.start < stop - 1e-9
            ),
        )
        for part in score.parts
    )
    tempo = TempoMap.constant(score.tempo.quarter_s[0])
    return replace(score, meter=limp.meter, n_bars=n_bars, parts=parts, first_bar=0.0, tempo=tempo)


def arranged(rng: np.random.Generator, score: Score, *, duration_s: float, layers: str) -> Score:
    """A performance of a tune.

    Parameters
    ----------
    score : Score
        Its written tempo does not matter.
    duration_s : float
        The performance lasts at least so long and some bars more; a shorter tune is repeated.
    layers : str
        As `earmark.tasks.meter.scores.patterns.LAYERS`; only ``chords``, ``usul`` and ``kit`` are looked for.
    """
    bar_s = min(_bar_s(rng, score), duration_s / MIN_BARS)
    quarter_s = bar_s / score.meter.bar_quarters
    wanted = int(np.ceil((duration_s + 3) / (0.85 * bar_s))) + 1
    piece = repeated(score, max(1, -(-wanted // score.n_bars)))
    shift, melody, chords = int(rng.integers(-5, 8)), *draw_programs(rng)
    tunes = [
        replace(part, program=melody, notes=tuple(_moved(note, shift) for note in part.notes))
        for part in piece.parts
    ]
    parts = [in_range(part) for part in tunes]
    parts += _accompaniment(rng, replace(piece, parts=tuple(tunes)), chords, layers, quarter_s)
    manner = Manner.draw(rng)
    performed = tuple(
        replace(part, notes=played(rng, part.notes, piece.meter, manner, piece.first_bar, quarter_s))
        for part in parts
    )
    tempo = draw_tempo(rng, quarter_s, piece.meter, piece.n_bars, piece.first_bar)
    return replace(piece, parts=performed, tempo=tempo)


def chords_of(score: Score) -> list[tuple[int, int, int]]:
    """The triad that fits the notes of each bar best, as three pitches from the octave above 48; that of the bar before
    where a bar is silent."""
    result, before = [], _TRIADS[0]
    weights = _pitch_classes(score)
    fits = np.array([[row[(root + step) % 12] for step in (0, third, seventh)] for row in weights
                     for root, third, seventh in _TRIADS]).reshape(len(weights), len(_TRIADS), 3)  # fmt: skip
    scores = fits @ np.array([1.2, 1.0, 1.0])
    for row in scores:
        if row.max() > 0:
            before = _TRIADS[int(row.argmax())]
        root, third, fifth = before
        result.append((48 + root, 48 + root + third, 48 + root + fifth))
    return result


def _pitch_classes(score: Score) -> NDArray[np.float64]:
    """Seconds of each pitch class in each bar, those that start a bar counted twice; shape (n_bars, 12)."""
    weights = np.zeros((score.n_bars, 12))
    for part in score.parts:
        for note in part.notes if not part.is_drums else ():
            bar, place = divmod(note.start - score.first_bar + 1e-9, score.meter.bar_quarters)
            if 0 <= bar < score.n_bars:
                weights[int(bar), note.pitch % 12] += note.duration * (2 if place < 1e-6 else 1)
    return weights


def _accompaniment(
    rng: np.random.Generator, score: Score, program: int, layers: str, quarter_s: float
) -> list[Part]:
    meter, parts = score.meter, []
    if "chords" in layers:
        style = str(rng.choice(list(CHORD_STYLES)))
        bars = [chord_bar(style, meter, chord) for chord in chords_of(score)]
        parts.append(Part("chords", program, _placed(score, bars)))
    if "usul" in layers or "kit" in layers:
        drumming = draw_drumming(rng, meter, quarter_s, "usul" if "usul" in layers else "kit")
        bars = [drum_bar(rng, drumming, meter, closes=bar % 4 == 3) for bar in range(score.n_bars)]
        parts.append(Part("drums", 0, _placed(score, bars), is_drums=True))
    return parts


def _placed(score: Score, bars: Sequence[Sequence[Note]]) -> tuple[Note, ...]:
    starts = (score.first_bar + index * score.meter.bar_quarters for index in range(len(bars)))
    return tuple(
        replace(note, start=start + note.start)
        for start, bar in zip(starts, bars, strict=True)
        for note in bar
    )


def _bar_s(rng: np.random.Generator, score: Score) -> float:
    """Length of a bar as its meter has it, but neither faster nor slower than hands play these notes."""
    made = next((made for made in MADE if made.signature == score.meter.counted), None)
    drawn = draw_bar_s(
        rng, made or MadeMeter(score.meter.counted, score.meter.label, 1.0, {}, 2.4), score.meter
    )
    busiest = max(len({note.start for note in part.notes}) for part in score.parts) / score.n_bars
    return float(np.clip(drawn, busiest / NOTES_PER_S[1], max(busiest / NOTES_PER_S[0], 0.7)))


def _moved(note: Note, shift: int) -> Note:
    return replace(note, pitch=int(np.clip(note.pitch + shift, 24, 103)))
