"""Melodies over the rhythm of a phrase: scales, harmony by bar, contour, ornaments.

Conventions: degrees count steps of the scale from its tonic, 0 is the tonic; pitches are those of MIDI. A bar is given
by its letter in the form: equal letters give equal notes, exactly, in sequence or with a new turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earmark.tasks.meter.scores.rhythm import Stroke, strength
from earmark.tasks.meter.scores.score import Meter, Note

__all__ = ["SCALES", "Mode", "chord_degrees", "draw_harmony", "draw_mode", "melody_bar", "ornamented"]

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "hicaz": (0, 1, 4, 5, 7, 8, 10),
    "nikriz": (0, 2, 3, 6, 7, 9, 10),
    "pentatonic": (0, 2, 4, 7, 9),
    "minor pentatonic": (0, 3, 5, 7, 10),
}
_PROGRESSIONS = (
    (0, 3, 4, 0), (0, 4, 0, 4), (0, 0, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4), (0, 6, 5, 4), (0, 0, 3, 4), (0, 1, 4, 0),
    (0, 6, 0, 6), (0, 0, 0, 0), (0, 0, 6, 0),
)  # fmt: skip
ORNAMENT_S = 0.06


@dataclass(frozen=True)
class Mode:
    """A scale on a tonic, the width of the melody in degrees, and the share of steps among its intervals."""

    tonic: int
    steps: tuple[int, ...]
    width: int
    stepwise: float

    def pitch(self, degree: int) -> int:
        """MIDI pitch of a degree."""
        octave, step = divmod(degree, len(self.steps))
        return min(max(self.tonic + 12 * octave + self.steps[step], 0), 127)


def draw_mode(rng: np.random.Generator) -> Mode:
    """A mode; the melody lies between 50 and 84."""
    name = str(rng.choice(list(SCALES)))
    return Mode(
        int(rng.integers(54, 72)), SCALES[name], int(rng.integers(6, 12)), float(rng.uniform(0.5, 0.95))
    )


def draw_harmony(rng: np.random.Generator, n_bars: int) -> tuple[int, ...]:
    """Root of the chord of each bar, as a degree."""
    progression = _PROGRESSIONS[int(rng.integers(len(_PROGRESSIONS)))]
    hold = 2 if rng.random() < 0.3 else 1
    return tuple(progression[(bar // hold) % len(progression)] for bar in range(n_bars))


def chord_degrees(root: int) -> tuple[int, int, int]:
    """A triad of the scale on a degree."""
    return root, root + 2, root + 4


def melody_bar(
    rng: np.random.Generator,
    rhythm: Sequence[Stroke],
    meter: Meter,
    mode: Mode,
    root: int,
    start: int,
    *,
    ends: bool,
) -> tuple[int, ...]:
    """Degrees of the notes of one bar, one for each stroke.

    Parameters
    ----------
    rhythm : sequence of Stroke
    root : int
        Of the bar's chord: strong places lean to its notes.
    start : int
        Degree the line comes from.
    ends : bool
        Whether a phrase ends here: its last note is one of the chord.
    """
    degree, degrees = start, []
    direction = 1 if rng.random() < 0.5 else -1
    for index, stroke in enumerate(rhythm):
        degree += _interval(rng, mode, direction)
        if rng.random() < 0.25:
            direction = -direction
        if degree > mode.width or degree < -2:
            direction = -1 if degree > mode.width else 1
            degree = min(max(degree, -2), mode.width)
        is_last = ends and index == len(rhythm) - 1
        if is_last or rng.random() < 0.8 * strength(meter, stroke.start):
            degree = _nearest_chord_degree(degree, root, len(mode.steps))
        degrees.append(degree)
    return tuple(degrees)


def ornamented(
    rng: np.random.Generator, note: Note, upper: int, quarter_s: float, share: float
) -> tuple[Note, ...]:
    """The note, with a grace note or a mordent before it in a share of the cases; the beat stays with the first."""
    length = ORNAMENT_S / quarter_s
    if note.duration < 4 * length or rng.random() >= share:
        return (note,)
    if rng.random() < 0.6:
        grace = Note(note.start, length, upper, max(1, note.velocity - 8))
        return grace, Note(note.start + length, note.duration - length, note.pitch, note.velocity)
    first = Note(note.start, length, note.pitch, note.velocity)
    turn = Note(note.start + length, length, upper, max(1, note.velocity - 10))
    return (
        first,
        turn,
        Note(note.start + 2 * length, note.duration - 2 * length, note.pitch, note.velocity - 5),
    )


def _interval(rng: np.random.Generator, mode: Mode, direction: int) -> int:
    draw = rng.random()
    if draw < 0.12:
        return 0
    if draw < 0.12 + 0.88 * mode.stepwise:
        return direction
    return int(rng.choice([2, 3, 4])) * (direction if rng.random() < 0.6 else -direction)


def _nearest_chord_degree(degree: int, root: int, n_steps: int) -> int:
    candidates = [member + octave * n_steps for member in chord_degrees(root) for octave in (-2, -1, 0, 1, 2)]
    return min(candidates, key=lambda candidate: (abs(candidate - degree), candidate))
