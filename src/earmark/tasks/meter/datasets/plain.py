"""Plain CSV files and folders: ``file`` (or ``path``) and ``label``, and whatever of the normal form is known.

Known columns beside these: ``style``, ``group``, ``source``, ``downbeats`` (seconds with spaces between), ``split``,
``alt_meter``, ``signature``, ``division``, ``grouping``, ``artist``, ``title``, ``genre``, ``song_id``, ``weight``,
``dataset``, ``tempo_bpm``, ``extra``. A label is a class, a signature or a soft label, ``3:0.7,4:0.8``. Paths are
relative to the file, or to ``audio/`` beside it. A ``source`` that names each row's own origin, such as the score it
was rendered from, is kept as ``origin``: what is compared in reports is then the ``style``. Other columns are left out,
since one that nobody knows may tell the label of a test item. A file of the normal form is one of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.audio.decode import AUDIO_SUFFIXES
from earmark.errors import UsageError
from earmark.tasks.meter.datasets.accounting import MISSING_FILE
from earmark.tasks.meter.datasets.audio_files import without_audio_suffix
from earmark.tasks.meter.datasets.normal_form import MeterRow, read_rows

__all__ = ["read_plain"]

_PATH_COLUMNS = ("file", "path", "filename", "uri")
_LABEL_COLUMNS = ("meters", "label", "primary", "meter")
_TEXT_COLUMNS = (
    *("song_id", "artist", "title", "genre", "style", "alt_meter", "signature", "division", "grouping"),
    *("downbeats", "tempo_bpm", "extra", "group"),
)
_READ_ELSEWHERE = frozenset({"source", "dataset", "split", "part", "weight", "sample_weight"})
_MEASURED = frozenset({"seconds", "duration_s", "content_hash", "label_set", "segment_start_s"})
"""Columns that the importer finds out itself."""


def read_plain(source: Path) -> tuple[list[MeterRow], list[str]]:
    """Rows of a CSV file, of the ``labels.csv`` of a folder, or of the folders of a folder; and what to know of them.

    Raises
    ------
    UsageError
        There is no such file, it has no column of paths or of labels, or the folder holds no audio.
    """
    if source.is_dir() and not (source / "labels.csv").is_file():
        return _of_folder(source), []
    path = source / "labels.csv" if source.is_dir() else source
    if not path.is_file():
        raise UsageError(f"there is no `{path}`; expected a CSV file or a folder of clips. Correct the path.")
    values = read_rows(path)
    names = list(values[0]) if values else []
    key, label = _column(path, names, _PATH_COLUMNS), _column(path, names, _LABEL_COLUMNS)
    own_sources = _names_pieces([row.get("source", "") for row in values])
    rows = [
        _row(path, number, row, row[key], row[label], own_sources)
        for number, row in enumerate(values, start=1)
    ]
    ignored = set(names) - {*_PATH_COLUMNS, *_LABEL_COLUMNS, *_TEXT_COLUMNS, *_READ_ELSEWHERE, *_MEASURED}
    told = [f"columns of `{path.name}` that are left out: {', '.join(sorted(ignored))}"] if ignored else []
    return rows, told


def _column(path: Path, names: Sequence[str], wanted: Sequence[str]) -> str:
    found = next((name for name in wanted if name in names), None)
    if found is None:
        raise UsageError(
            f"`{path}` has the columns {', '.join(names) or 'none'}; expected one of {', '.join(wanted)}. Add it."
        )
    return found


def _names_pieces(sources: Sequence[str]) -> bool:
    """Whether sources are origins of single rows rather than bodies of data."""
    return len(set(sources)) > max(1, len(sources) // 2)


def _row(
    file: Path, number: int, values: Mapping[str, str], name: str, label: str, own_sources: bool
) -> MeterRow:
    texts: dict[str, Any] = {column: values.get(column) or None for column in _TEXT_COLUMNS}
    source = values.get("source") or None
    body = (texts["style"] if own_sources else source) or texts["style"] or file.stem
    row = MeterRow(
        file=str(file),
        number=number,
        name=name,
        dataset=values.get("dataset") or "plain",
        source=body,
        key=without_audio_suffix(name),
        part=values.get("split") or values.get("part") or None,
        origin=source if own_sources else None,
        **texts,
    )
    if texts["group"]:
        row = replace(
            row, group=f"{file.absolute()}:{texts['group']}"
        )  # it means something in its own file only
    weight = _positive(values.get("weight") or values.get("sample_weight") or "1")
    if weight is None:
        return row.rejected("unreadable row", f"the weight {values.get('weight')!r} is no positive number")
    row = replace(row, weight=weight).labelled(label) if label else row.rejected("no label")
    path = None if row.reason else _found(file.absolute().parent, name)
    return row if row.reason else replace(row, path=str(path)) if path else row.rejected(MISSING_FILE, name)


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value > 0 else None


def _found(folder: Path, name: str) -> Path | None:
    candidates = (folder / name, folder / "audio" / name)
    return next((path for path in candidates if name and "\0" not in name and path.is_file()), None)


def _of_folder(folder: Path) -> list[MeterRow]:
    """One row per clip, labelled by the first folder below `folder` that is a class."""
    paths = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix.lower() in AUDIO_SUFFIXES
    ]
    if not paths:
        raise UsageError(
            f"`{folder}` holds neither labels.csv nor clips. Name a label file, or a folder of clips."
        )
    return [_folder_row(folder, number, path) for number, path in enumerate(paths, start=1)]


def _folder_row(folder: Path, number: int, path: Path) -> MeterRow:
    inside = path.relative_to(folder)
    row = MeterRow(
        file=str(folder),
        number=number,
        name=inside.as_posix(),
        dataset="plain",
        source=folder.name,
        key=without_audio_suffix(inside.as_posix()),
        path=str(path.absolute()),
    )
    if len(inside.parts) < 2:
        return row.rejected("no label", "it lies in no folder of a class")
    return row.labelled(inside.parts[0])
