"""iTunes tags of m4a and mp4 files: mutagen makes room and moves the offsets, the atoms of others stay raw.

An atom of ``ilst`` is an entry. ``©cmt`` is the exception: it may hold several values, and each is an entry, because
ours stands after the user's own.

References
----------
.. [1] ISO/IEC 14496-12 (boxes); QuickTime File Format Specification, "Metadata" (Apple)
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from earmark.errors import InputError, MissingExtraError
from earmark.tasks.zones.tagging.entries import COMMENT_MARK, Entry, Tags, field_of_name

__all__ = ["FORM", "encode_atom", "read_mp4", "rest_mp4", "write_mp4"]

FORM = "mp4"
_COMMENT, _GROUPING, _FREE_FORM = b"\xa9cmt", b"\xa9grp", b"----"
_MEAN = b"com.apple.iTunes"
_NAMES = {"zone": b"ENERGYZONE", "energy": b"ENERGYLEVEL"}
_UTF8 = 1
_FREE_BYTES = 1024
_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"udta", b"meta", b"moof", b"traf", b"edts", b"dinf")
_MOVED = (b"free", b"skip", b"stco", b"co64", b"tfhd", b"ilst")
_BLOCK = 1 << 20

Box = tuple[bytes, int, int]


def read_mp4(path: Path) -> Tags:
    """Read the atoms of an mp4 file."""
    with path.open("rb") as file:
        found = _ilst(file)
        if found is None:
            return Tags("mp4", FORM, ())
        _, start, end = found
        entries = [
            entry for kind, at, stop in _boxes(file, start, end) for entry in _entries(file, kind, at, stop)
        ]
    return Tags("mp4", FORM, tuple(entries))


def write_mp4(source: Path, target: Path, entries: Sequence[Entry]) -> None:
    """Copy an mp4 file with other atoms."""
    try:
        mutagen = import_module("mutagen")
    except ModuleNotFoundError:
        raise MissingExtraError("mutagen", "dj", "Writing tags of m4a and mp4 files") from None
    if b"qt  " in _brand(source):
        raise InputError(f"`{source}` is a QuickTime film; expected an m4a or mp4 file. Convert it first.")
    ilst = _atom(b"ilst", _joined(entries))
    shutil.copyfile(source, target)
    try:
        opened = import_module("mutagen.mp4").MP4(target)
        if opened.tags is None:
            opened.add_tags()
        opened.tags.clear()
        opened.save(target, padding=lambda info: len(ilst) + _FREE_BYTES)
    except mutagen.MutagenError as error:
        raise InputError(f"`{source}` cannot be tagged: {error}. Expected a sound mp4 file.") from error
    _fill(target, ilst)


def rest_mp4(path: Path) -> bytes:
    """Digest of all boxes but the tags, free room and places, and of each track's packets where they lie now."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        for kind, start, end in _leaves(file, 0, size):
            digest.update(kind + (end - start).to_bytes(8, "big"))
            file.seek(start)
            left = end - start
            while left and (block := file.read(min(left, _BLOCK))):
                digest.update(block)
                left -= len(block)
    for packet in _packets(path):
        digest.update(packet)
    return digest.digest()


def encode_atom(field: str, text: str) -> Entry:
    """Make an atom of a field."""
    data = _data(text)
    if field in _NAMES:
        names = _atom(b"mean", bytes(4) + _MEAN) + _atom(b"name", bytes(4) + _NAMES[field])
        return Entry(_atom(_FREE_FORM, names + data), field, text)
    return Entry(_atom(_COMMENT if field == "comment" else _GROUPING, data), field, text)


def _entries(file: BinaryIO, kind: bytes, start: int, end: int) -> Iterator[Entry]:
    file.seek(start)
    content = file.read(end - start)
    raw = _atom(kind, content)
    parts = list(_parts(content))
    if kind == _COMMENT and b"".join(_atom(name, data) for name, data in parts) == content:
        for name, data in parts:
            text = data[8:].decode("utf-8", "replace")
            is_ours = text.rstrip().endswith(COMMENT_MARK)
            one = _atom(kind, _atom(name, data))
            yield Entry(one, "comment", text) if is_ours else Entry(one)
    elif kind == _GROUPING:
        yield Entry(raw, "grouping", _value(parts))
    elif kind == _FREE_FORM:
        names = {
            name: data[4:].decode("utf-8", "replace") for name, data in parts if name in (b"mean", b"name")
        }
        field = field_of_name(names.get(b"name", "")) if names.get(b"mean") == _MEAN.decode() else None
        yield Entry(raw, field, _value(parts)) if field in _NAMES else Entry(raw)
    else:
        yield Entry(raw)


def _value(parts: Sequence[tuple[bytes, bytes]]) -> str:
    return "/".join(data[8:].decode("utf-8", "replace") for name, data in parts if name == b"data")


def _joined(entries: Sequence[Entry]) -> bytes:
    """All atoms, the comments as one where the first of them stands."""
    comments = b"".join(entry.raw[8:] for entry in entries if entry.raw[4:8] == _COMMENT)
    parts: list[bytes] = []
    is_placed = False
    for entry in entries:
        if entry.raw[4:8] != _COMMENT:
            parts.append(entry.raw)
        elif not is_placed:
            parts.append(_atom(_COMMENT, comments))
            is_placed = True
    return b"".join(parts)


def _fill(path: Path, ilst: bytes) -> None:
    """Put `ilst` in the room of the one in the file and the free box that follows it."""
    with path.open("r+b") as file:
        found = _ilst(file)
        assert found is not None
        _, start, end = found
        (free_size,) = _header(file, end, b"free")
        room = end - start + 8 + free_size - len(ilst)
        file.seek(start - 8)
        file.write(ilst + struct.pack(">I4s", room, b"free") + bytes(room - 8))


def _header(file: BinaryIO, at: int, expected: bytes) -> tuple[int]:
    file.seek(at)
    size, kind = struct.unpack(">I4s", file.read(8))
    assert kind == expected, kind
    return (size,)


def _ilst(file: BinaryIO) -> Box | None:
    """The box ``ilst`` where iTunes keeps it: kind, start and end of its content."""
    place: Box | None = (b"", 0, file.seek(0, 2))
    for name in (b"moov", b"udta", b"meta", b"ilst"):
        assert place is not None
        kind, start, end = place
        start += _version_bytes(file, start) if kind == b"meta" else 0
        place = next((box for box in _boxes(file, start, end) if box[0] == name), None)
        if place is None:
            return None
    return place


def _leaves(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Boxes that hold no boxes, without those that tagging moves or changes and the frame it makes for tags."""
    for kind, inner, inner_end in _boxes(file, start, end):
        if kind in _PARENTS:
            yield from _leaves(
                file, inner + (_version_bytes(file, inner) if kind == b"meta" else 0), inner_end
            )
        elif kind not in _MOVED and not _is_tag_handler(file, kind, inner, inner_end):
            yield kind, inner, inner_end


def _version_bytes(file: BinaryIO, start: int) -> int:
    """Bytes before the boxes in ``meta``: four by ISO, none by QuickTime."""
    file.seek(start + 4)
    return 0 if file.read(4) == b"hdlr" else 4


def _is_tag_handler(file: BinaryIO, kind: bytes, start: int, end: int) -> bool:
    file.seek(start)
    return kind == b"hdlr" and b"mdirappl" in file.read(end - start)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    while start + 8 <= end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if length == 1:
            (length,), header = struct.unpack(">Q", file.read(8)), 16
        elif length == 0:
            length = end - start
        if length < header or start + length > end:
            raise InputError(
                f"its box {kind.decode('latin-1')!r} at byte {start} has a wrong length ({length}); expected a sound "
                "mp4 file. Copy it again."
            )
        yield kind, start + header, start + length
        start += length


def _parts(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(content):
        size, name = struct.unpack_from(">I4s", content, at)
        if size < 8:
            return
        yield name, content[at + 8 : at + size]
        at += size


def _packets(path: Path) -> Iterator[bytes]:
    import av

    av.logging.set_level(None)
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            for packet in container.demux():
                if packet.size:
                    yield f"{packet.stream_index} {packet.pts} {packet.dts} ".encode() + bytes(packet)
    except av.FFmpegError as error:
        raise InputError(f"`{path}` cannot be read: {error}. Expected a sound mp4 file.") from error


def _brand(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)[8:]


def _data(text: str) -> bytes:
    return _atom(b"data", struct.pack(">II", _UTF8, 0) + text.encode())


def _atom(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
