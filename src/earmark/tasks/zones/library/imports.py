"""Collections of DJ software as rows of a label file, told apart by their content.

=================  ==============================================  ============================================
kind               found by                                        zone of a track
=================  ==============================================  ============================================
``rekordbox-xml``  XML with the root ``DJ_PLAYLISTS``              playlist, grouping, comment, My Tag, colour
``rekordbox-anlz`` the letters ``PMAI`` at the start               none: a beat grid, so path and tempo
``serato``         ``vrsn`` at the start: library or crate; a      colour of its row
                   folder with ``database V2`` in it
``playlist``       ``#EXTM3U``, ``[playlist]``, XSPF, or the       the playlist's name, if that is a zone
                   suffix ``.m3u``, ``.m3u8``
``tags``           a folder, where its tags are asked for          ENERGYZONE, grouping, comment
=================  ==============================================  ============================================

Everything else is a label file of `earmark.tasks.zones.layouts`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from pathlib import Path

from earmark.errors import InputError, UsageError
from earmark.tasks.zones.layouts import LabelFile, LabelRow, parse_labels
from earmark.tasks.zones.library import anlz, playlists, rekordbox_xml, serato
from earmark.tasks.zones.library.markup import parse_xml
from earmark.tasks.zones.library.track_tags import read_track_tags

__all__ = ["KINDS", "collection_of", "read_collection", "read_rows", "read_tagged_folder"]

KINDS = ("serato", "rekordbox-xml", "rekordbox-anlz", "playlist", "tags")
"""What ``--from`` may say; without it the content decides."""

_M3U_SUFFIXES = frozenset({".m3u", ".m3u8"})
_HEAD_BYTES = 4096
_XML = re.compile(
    rf"<(\?xml|!|{rekordbox_xml.ROOT}|playlist)", re.IGNORECASE
)  # a file name may start with `<`


def collection_of(source: Path, kind: str | None = None) -> Path:
    """The library of Serato where a folder such as ``_Serato_`` holds it; any other source itself."""
    is_asked = kind in (None, "serato")
    return (serato.database_in(source) if is_asked and source.is_dir() else None) or source


def read_rows(source: Path, kind: str | None = None) -> LabelFile:
    """Rows of a collection, or of a label file of any layout.

    Parameters
    ----------
    source : Path
        A file, or with the kind ``tags`` a folder.
    kind : str or None
        One of `KINDS`: what the user says that it is.

    Raises
    ------
    UsageError
        It cannot be read, is of another kind than the user says, or holds no row.
    """
    if kind is not None and kind not in KINDS:
        raise UsageError(f"There is no collection of the kind {kind!r}; expected one of {', '.join(KINDS)}.")
    source = collection_of(source, kind)
    if kind == "tags" or (kind is None and source.is_dir()):
        return read_tagged_folder(source)
    data = _bytes_of(source)
    found = _kind_of(data, source)
    if kind is not None and found != kind:
        raise UsageError(
            f"`{source}` is {f'of the kind {found}' if found else 'no known collection'}; expected {kind}. "
            "Leave --from out: the content decides."
        )
    return _READERS[found](data, source) if found else parse_labels(data, str(source))


def read_collection(source: Path) -> LabelFile | None:
    """Rows of a collection; None if a file is none, in which case it may be a label file.

    A folder is read for its tags. Raises as `read_rows`.
    """
    source = collection_of(source)
    if source.is_dir():
        return read_tagged_folder(source)
    data = _bytes_of(source)
    found = _kind_of(data, source)
    return _READERS[found](data, source) if found else None


def read_tagged_folder(folder: Path) -> LabelFile:
    """Tracks of a folder, at any depth, with what their tags say; needs the extra ``dj``.

    Returns
    -------
    LabelFile
        Layout ``tags``; paths are relative to the folder. A track whose tags cannot be read has a problem; one
        without a zone has an empty one where any other has one. Zones that earmark wrote have the label origin
        ``pseudo``.

    Raises
    ------
    UsageError
        It is no folder, or holds no tracks.
    """
    from earmark.audio.decode import AUDIO_SUFFIXES

    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    if not paths:
        raise UsageError(
            f"`{folder}` is no folder with tracks ({', '.join(sorted(AUDIO_SUFFIXES)[:6])} ...). "
            "Expected one, to read their tags. Correct the path."
        )
    return LabelFile(
        "tags", _zones_or_none([_tagged_row(n, path, folder) for n, path in enumerate(paths, 1)])
    )


def _tagged_row(number: int, path: Path, folder: Path) -> LabelRow:
    inside = path.relative_to(folder).as_posix()
    try:
        tags = read_track_tags(path)
    except InputError as error:
        return LabelRow(number, inside, None, {}, str(error))
    origin = {"label_origin": "pseudo"} if tags.zone and tags.is_predicted else {}
    return LabelRow(number, inside, tags.zone or "", tags.values | origin)


def _zones_or_none(rows: list[LabelRow]) -> tuple[LabelRow, ...]:
    """Rows as they are, or all without a zone if none has one: then nobody has labelled them."""
    if any(row.zone for row in rows):
        return tuple(rows)
    return tuple(LabelRow(row.number, row.path, None, row.values, row.problem) for row in rows)


def _bytes_of(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except OSError as error:
        raise UsageError(
            f"`{source}` cannot be read ({error}). Expected a label file or a collection. Check path and rights."
        ) from error


def _kind_of(data: bytes, source: Path) -> str | None:
    head = data[:_HEAD_BYTES]
    if serato.is_database(head):
        return "serato"
    if anlz.is_analysis(head):
        return "rekordbox-anlz"
    start = _start_of_text(head)
    if _XML.match(start):
        return "rekordbox-xml" if f"<{rekordbox_xml.ROOT}" in start else "playlist"
    is_playlist = start.casefold().startswith(("#extm3u", "[playlist]"))
    return "playlist" if is_playlist or source.suffix.lower() in _M3U_SUFFIXES else None


def _start_of_text(head: bytes) -> str:
    """The first characters, to look at; bytes that are no text do not matter here."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, "ignore").lstrip()
    return head.decode("utf-8-sig", "ignore").lstrip()


def _read_xml(data: bytes, source: Path) -> LabelFile:
    root = parse_xml(data, str(source))
    if root.tag == playlists.XSPF_ROOT:
        return _with_rows(playlists.parse_xspf(root, source), source)
    return _with_rows(rekordbox_xml.library_of(root, str(source)), source)


def _read_playlist(data: bytes, source: Path) -> LabelFile:
    start = _start_of_text(data[:_HEAD_BYTES]).casefold()
    if _XML.match(start):
        return _read_xml(data, source)
    parse = playlists.parse_pls if start.startswith("[playlist]") else playlists.parse_m3u
    return _with_rows(parse(data, source), source)


def _with_rows(found: LabelFile, source: Path) -> LabelFile:
    if not found.rows:
        raise UsageError(
            f"`{source}` holds no track. Expected at least one. Export a collection or playlist that has some."
        )
    return found


_READERS: dict[str, Callable[[bytes, Path], LabelFile]] = {
    "serato": lambda data, source: _with_rows(serato.parse_database(data, source), source),
    "rekordbox-xml": _read_xml,
    "rekordbox-anlz": lambda data, source: anlz.parse_analysis(data, str(source)),
    "playlist": _read_playlist,
}
