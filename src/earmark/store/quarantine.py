"""Files that cannot be read are set aside, with a record of why; nothing is deleted.

They lie in ``_quarantine/`` inside the table's folder, under the names they had, and ``_quarantine/record.jsonl`` has
one line for each: ``when`` (UTC), ``path``, ``size``, ``rows`` (those that the table believed to have), ``reason``.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from earmark.store.atomic import sync_folder

__all__ = ["SetAside", "set_aside", "set_aside_files"]

FOLDER = "_quarantine"
RECORD = "record.jsonl"


@dataclass(frozen=True)
class SetAside:
    """One line of the record."""

    when: str
    path: str
    size: int
    rows: int
    reason: str


def set_aside(root: Path, path: str, *, rows: int, reason: str) -> SetAside:
    """Write down why `path` (relative to `root`) is set aside, then move it; a file that is gone is only recorded."""
    source, target = root / path, root / FOLDER / path
    there = source.is_file()
    record = SetAside(
        datetime.now(UTC).isoformat(timespec="milliseconds"),
        path,
        source.stat().st_size if there else 0,
        rows,
        reason,
    )
    (root / FOLDER).mkdir(exist_ok=True)
    _append(root / FOLDER / RECORD, record)
    if there:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        sync_folder(target.parent)
    return record


def set_aside_files(root: Path) -> list[SetAside]:
    """The record, oldest first; a line that a crash cut off is left out."""
    path = root / FOLDER / RECORD
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(SetAside(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


def _append(path: Path, record: SetAside) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, json.dumps(asdict(record), ensure_ascii=False).encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
