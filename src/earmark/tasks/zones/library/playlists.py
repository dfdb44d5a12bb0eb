"""Playlists as rows of a label file: M3U, PLS and XSPF.

A playlist whose name is that of a zone, ``PURPLE.m3u8``, labels its tracks; any other, ``UNCERTAIN.m3u8`` included,
only lists them. A playlist that earmark wrote itself holds predictions: its zones have the label origin ``pseudo``.

M3U is UTF-8; a ``.m3u`` that is not is read as Windows-1252, the format's first encoding. A title that reads
``artist - title`` gives both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from earmark.errors import UsageError
from earmark.tasks.zones.labels import parse_zone
from earmark.tasks.zones.layouts import LabelFile, LabelRow
from earmark.tasks.zones.outputs import PLAYLIST_MARK
from earmark.tasks.zones.text import decode_text, lines_of

__all__ = ["XSPF_ROOT", "parse_m3u", "parse_pls", "parse_xspf"]

_XSPF = "{http://xspf.org/ns/0/}"
XSPF_ROOT = f"{_XSPF}playlist"

_Entry = tuple[int, str, dict[str, str]]  # number, location, values

_EXTINF = re.compile(r"#EXTINF:[^,]*,(.*)", re.IGNORECASE)
_PLS_FIELD = re.compile(r"(file|title)(\d+)\s*=(.*)", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def parse_m3u(data: bytes, source: Path) -> LabelFile:
    """Rows of an M3U playlist; ``#`` starts a comment, and ``#EXTINF`` names the next track."""
    try:
        text = _text_of(data, source)
    except UsageError:
        if source.suffix.lower() != ".m3u":
            raise
        text = data.decode("cp1252", "replace")
    return _labelled(_m3u_entries(lines_of(text)), source, text)


def parse_pls(data: bytes, source: Path) -> LabelFile:
    """Rows of a PLS playlist: ``File1=...``, ``Title1=...``, in the order of the file."""
    text = _text_of(data, source)
    titles: dict[str, str] = {}
    files: list[tuple[int, str, str]] = []
    for number, line in enumerate(lines_of(text), start=1):
        if field := _PLS_FIELD.fullmatch(line.strip()):
            kind, index, value = field.groups()
            if kind.lower() == "file":
                files.append((number, index, value.strip()))
            else:
                titles[index] = value.strip()
    entries = ((number, location, _named(titles.get(index, ""))) for number, index, location in files)
    return _labelled(entries, source, text)


def parse_xspf(root: Element, source: Path) -> LabelFile:
    """Rows of an XSPF playlist, from its root element."""
    note = root.findtext(f"{_XSPF}annotation", "")
    return _labelled(_xspf_entries(root), source, note)


def _text_of(data: bytes, source: Path) -> str:
    """Text of a playlist; one of ours may name a file whose name is not UTF-8, and then only that row is unreadable."""
    if PLAYLIST_MARK.encode() in data[:1000]:
        return data.decode("utf-8", "surrogateescape")
    return decode_text(data, str(source))


def _m3u_entries(lines: Iterable[str]) -> Iterator[_Entry]:
    title = ""
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if extended := _EXTINF.match(line):
            title = extended[1].strip()
        elif line and not line.startswith("#"):
            yield number, line, _named(title)
            title = ""


def _xspf_entries(root: Element) -> Iterator[_Entry]:
    for number, track in enumerate(root.iterfind(f"{_XSPF}trackList/{_XSPF}track"), start=1):
        location = track.findtext(f"{_XSPF}location", "").strip()
        texts = {"title": "title", "artist": "creator", "album": "album"}
        values = {
            column: text
            for column, of in texts.items()
            if (text := track.findtext(f"{_XSPF}{of}", "").strip())
        }
        yield number, location if _URL.match(location) else unquote(location), values


def _named(display: str) -> dict[str, str]:
    artist, dash, title = (part.strip() for part in display.partition(" - "))
    if dash:
        return {name: text for name, text in (("artist", artist), ("title", title)) if text}
    return {"title": display} if display else {}


def _labelled(entries: Iterable[_Entry], source: Path, text: str) -> LabelFile:
    zone = parse_zone(source.stem)
    origin = {"label_origin": "pseudo"} if zone and PLAYLIST_MARK in text else {}
    rows = tuple(
        LabelRow(number, path, zone[0] if zone else None, values | origin, "" if path else "no location")
        for number, path, values in entries
    )
    return LabelFile("playlist", rows)
