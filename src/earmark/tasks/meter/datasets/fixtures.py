"""Fixtures: files whose meters are known from their kind (waltz, march, jig ...), only ever tested on.

``fixtures.json`` is a list of objects: ``url``, ``sha256``, ``category``, ``meters`` (all that are acceptable), and
optionally ``bpm_range`` (two numbers) and ``file``, the name below the folder (default: that of the URL). A file whose
SHA-256 is another is refused: a page may have replaced it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from earmark.data.soft_labels import soft_label_text
from earmark.errors import UsageError
from earmark.tasks.meter.datasets.accounting import MISSING_FILE
from earmark.tasks.meter.datasets.audio_files import AudioFiles, without_audio_suffix
from earmark.tasks.meter.datasets.normal_form import MeterRow

__all__ = ["CATALOGUE_FILE", "file_name", "read_catalogue", "read_fixtures"]

CATALOGUE_FILE = "fixtures.json"


def read_catalogue(path: Path) -> list[dict[str, Any]]:
    """Entries of a catalogue, which is a JSON list of objects; raises UsageError for anything else."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"`{path}` cannot be read ({error}). Expected a catalogue in JSON. Correct it."
        ) from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"`{path}` is not a list of objects, as a catalogue is. Correct it.")
    return entries


def file_name(entry: Mapping[str, Any]) -> str:
    """Name of an entry's file below its folder."""
    return str(entry.get("file") or unquote(PurePosixPath(urlsplit(str(entry.get("url", ""))).path).name))


def read_fixtures(folder: Path) -> list[MeterRow]:
    """Rows of the catalogue in `folder`.

    Raises
    ------
    UsageError
        There is no catalogue, or it cannot be read.
    """
    path = folder / CATALOGUE_FILE
    files = AudioFiles(folder)
    return [_row(path, number, entry, files) for number, entry in enumerate(read_catalogue(path), start=1)]


def _row(file: Path, number: int, entry: Mapping[str, Any], files: AudioFiles) -> MeterRow:
    name = file_name(entry)
    bpm = entry.get("bpm_range")
    row = MeterRow(
        file=str(file),
        number=number,
        name=name,
        dataset="fixtures",
        source="FIXTURES",
        key=f"FIXTURES/{without_audio_suffix(name)}",
        part="test",
        genre=str(entry.get("category") or "") or None,
        origin=str(entry.get("url") or "") or None,
        bpm_range="-".join(f"{value:g}" for value in bpm) if bpm else None,
    )
    meters = entry.get("meters") or []
    row = row.labelled(soft_label_text({str(meter): 1.0 for meter in meters}))
    if row.reason:
        return row
    path = files.find([name])
    if path is None:
        return row.rejected(MISSING_FILE, name)
    expected = str(entry.get("sha256") or "").lower()
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        return row.rejected(
            "other content", f"SHA-256 is {found[:12]}, the catalogue says {expected[:12] or 'none'}"
        )
    return replace(row, path=str(path))
