"""Recordings in which one machine goes on and off, with the seconds at which it does.

``on_segments.csv`` has the columns ``file``, ``on`` and ``off``: in these seconds, counted from the start of the file,
the machine runs. A second table may list the recordings (``file`` and free columns such as ``machine``,
``machine_src``, ``snr_db``), also those in which it never runs; its columns come along into the manifest.

A window is on or off where it lies wholly in one or the other. One with a switch in it has no label; `on_share` and
`on_within` keep what is known of it, so that a score by the second can be made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from earmark.errors import InputError, UsageError
from earmark.tasks.appliance.labels import found_file, read_rows
from earmark.tasks.appliance.recordings import Recording, recording_of, repeated_stems
from earmark.tasks.appliance.schema import MANIFEST_COLUMNS

__all__ = ["DEFAULT_DEVICE", "KIND_SUFFIX", "Scene", "on_share", "on_within", "read_scenes"]

DEFAULT_DEVICE = "machine"
KIND_SUFFIX = "_kind"
"""Appended to a free column that has the device's name: the device's own column holds its 0 and 1."""

Spans = tuple[tuple[float, float], ...]

_KIND_COLUMN = "machine"
_COLUMNS = ("file", "on", "off")
_SLACK_S = 0.1  # headers and tables round
_REMEDY = "Correct the tables: each row is a file and the seconds at which the machine goes on and off."


@dataclass(frozen=True)
class Scene:
    """One recording, the spans in which the machine runs, in seconds, and what else the table says of it."""

    recording: Recording
    on_spans: Spans
    free: Mapping[str, Any] = field(default_factory=dict)


def read_scenes(
    segments: Path, table: Path | None = None, folder: Path | None = None, device: str | None = None
) -> tuple[list[Scene], str, tuple[str, ...]]:
    """The recordings of a table of segments, sorted by name, the device's name, and what is wrong with other rows.

    Parameters
    ----------
    segments : Path
        ``on_segments.csv``.
    table : Path, optional
        What lists the recordings; without it those of `segments` are taken.
    folder : Path, optional
        Where files lie that are not beside their table.
    device : str, optional
        By default the one machine that the table names, else ``machine``.

    Raises
    ------
    UsageError
        A table cannot be read, or has other columns.
    """
    rows = read_rows(segments)
    _require_columns(segments, rows, _COLUMNS)
    listed = read_rows(table) if table is not None else [{"file": name} for name in _files(rows)]
    _require_columns(table or segments, listed, ("file",))
    name = device or _only_machine(listed) or DEFAULT_DEVICE
    of_file, problems = _spans_by_file(rows)
    unknown = sorted(of_file.keys() - set(_files(listed)))
    problems += [f"`{file}` has segments and is not in {table.name}" for file in unknown if table is not None]
    free = _free_columns(listed, name)
    scenes = []
    for row in listed:
        try:
            scenes.append(_scene(row["file"], of_file.get(row["file"], ()), table or segments, folder, free))
        except (InputError, ValueError) as error:
            problems.append(f"`{row['file']}`: {error}")
    problems += repeated_stems([scene.recording.path for scene in scenes])
    return sorted(scenes, key=lambda scene: scene.recording.recording_id), name, tuple(problems)


def on_within(spans: Spans, start_s: float, end_s: float) -> Spans:
    """The parts of `spans` between two times.

    Examples
    --------
    >>> on_within(((0.0, 4.0), (5.0, 9.0)), 3.0, 6.0)
    ((3.0, 4.0), (5.0, 6.0))
    """
    return tuple((max(on, start_s), min(off, end_s)) for on, off in spans if on < end_s and off > start_s)


def on_share(spans: Spans, start_s: float, end_s: float) -> float:
    """Share of the time between two times in which the machine runs, 0 to 1; exactly 0 or 1 without a switch."""
    within = on_within(spans, start_s, end_s)
    if within == ((start_s, end_s),):
        return 1.0
    return sum(off - on for on, off in within) / (end_s - start_s)


def _require_columns(path: Path, rows: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if any(name not in row for row in rows)]
    if missing:
        raise UsageError(
            f"`{path}` has the columns {', '.join(rows[0])}; {', '.join(missing)} is missing. {_REMEDY}"
        )


def _files(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["file"] for row in rows))


def _only_machine(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The machine of the table, where all of its rows name one and the same."""
    named = {row.get(_KIND_COLUMN) for row in rows}
    only = named.pop() if len(named) == 1 else None
    return str(only) if only else None


def _spans_by_file(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Spans], list[str]]:
    """Spans of each file in the order of time, joined where one ends as the next begins; and what is wrong."""
    found: dict[str, list[tuple[float, float]]] = {}
    problems = []
    for number, row in enumerate(rows, start=1):
        try:
            on, off = float(row["on"]), float(row["off"])
            if not 0 <= on < off < float("inf"):
                raise ValueError(f"on {on:g} and off {off:g}, expected 0 <= on < off")
            found.setdefault(row["file"], []).append((on, off))
        except ValueError as error:
            problems.append(f"segment {number} of `{row['file']}` has {error}")
    for file, spans in found.items():
        spans.sort()
        problems += [
            f"`{file}` has overlapping segments at {later[0]:g} s"
            for earlier, later in pairwise(spans)
            if later[0] < earlier[1]
        ]
    return {file: _joined(spans) for file, spans in found.items()}, problems


def _joined(spans: Sequence[tuple[float, float]]) -> Spans:
    joined: list[tuple[float, float]] = []
    for on, off in spans:
        if joined and joined[-1][1] == on:
            joined[-1] = (joined[-1][0], off)
        else:
            joined.append((on, off))
    return tuple(joined)


def _scene(
    file: str, spans: Spans, table: Path, folder: Path | None, free: Mapping[str, Mapping[str, Any]]
) -> Scene:
    recording = recording_of(found_file(file, table, folder), None)
    if spans and spans[-1][1] > recording.duration_s + _SLACK_S:
        raise ValueError(
            f"a segment ends at {spans[-1][1]:g} s, the recording at {recording.duration_s:.2f} s"
        )
    return Scene(recording, spans, free.get(file, {}))


def _free_columns(rows: Sequence[Mapping[str, Any]], device: str) -> dict[str, dict[str, Any]]:
    """The table's other columns by file: numbers where all of a column are numbers."""
    columns = {name: [row.get(name, "") for row in rows] for name in rows[0] if name != "file"}
    taken = [name for name in columns if name in MANIFEST_COLUMNS]
    if taken:
        raise UsageError(
            f"the table of recordings has the columns {', '.join(taken)}, which the manifest uses; rename them."
        )
    values = {name + KIND_SUFFIX * (name == device): _typed(column) for name, column in columns.items()}
    return {row["file"]: {name: of[at] for name, of in values.items()} for at, row in enumerate(rows)}


def _typed(values: Sequence[str]) -> list[Any]:
    try:
        return [float(value) if value != "" else None for value in values]
    except ValueError:
        return [value if value != "" else None for value in values]
