"""The importer of tasks that bring none: CSV tables with paths and labels, folders of classes, and plain files.

* A CSV file has a column ``path`` (or ``file``, ``uri``) and, for training, ``label``; ``group`` and any other
  column come along. Paths are relative to the file.
* A folder with subfolders gives each audio file the name of its first subfolder as label; files directly in it have
  no label.
* An audio file is one unlabelled item.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earmark.audio.decode import AUDIO_SUFFIXES
from earmark.data.manifest import Manifest
from earmark.errors import InputError, UsageError
from earmark.tasks.task import Imported, ImportRequest

__all__ = ["ImportReport", "RejectedRow", "import_items"]

PATH_COLUMNS = ("path", "file", "uri", "filename")


@dataclass(frozen=True)
class RejectedRow:
    """A row that was set aside: label file, row number, path as written, reason, and what was found."""

    file: str
    row: int
    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class ImportReport:
    """Rows read, kept and rejected with reasons; kept + rejected = read."""

    rows_read: int
    kept: int
    rejected: tuple[tuple[str, str], ...] = ()
    class_counts: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def import_items(request: ImportRequest) -> Imported:
    """Read all sources into one manifest with content hashes.

    Raises
    ------
    UsageError
        A source does not exist, a table has no path column, or nothing usable is left.
    """
    import polars as pl

    rows = [row for source in request.sources for row in _rows(Path(source))]
    kept: list[dict[str, Any]] = []
    rejected: list[tuple[str, str]] = []
    seen: set[str] = set()
    for row in rows:
        reason = _refusal(row, seen, request)
        if reason:
            rejected.append((row["uri"], reason))
        else:
            seen.add(row["uri"])
            kept.append(row)
    if not kept:
        shown = "; ".join(f"{uri}: {reason}" for uri, reason in rejected[:3])
        raise UsageError(
            f"none of {len(rows)} rows can be used ({shown}). Give a CSV file, a folder or audio files."
        )
    columns = list(dict.fromkeys(name for row in kept for name in row))
    table = pl.DataFrame(
        {name: [row.get(name) for row in kept] for name in columns}, infer_schema_length=None
    )
    counts = Counter(row["label"] for row in kept if row.get("label"))
    report = ImportReport(len(rows), len(kept), tuple(rejected), dict(sorted(counts.items())))
    return Imported(Manifest(table, root=request.root), report)


def _rows(source: Path) -> Iterator[dict[str, Any]]:
    if source.is_dir():
        yield from _folder_rows(source)
    elif source.suffix.lower() in AUDIO_SUFFIXES:
        yield _row(source, source.parent, None)
    elif source.is_file():
        yield from _table_rows(source)
    else:
        raise UsageError(f"there is no `{source}`; expected a CSV file, a folder or an audio file.")


def _folder_rows(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
            inside = path.relative_to(folder).parts
            yield _row(path, folder, inside[0] if len(inside) > 1 else None)


def _table_rows(source: Path) -> Iterator[dict[str, Any]]:
    with source.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = reader.fieldnames or []
        key = next((name for name in PATH_COLUMNS if name in names), None)
        if key is None:
            raise UsageError(f"`{source}` has the columns {', '.join(names) or 'none'}; one must be `path`.")
        for row in reader:
            path = source.parent / (row.pop(key) or "")
            yield {
                **_row(path, source.parent, row.pop("label", None) or None),
                **{k: v for k, v in row.items() if k},
            }


def _row(path: Path, root: Path, label: str | None) -> dict[str, Any]:
    path = path.absolute()
    name = path.relative_to(root.absolute()).as_posix() if path.is_relative_to(root.absolute()) else str(path)
    return {"id": name, "uri": str(path), "label": label}


def _refusal(row: dict[str, Any], seen: set[str], request: ImportRequest) -> str | None:
    if row["uri"] in seen:
        return "listed twice"
    try:
        row["content_hash"] = request.identify(row["uri"]).hex()
    except (InputError, OSError) as error:
        return str(error)
    return None
