"""Serato's library: the file ``database V2`` and crates, as rows of a label file.

Both are a sequence of fields: four letters, a big-endian length of four bytes, and so many bytes. The first letter
tells the kind: ``o`` holds fields again, ``t`` and ``p`` UTF-16 BE text, ``u`` a number of four bytes. A track is an
``otrk`` with ``pfil`` (path from the root of its drive, without a slash in front), ``tsng``, ``tart``, ``talb``,
``tgen``, ``tbpm``, ``tkey``, ``tlen``, ``tbit`` and ``ulbl``, the colour of its row, which stands for a zone. In a
crate an ``otrk`` holds ``ptrk``, a path, alone.

The lengths of a broken or hostile file are checked against what is left before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from earmark.errors import UsageError
from earmark.tasks.zones.layouts import LabelFile, LabelRow
from earmark.tasks.zones.library.keys import camelot_of_tonality

__all__ = ["COLOUR_ZONES", "database_in", "database_rows", "is_database", "parse_database"]

COLOUR_ZONES = {
    "00ffff99": "YELLOW",
    "0099ff99": "GREEN",
    "00ddff99": "GREEN",
    "00bbff99": "GREEN",
    "00ff99ff": "PURPLE",
}
"""Colour of a row -> zone, as the label set was kept."""

_NO_COLOUR = frozenset({"", "00ffffff", "00000000"})
_COLUMNS = {
    "tsng": "title",
    "tart": "artist",
    "talb": "album",
    "tgen": "genre",
    "tbpm": "bpm",
    "tkey": "key",
}
_FOLDER = "_Serato_"
_DATABASE = "database V2"
_HEADER = 8  # letters and length


def is_database(head: bytes) -> bool:
    """Whether a file that starts with these bytes is a library or a crate of Serato."""
    return head[:4] == b"vrsn" and "Serato".encode("utf-16-be") in head[:256]


def database_in(folder: Path) -> Path | None:
    """The library in Serato's folder ``_Serato_``, or None where a folder holds none."""
    path = folder / _DATABASE
    return path if path.is_file() else None


def parse_database(data: bytes, source: Path) -> LabelFile:
    """Rows of a library or crate.

    Parameters
    ----------
    data : bytes
    source : Path
        Where the file lies: paths inside start at the root of that drive.

    Returns
    -------
    LabelFile
        Layout ``serato``. A row with a colour that is no zone bears the colour; one without is empty, or has no
        zone at all where no track of the file has a colour.

    Raises
    ------
    UsageError
        The file is cut off, or a length in it leads beyond its end.
    """
    tracks = database_rows(data, str(source))
    coloured = any(track.get("ulbl", "") not in _NO_COLOUR for track in tracks)
    rows = [_row(number, track, source, coloured) for number, track in enumerate(tracks, start=1)]
    return LabelFile("serato", tuple(rows))


def database_rows(data: bytes, name: str) -> list[dict[str, str]]:
    """Tracks of a library or crate: every text field, and ``ulbl`` as eight hexadecimal digits, by their letters."""
    view = memoryview(data)
    return [dict(_texts(body, name)) for letters, body in _fields(view, name) if letters == b"otrk"]


def _fields(view: memoryview, name: str) -> Iterator[tuple[bytes, memoryview]]:
    at = 0
    while at < len(view):
        left = len(view) - at - _HEADER
        length = int.from_bytes(view[at + 4 : at + _HEADER], "big") if left >= 0 else 0
        if left < 0 or length > left:
            found = f"a field of {length} bytes with {left} left" if left >= 0 else "part of a field's name"
            raise UsageError(
                f"`{name}` is cut off or no library of Serato: {found}, {at} bytes into a block. "
                "Expected whole fields. Copy the file again while Serato is closed."
            )
        yield bytes(view[at : at + 4]), view[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length


def _texts(track: memoryview, name: str) -> Iterator[tuple[str, str]]:
    for letters, body in _fields(track, name):
        key = letters.decode("latin-1")
        if key == "ulbl":
            yield key, bytes(body).hex()
        elif key[0] in "tp":
            yield (
                key,
                bytes(body).decode("utf-16-be", "surrogatepass").rstrip("\0") if len(body) % 2 == 0 else "\0",
            )


def _row(number: int, track: dict[str, str], source: Path, coloured: bool) -> LabelRow:
    path = track.get("pfil") or track.get("ptrk") or ""
    values = {column: track[letters] for letters, column in _COLUMNS.items() if track.get(letters)}
    if key := camelot_of_tonality(values.get("key", "")):
        values["key"] = key
    if not path:
        return LabelRow(number, "", None, values, "no path (pfil)")
    return LabelRow(number, _from_root(path, source), _zone(track.get("ulbl", ""), coloured), values)


def _zone(colour: str, coloured: bool) -> str | None:
    if colour in _NO_COLOUR:
        return "" if coloured else None
    return COLOUR_ZONES.get(colour, f"colour #{colour[2:]}")


def _from_root(path: str, source: Path) -> str:
    """A path from the root of the drive: that of the folder ``_Serato_`` if the file is there, else of the system."""
    if path[1:2] == ":" or path.startswith(("/", "\\")):
        return path
    absolute = source.absolute()
    drive = next((parent.parent for parent in absolute.parents if parent.name == _FOLDER), None)
    if drive is not None and "\0" not in path and (drive / path).exists():
        return str(drive / path)
    return f"{absolute.anchor or '/'}{path}"
