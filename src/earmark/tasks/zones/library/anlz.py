"""Rekordbox analysis files (``ANLZ*.DAT``): the beat grid of a track, and where the track lies.

All numbers are big-endian. The file starts with ``PMAI``, the length of that header and of the file. After it come
tags of four letters, length of the tag's header, and length of the tag. ``PQTZ`` is the beat grid: at byte 20 of the
tag the number of beats, then from the end of its header eight bytes per beat: place in the bar (1 to 4), tempo
times 100, time in milliseconds. ``PPTH`` is the path in UTF-16.

References
----------
J. Elliott, Rekordbox export structure analysis, deepsymmetry.org/djl-analysis
"""

from __future__ import annotations

import statistics
import struct
from collections.abc import Iterator
from pathlib import Path

from earmark.errors import UsageError
from earmark.tasks.zones.layouts import LabelFile, LabelRow

__all__ = ["is_analysis", "parse_analysis", "read_beat_grid"]

_MAGIC = b"PMAI"
_TAG = struct.Struct(">4sII")
_BEAT = struct.Struct(">HHI")
_COUNT_AT = 20
_PATH_LENGTH_AT = 12


def is_analysis(head: bytes) -> bool:
    """Whether a file that starts with these bytes is an analysis file."""
    return head[:4] == _MAGIC


def read_beat_grid(source: str | Path) -> list[dict[str, float | int]]:
    """The beat grid of an analysis file, one row per beat: ``beat`` (1 to 4), ``bpm``, ``time_s``.

    Raises
    ------
    UsageError
        The file cannot be read, is cut off, is no analysis file, or holds no beat grid.
    """
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"`{path}` cannot be read ({error}). Expected an analysis file ANLZ*.DAT. Check path and rights."
        ) from error
    return _beat_grid(data, str(path))


def parse_analysis(data: bytes, name: str) -> LabelFile:
    """The track of an analysis file as one row without a zone: its path, and the median of its tempos.

    Raises
    ------
    UsageError
        As `read_beat_grid`.
    """
    beats = _beat_grid(data, name)
    body = next((tag for letters, _, tag in _tags(data, name) if letters == b"PPTH"), b"")
    length = int.from_bytes(body[_PATH_LENGTH_AT : _PATH_LENGTH_AT + 4], "big")
    text = body[_PATH_LENGTH_AT + 4 : _PATH_LENGTH_AT + 4 + length]
    path = text.decode("utf-16-be", "replace").rstrip("\0")
    tempos = [float(beat["bpm"]) for beat in beats]
    values = {"bpm": f"{statistics.median(tempos):.2f}"} if tempos else {}
    return LabelFile("rekordbox-anlz", (LabelRow(1, path, None, values, "" if path else "no path (PPTH)"),))


def _beat_grid(data: bytes, name: str) -> list[dict[str, float | int]]:
    for letters, header, tag in _tags(data, name):
        if letters == b"PQTZ":
            return list(_beats(tag, header, name))
    raise UsageError(
        f"`{name}` holds no beat grid (tag PQTZ). Expected the .DAT file of an analysed track. "
        "Analyse the track in rekordbox, or name its .DAT file."
    )


def _beats(tag: bytes, header: int, name: str) -> Iterator[dict[str, float | int]]:
    count = int.from_bytes(tag[_COUNT_AT : _COUNT_AT + 4], "big")
    if header < _COUNT_AT + 4 or len(tag) < header + count * _BEAT.size:
        raise _broken(name, f"a beat grid of {count} beats in {len(tag)} bytes")
    for beat, tempo, time_ms in _BEAT.iter_unpack(tag[header : header + count * _BEAT.size]):
        yield {"beat": beat, "bpm": tempo / 100, "time_s": time_ms / 1000}


def _tags(data: bytes, name: str) -> Iterator[tuple[bytes, int, bytes]]:
    """Letters, header length and bytes of each tag."""
    if not is_analysis(data) or len(data) < _TAG.size:
        raise _broken(name, f"{len(data)} bytes that start with {data[:4]!r}")
    at = int.from_bytes(data[4:8], "big")
    while at < len(data):
        if len(data) - at < _TAG.size:
            raise _broken(name, f"{len(data) - at} bytes after the last tag")
        letters, header, length = _TAG.unpack_from(data, at)
        if length < _TAG.size or length > len(data) - at or header > length:
            raise _broken(name, f"a tag {letters!r} of {length} bytes with {len(data) - at} left")
        yield letters, header, data[at : at + length]
        at += length


def _broken(name: str, found: str) -> UsageError:
    return UsageError(
        f"`{name}` is cut off or no analysis file of rekordbox: {found}. Expected whole tags after PMAI. "
        "Copy the file again, or name ANLZ0000.DAT."
    )
