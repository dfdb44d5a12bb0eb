"""Label files of five layouts, told apart by their content, as rows of text.

========== ====================================================================================================
A simple   tab separated without header: path, zone; ``#`` starts a comment; a bare path is an unlabelled track
B table    tab separated with a header that names a path and a zone
C list     tab separated with a header that has ``My Tag``, which is the zone
D list 2   tab separated with a header that starts with ``#`` and ends with ``Zone``
E          CSV (comma or semicolon) with a header, or without one as ``path,zone``, ``path,bpm,zone`` or
           ``path,bpm,genre,zone``; or JSON ``{"labels": {path: {"zone": ...}}}``
========== ====================================================================================================

A row is every line that is not blank, a header, or a comment; in JSON, every entry. No row is ever dropped
here: one that cannot be read comes with a `problem`. The header test runs before the comment test, since the
header of C and D starts with ``#``. Headers and their synonyms are compared in any case.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earmark.errors import UsageError
from earmark.tasks.zones.labels import parse_zone
from earmark.tasks.zones.text import decode_text, lines_of, normalised, unquoted

__all__ = ["COLUMN_SYNONYMS", "UNREADABLE", "LabelFile", "LabelRow", "parse_labels", "read_labels"]

COLUMN_SYNONYMS: dict[str, tuple[str, ...]] = {
    "path": ("location", "path", "путь", "file", "filename", "file name", "track"),
    "zone": ("zone", "my tag", "зона"),
    "bpm": ("bpm", "tempo", "темп"),
    "key": ("key", "tonality", "тональность"),
    "artist": ("artist", "исполнитель"),
    "title": ("track title", "title", "name", "название"),
    "album": ("album", "альбом"),
    "album_artist": ("album artist", "album_artist"),
    "genre": ("genre", "жанр"),
    "source": ("source",),
    "sample_weight": ("sample_weight",),
    "label_origin": ("label_origin",),
    "content_hash": ("content_hash",),
    "group": ("group",),
}
"""Column of a row -> headers that mean it; the first present one wins.

Other headers are left out: a column that is not known cannot leak into training."""

UNREADABLE = "unreadable row"

_JSON_START = re.compile(r'\s*(\{\s*["}]|\[\s*["{\]\d])')  # file names, too, may start with a bracket


@dataclass(frozen=True)
class LabelRow:
    """One row: its number in the file (line, or entry in JSON), path, zone and other columns as text.

    `zone` is None for an unlabelled track, and empty for a zone that was left out. `problem` says why the row
    cannot be read, or is empty.
    """

    number: int
    path: str
    zone: str | None
    values: dict[str, str] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class LabelFile:
    """A label file as rows. `layout` is one letter, A to E, or what kind of collection it is."""

    layout: str
    rows: tuple[LabelRow, ...]


def parse_labels(data: bytes, name: str) -> LabelFile:
    """Read a label file of any layout and encoding.

    Parameters
    ----------
    data : bytes
    name : str
        What to call the file in errors.

    Raises
    ------
    UsageError
        Not text, no layout fits, or there is no row.
    """
    text = decode_text(data, name)
    found = _from_json(text, name) if _JSON_START.match(text) else _from_lines(text, name)
    if not found.rows:
        raise UsageError(
            f"`{name}` holds no row. Expected lines of path and zone, a table with a header, or JSON. "
            "Give the label file, or the folder that holds the tracks."
        )
    return found


def read_labels(source: Path) -> LabelFile:
    """Read a label file from disk; see `parse_labels`."""
    try:
        data = source.read_bytes()
    except OSError as error:
        raise UsageError(
            f"`{source}` cannot be read ({error}). Expected a label file. Check path and rights."
        ) from error
    return parse_labels(data, str(source))


def _from_lines(text: str, name: str) -> LabelFile:
    lines = [(number, line) for number, line in enumerate(lines_of(text), start=1) if line.strip()]
    for position, (_, line) in enumerate(lines):
        header = _header(line)
        if header:
            return _table(header, lines, position, text)
        if not line.lstrip().startswith("#"):
            break
    plain = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    _refuse_headerless(plain, name)
    if not any("\t" in line for _, line in plain) and any(_bare_csv(line) for _, line in plain):
        return LabelFile("E", tuple(_row_of_bare_csv(number, line) for number, line in plain))
    return LabelFile("A", tuple(_row_of_pair(number, line) for number, line in plain))


@dataclass(frozen=True)
class _Header:
    delimiter: str
    names: tuple[str, ...]
    columns: dict[str, int]  # column -> position

    @property
    def layout(self) -> str:
        if self.delimiter != "\t":
            return "E"
        if "my tag" in self.names:
            return "C"
        return "D" if self.names[0] == "#" and self.names[-1] == "zone" else "B"


def _header(line: str) -> _Header | None:
    """The header that a line is: it names a path and, unless that is all, one further column."""
    for delimiter in ("\t", ",", ";"):
        names = tuple(normalised(part) for part in _fields(line, delimiter))
        columns = {
            column: names.index(synonym)
            for column, synonyms in reversed(COLUMN_SYNONYMS.items())
            for synonym in [next((s for s in synonyms if s in names), "")]
            if synonym
        }
        if "path" in columns and (len(names) == 1 or len(columns) > 1):
            return _Header(delimiter, names, columns)
    return None


def _table(header: _Header, lines: Sequence[tuple[int, str]], position: int, text: str) -> LabelFile:
    if header.delimiter == "\t":
        records: Iterator[tuple[int, list[str]]] = (
            (number, _fields(line, "\t")) for number, line in lines[position + 1 :]
        )
    else:
        records = _csv_records(text, header.delimiter, after=lines[position][0])
    return LabelFile(
        header.layout, tuple(_row_of_table(number, fields, header) for number, fields in records)
    )


def _csv_records(text: str, delimiter: str, after: int) -> Iterator[tuple[int, list[str]]]:
    """Records of CSV text below line `after`, and where each starts; quoted fields may hold line ends."""
    lines = lines_of(text)[after:]
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
    start = after + 1
    for fields in _lenient(reader):
        if any(part.strip() for part in fields):
            yield start, [part.strip() for part in fields]
        start = after + reader.line_num + 1


def _lenient(reader: Any) -> Iterator[list[str]]:
    """Records of a CSV reader; one that it refuses, such as a field of over 128 kB, without a path."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield ["", "\0"]


def _row_of_table(number: int, fields: list[str], header: _Header) -> LabelRow:
    values = {
        column: fields[at] for column, at in header.columns.items() if at < len(fields) and fields[at].strip()
    }
    path = values.pop("path", "")
    zone = values.pop("zone", "") if "zone" in header.columns else None
    problem = ""
    if not path:
        problem = f"no path in {len(fields)} fields, the header has {len(header.names)}"
    elif len(fields) > len(header.names) and any(part.strip() for part in fields[len(header.names) :]):
        problem = f"{len(fields)} fields, the header has {len(header.names)}"
    return LabelRow(number, path, zone, values, problem)


def _row_of_pair(number: int, line: str) -> LabelRow:
    fields = _fields(line, "\t")
    while len(fields) > 2 and not fields[-1]:
        fields.pop()
    problem = "" if len(fields) <= 2 and fields[0] else f"{len(fields)} fields, expected path and zone"
    return LabelRow(number, fields[0], fields[1] if len(fields) > 1 else None, {}, problem)


_BARE_COLUMNS = {2: ("path", "zone"), 3: ("path", "bpm", "zone"), 4: ("path", "bpm", "genre", "zone")}


def _bare_csv(line: str) -> bool:
    fields = _fields(line, ",")
    return len(fields) in _BARE_COLUMNS and parse_zone(fields[-1]) is not None


def _row_of_bare_csv(number: int, line: str) -> LabelRow:
    fields = _fields(line, ",")
    if len(fields) == 1:
        return LabelRow(number, fields[0], None)
    names = _BARE_COLUMNS.get(len(fields))
    if names is None or not fields[0]:
        return LabelRow(number, fields[0], "", {}, f"{len(fields)} fields, expected 2 to 4 with a path first")
    values = dict(zip(names, fields, strict=True))
    return LabelRow(number, values.pop("path"), values.pop("zone"), values)


def _fields(line: str, delimiter: str) -> list[str]:
    """Fields of one line. Tabs always split: exports do not quote, and a title may hold one quote mark."""
    if delimiter == "\t":
        return [unquoted(part) for part in line.split("\t")]
    try:
        return [part.strip() for part in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return [""]


def _refuse_headerless(lines: Sequence[tuple[int, str]], name: str) -> None:
    """A table whose header names no path is a mistake to point out, not hundreds of missing files."""
    line = lines[0][1] if lines else ""
    first = max(([normalised(part) for part in _fields(line, mark)] for mark in "\t,;"), key=len)
    known = {synonym for synonyms in COLUMN_SYNONYMS.values() for synonym in synonyms}
    if len(first) > 1 and sum(part in known for part in first) > 1:
        raise UsageError(
            f"`{name}` has the columns {', '.join(first)}; none of them names the file. "
            f"Expected one of {', '.join(COLUMN_SYNONYMS['path'])}. Export the list with its location column."
        )


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as pairs, so that a key that occurs twice is seen twice."""


def _from_json(text: str, name: str) -> LabelFile:
    try:
        document = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"`{name}` starts like JSON, but is not: {error}. Expected an object. Correct it, or give a table."
        ) from error
    labels = dict(document).get("labels") if _is_object(document) else None
    if not isinstance(labels, _Pairs):
        raise UsageError(
            f"`{name}` is JSON without an object `labels`. "
            'Expected {"labels": {path: {"zone": ...}}}. Correct it, or give a table.'
        )
    return LabelFile("E", tuple(_row_of_json(i, path, of) for i, (path, of) in enumerate(labels, start=1)))


def _is_object(value: Any) -> bool:
    return isinstance(value, _Pairs)


def _row_of_json(number: int, path: str, value: Any) -> LabelRow:
    if not path.strip():
        return LabelRow(number, path, "", {}, "no path")
    if isinstance(value, str) or value is None:
        return LabelRow(number, path, value)
    if not _is_object(value):
        return LabelRow(number, path, "", {}, f"expected an object with `zone`, found {type(value).__name__}")
    given = {key: _text(of) for key, of in value}
    values = {
        column: text
        for column, synonyms in COLUMN_SYNONYMS.items()
        for text in [next((of for key, of in given.items() if normalised(key) in synonyms), None)]
        if text is not None
    }
    values.pop("path", None)
    zone = values.pop("zone", None)
    return LabelRow(number, path, zone, {column: text for column, text in values.items() if text})


def _text(value: Any) -> str:
    text = "" if value is None or isinstance(value, (list, bool)) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8")
