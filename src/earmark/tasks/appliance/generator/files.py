"""Recordings of the synthetic room as files: steady ones named by the pattern, and long ones with known switches.

::

    samples/ac-on-fridge-off-day.flac        steady, one per state and daypart and take
    long/evening-1.flac                      machines go on and off
    long/ac_on_segments.csv                  file, on, off: when the machine runs, seconds, one table per machine
    long/disturbances.csv                    file, name, start, end

A file that exists is left as it is: a name, a seed and the program's version make its content, and whoever changes one
takes another folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.tasks.appliance.generator.machines import FLOOR_DB
from earmark.tasks.appliance.generator.scene import Heard, SyntheticRoom, random_spans
from earmark.tasks.appliance.names import NamePattern

__all__ = ["write_audio", "write_long", "write_steady"]

SUBTYPES = {"flac": ("FLAC", "PCM_24"), "wav": ("WAV", "FLOAT")}
STEADY_STREAM, LONG_STREAM = 1, 2
"""So that no two files of a seed share their noise."""


def write_steady(
    folder: Path,
    room: SyntheticRoom,
    *,
    duration_s: float = 180.0,
    takes: int = 1,
    suffix: str = "flac",
    seed: int = 42,
) -> list[Path]:
    """Write one recording for each combination of facts, daypart and take.

    Parameters
    ----------
    folder : Path
        Gets the files.
    room : SyntheticRoom
    duration_s : float
    takes : int
    suffix : {"flac", "wav"}
    seed : int

    Returns
    -------
    list of Path
    """
    pattern = NamePattern(room.devices, tuple(FLOOR_DB))
    paths = []
    states = product((False, True), repeat=len(room.devices))
    for number, (on, daypart, take) in enumerate(product(states, FLOOR_DB, range(1, takes + 1))):
        facts = dict(zip(room.devices, on, strict=True))
        path = folder / f"{pattern.name(facts, daypart, take=take)}.{suffix}"
        if not path.exists():
            rng = np.random.default_rng((seed, STEADY_STREAM, number))
            write_audio(path, room.steady(facts, daypart, duration_s, rng), room.sample_rate)
        paths.append(path)
    return paths


def write_long(
    folder: Path,
    room: SyntheticRoom,
    *,
    n_files: int = 1,
    duration_s: float = 600.0,
    dwell_s: tuple[float, float] = (40.0, 120.0),
    suffix: str = "flac",
    seed: int = 42,
) -> list[Path]:
    """Write recordings in which machines go on and off, and the tables that say when; all anew.

    Parameters
    ----------
    folder : Path
        Gets the files and the tables.
    room : SyntheticRoom
    n_files : int
        Day and night by turns.
    duration_s : float
    dwell_s : (float, float)
        How long a machine stays on or off.
    suffix : {"flac", "wav"}
    seed : int

    Returns
    -------
    list of Path
    """
    heard: list[tuple[str, Heard]] = []
    for number in range(n_files):
        rng = np.random.default_rng((seed, LONG_STREAM, number))
        spans = {name: random_spans(duration_s, dwell_s, rng) for name in room.devices}
        found = room.switching(spans, list(FLOOR_DB)[number % len(FLOOR_DB)], duration_s, rng)
        heard.append((f"evening-{number + 1}.{suffix}", found))
        write_audio(folder / heard[-1][0], found, room.sample_rate)
    for device in room.devices:
        spans_of = ((name, *span) for name, one in heard for span in one.on_spans[device])
        _write_table(folder / f"{device}_on_segments.csv", ("file", "on", "off"), spans_of)
    events = ((name, kind, start, end) for name, one in heard for kind, start, end in one.disturbances)
    _write_table(folder / "disturbances.csv", ("file", "name", "start", "end"), events)
    return [folder / name for name, _ in heard]


def write_audio(path: Path, heard: Heard, sample_rate: int) -> None:
    """Write a recording, whole or not at all; the suffix tells the format.

    Raises
    ------
    UsageError
        The suffix is neither ``.flac`` nor ``.wav``.
    """
    import soundfile

    kind = SUBTYPES.get(path.suffix.lstrip("."))
    if kind is None:
        raise UsageError(f"`{path.name}` is neither flac nor wav. Expected one of these suffixes. Rename it.")
    encoded = io.BytesIO()
    soundfile.write(encoded, heard.samples, sample_rate, format=kind[0], subtype=kind[1])
    write_bytes_atomic(path, encoded.getvalue())


def _write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([f"{value:.2f}" if isinstance(value, float) else value for value in row] for row in rows)
    write_bytes_atomic(path, text.getvalue().encode())
