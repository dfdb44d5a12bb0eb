"""A table that says what was on in each recording, in place of telling names: CSV or YAML.

CSV has a column ``file``, one of 0 and 1 per device, and ``daypart`` where there are dayparts. YAML is a list of such
rows, or the file's name -> the row. Files are relative to the table, else to the folder of recordings. The columns
that are neither ``file`` nor ``daypart`` are the devices, in their order.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from earmark.errors import InputError, UsageError
from earmark.tasks.appliance.recordings import (
    Found,
    Recording,
    as_fact,
    devices_named,
    recording_of,
    repeated_stems,
)
from earmark.tasks.appliance.schema import Devices

__all__ = ["found_file", "labelled_recordings", "read_rows"]

_YAML = (".yaml", ".yml")
_REMEDY = "Correct the table; each row is a file, 0 or 1 per device, and its daypart."


def labelled_recordings(table: Path, folder: Path | None = None) -> Found:
    """The recordings of a table of labels, and the devices that its columns name.

    Raises
    ------
    UsageError
        The table cannot be read, or has no column ``file``.
    """
    rows = read_rows(table)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    if "file" not in columns:
        raise UsageError(
            f"`{table}` has the columns {', '.join(columns) or 'none'}; expected `file`. {_REMEDY}"
        )
    devices = devices_named(tuple(name for name in columns if name not in ("file", "daypart")))
    recordings: list[Recording] = []
    problems = []
    takes: Counter[tuple[object, ...]] = Counter()
    for number, row in enumerate(rows, start=1):
        try:
            recording = _recording(row, devices, table, folder, needs_daypart="daypart" in columns)
        except (InputError, ValueError) as error:
            problems.append(f"row {number} of {table.name} (`{row.get('file')}`): {error}")
            continue
        cell = (tuple((recording.facts or {}).values()), recording.daypart)
        takes[cell] += 1
        recordings.append(_numbered(recording, takes[cell]))
    problems += repeated_stems([each.path for each in recordings])
    ordered = sorted(recordings, key=lambda each: each.recording_id)
    return Found(tuple(ordered), devices, tuple(problems))


def read_rows(table: Path) -> list[dict[str, Any]]:
    """Rows of a CSV or YAML table; errors as of `labelled_recordings`."""
    if not table.is_file():
        raise UsageError(f"there is no table `{table}`; expected CSV or YAML. Correct the path.")
    try:
        text = table.read_text("utf-8-sig")
        rows = _yaml_rows(text) if table.suffix.lower() in _YAML else _csv_rows(text)
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise UsageError(f"`{table}` cannot be read: {error}. {_REMEDY}") from error
    if not rows:
        raise UsageError(f"`{table}` has no rows. {_REMEDY}")
    return rows


def found_file(name: str, table: Path, folder: Path | None) -> Path:
    """Where a file that a table names lies: beside the table, else in the folder of recordings.

    Raises
    ------
    InputError
        In neither.
    """
    places = [base / name for base in (table.absolute().parent, folder) if base is not None]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"there is no file {' or '.join(f'`{place}`' for place in places)}")


def _csv_rows(text: str) -> list[dict[str, Any]]:
    rows = list(csv.DictReader(text.splitlines(), strict=True))
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ValueError(f"row {number} has more or fewer cells than the header")
    return [{name.strip(): (value or "").strip() for name, value in row.items()} for row in rows]


def _yaml_rows(text: str) -> list[dict[str, Any]]:
    import yaml

    try:
        loaded = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if isinstance(loaded, Mapping):
        loaded = [
            {"file": file, **row} if isinstance(row, Mapping) else {"file": file}
            for file, row in loaded.items()
        ]
    if not isinstance(loaded, Sequence) or not all(isinstance(row, Mapping) for row in loaded):
        raise ValueError("it holds neither a list of rows nor rows by file")
    return [dict(row) for row in loaded]


def _recording(
    row: Mapping[str, Any], devices: Devices, table: Path, folder: Path | None, *, needs_daypart: bool
) -> Recording:
    facts = {name: as_fact(row.get(name)) for name in devices.names}
    daypart = row.get("daypart") or None
    if needs_daypart and daypart is None:
        raise ValueError("no daypart, which other rows have")
    return recording_of(found_file(str(row["file"]), table, folder), facts, daypart)


def _numbered(recording: Recording, take: int) -> Recording:
    from dataclasses import replace

    return replace(recording, take=take)
