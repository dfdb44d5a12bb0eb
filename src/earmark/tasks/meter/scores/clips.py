"""Clips from scores: a window of a rendering, written whole, and the row of labels that belongs to it.

A window starts within the first bars, not always at a downbeat. The name of a file holds a digest of all that decides
its samples, so that a run that was stopped goes on where it was, and a file that is there is the right one. The table
of labels is written last, over the clips that exist.

Conventions: mono FLAC of 16 bits at 22 050 Hz (or Ogg Vorbis), seconds from the start of the clip. The table has the
columns `COLUMNS`; ``downbeats`` are seconds separated by spaces.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError
from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.meter.scores.colour import coloured
from earmark.tasks.meter.scores.midi import write_midi
from earmark.tasks.meter.scores.render import Room, render_midi
from earmark.tasks.meter.scores.score import Score, repeated
from earmark.tasks.meter.scores.synth import synthesise

__all__ = [
    "CLIP_S",
    "COLUMNS",
    "LABELS_NAME",
    "Take",
    "encode",
    "label_row",
    "long_enough",
    "write_clip",
    "write_labels",
]

CLIP_S = 30.0
LABELS_NAME = "labels.csv"
COLUMNS = (
    "file", "label", "signature", "division", "grouping", "style", "group", "source", "seconds", "tempo_bpm",
    "downbeats", "title", "extra",
)  # fmt: skip
_RECIPE = 1
"""Raised when the same score gives other samples, so that old files are not taken for new ones."""


@dataclass(frozen=True)
class Take:
    """How a score becomes a clip.

    Parameters
    ----------
    start_s : float
        Where the clip starts in the rendering.
    duration_s : float
    sound_font : Path or None
        None plays it with the built-in synthesiser.
    room : Room
    seed : int
        Of the synthesiser and the colour.
    is_coloured : bool
        Whether `earmark.tasks.meter.scores.colour` changes it; else its peak is `level`.
    level : float
    suffix : str
        ``flac`` or ``ogg``.
    """

    start_s: float = 0.0
    duration_s: float = CLIP_S
    sound_font: Path | None = None
    room: Room = field(default_factory=Room)
    seed: int = 0
    is_coloured: bool = True
    level: float = 0.5
    suffix: str = "flac"

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        score: Score,
        sound_fonts: Sequence[Path],
        *,
        duration_s: float,
        suffix: str,
    ) -> Take:
        """A take of a score with one of the sound fonts, or now and then the synthesiser; without any, always it."""
        font = (
            sound_fonts[int(rng.integers(len(sound_fonts)))] if sound_fonts and rng.random() < 0.9 else None
        )
        latest = min(
            float(score.downbeats_s()[min(2, score.n_bars - 1)]), max(0.0, score.duration_s - duration_s)
        )
        return cls(
            start_s=round(float(rng.uniform(0, latest)), 3) if latest > 0 and rng.random() < 0.6 else 0.0,
            duration_s=duration_s,
            sound_font=font,
            room=Room(
                reverb=rng.random() < 0.7, chorus=rng.random() < 0.2, room_size=float(rng.uniform(0.1, 0.9))
            ),
            seed=int(rng.integers(2**31)),
            suffix=suffix,
        )


def write_clip(score: Score, take: Take, folder: Path, name: str) -> dict[str, Any]:
    """Render a window of a score into ``folder/audio`` unless it is there, and give its row of labels.

    Raises
    ------
    InputError
        It could not be played, is silent, or shows fewer than two downbeats.
    """
    midi = write_midi(score)
    relative = f"audio/{name}-{_digest(midi, take)}.{take.suffix}"
    row = label_row(score, take, relative)
    if not (folder / relative).exists():
        samples = _window(score, take, midi)
        if np.abs(samples).max(initial=0.0) < 1e-4:
            raise InputError(
                f"{score.title or name}: nothing sounds in this window. Expected music. Leave it out."
            )
        if take.is_coloured:
            samples = coloured(samples, np.random.default_rng((take.seed, 7)))
        else:
            samples = samples * np.float32(take.level / np.abs(samples).max())
        write_bytes_atomic(folder / relative, encode(samples, take.suffix))
    return row


def label_row(score: Score, take: Take, file: str) -> dict[str, Any]:
    """What is known of a clip: meter, tempo and where its bars start."""
    downbeats = score.downbeats_s() - take.start_s
    inside = downbeats[(downbeats > -5e-4) & (downbeats < take.duration_s)]
    if len(inside) < 2:
        raise InputError(
            f"{score.title or file}: {len(inside)} bars start within {take.duration_s:g} s; expected at least 2. "
            "Leave it out or play it faster."
        )
    meter = score.meter
    return {
        "file": file,
        "label": meter.label,
        "signature": meter.counted,
        "division": meter.division,
        "grouping": meter.grouping,
        "style": score.style,
        "group": score.group,
        "source": score.source,
        "seconds": f"{take.duration_s:g}",
        "tempo_bpm": f"{score.tempo_bpm:.2f}",
        "downbeats": " ".join(f"{max(0.0, time):.3f}" for time in inside),
        "title": score.title,
        "extra": ";".join(f"{key}={value}" for key, value in score.facts.items()),
    }


def write_labels(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write the table of labels in the order of the rows; returns its path."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = folder / LABELS_NAME
    write_bytes_atomic(path, text.getvalue().encode("utf-8"))
    return path


def encode(samples: NDArray[np.float32], suffix: str = "flac") -> bytes:
    """Samples at `SAMPLE_RATE` as the bytes of a file; those of FLAC depend on nothing but the samples."""
    import soundfile

    buffer = io.BytesIO()
    kind = {"flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS"), "wav": ("WAV", "PCM_16")}[suffix]
    soundfile.write(buffer, samples, SAMPLE_RATE, format=kind[0], subtype=kind[1])
    return buffer.getvalue()


def _window(score: Score, take: Take, midi: bytes) -> NDArray[np.float32]:
    until_s = take.start_s + take.duration_s
    if take.sound_font is None:
        whole = synthesise(score, until_s, seed=take.seed)
    else:
        whole = render_midi(midi, take.sound_font, until_s, room=take.room)
    return whole[-round(take.duration_s * SAMPLE_RATE) :]


def _digest(midi: bytes, take: Take) -> str:
    font = take.sound_font.name if take.sound_font else "synth"
    how = f"{_RECIPE} {font} {take.start_s} {take.duration_s} {take.room} {take.seed} {take.is_coloured} {take.level}"
    return hashlib.blake2b(midi + how.encode(), digest_size=5).hexdigest()


def long_enough(score: Score, duration_s: float) -> Score:
    """The piece, repeated until it lasts so long."""
    length_s = score.duration_s
    return score if length_s >= duration_s else repeated(score, int(np.ceil(duration_s / length_s)))
