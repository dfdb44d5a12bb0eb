"""ID3v2 tags as a list of raw frames: read, and written again without touching the frames of others.

Versions 2.2, 2.3 and 2.4, each written as the version it was read in; a new tag is 2.3, which all DJ software reads.
The padding stays as long as it was. An extended header is not written again: it holds a checksum of the frames, or
restrictions that the new frames may break. Tags that iTunes wrote as 2.4 with the frame sizes of 2.3 are known by
walking them both ways.

References
----------
.. [1] https://id3.org/id3v2-00, https://id3.org/id3v2.3.0, https://id3.org/id3v2.4.0-structure
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from earmark.errors import InputError
from earmark.tasks.zones.tagging.entries import Entry, field_of_name

__all__ = [
    "HEADER_BYTES",
    "Id3Tag",
    "encode_frame",
    "entries_of",
    "new_tag",
    "parse",
    "render",
    "tag_bytes",
    "with_entries",
]

HEADER_BYTES = 10
_UNSYNCHRONISED, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10
_COMMENT_NAME = "earmark"
_FRAME_ID = {2: re.compile(rb"[A-Z0-9]{3}"), 3: re.compile(rb"[A-Z0-9]{3}[A-Z0-9 \0]")}
_FRAME_ID[4] = _FRAME_ID[3]
_USER, _GROUPING, _APPLE_GROUPING, _COMMENT = range(4)
_IDS = {2: (b"TXX", b"TT1", b"GP1", b"COM"), 3: (b"TXXX", b"TIT1", b"GRP1", b"COMM")}
_IDS[4] = _IDS[3]
_CODECS = {0: ("latin-1", 1), 1: ("utf-16", 2), 2: ("utf-16-be", 2), 3: ("utf-8", 1)}
_USER_NAMES = {"zone": "ENERGYZONE", "energy": "EnergyLevel"}


@dataclass(frozen=True)
class Id3Tag:
    """A tag: version 2, 3 or 4, flags of its header, whether 2.4 sizes are plain, raw frames, what follows them."""

    version: int
    flags: int
    plain_sizes: bool
    frames: tuple[bytes, ...]
    padding: bytes

    @property
    def form(self) -> str:
        """Name of the encoding of frames."""
        return f"id3v2.{self.version}" + ("-plain" if self.plain_sizes else "")


def new_tag() -> Id3Tag:
    """Make a tag without frames."""
    return Id3Tag(3, 0, False, (), b"")


def tag_bytes(head: bytes) -> int:
    """Length of the tag that begins with the ten bytes `head`, 0 if none does."""
    if len(head) < HEADER_BYTES or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    has_footer = head[3] == 4 and head[5] & _FOOTER
    return HEADER_BYTES + _syncsafe(head[6:10]) + (HEADER_BYTES if has_footer else 0)


def parse(data: bytes) -> Id3Tag:
    """Read a tag.

    Parameters
    ----------
    data : bytes
        The whole tag; what follows it is not looked at.

    Raises
    ------
    InputError
        Another version, or frames that do not fill the tag.
    """
    version, flags = (data[3], data[5]) if len(data) >= HEADER_BYTES else (0, 0)
    if version not in _IDS or not tag_bytes(data):
        raise InputError(
            f"its ID3 tag has version 2.{version}; expected 2.2, 2.3 or 2.4. Write it again with a tag editor."
        )
    body = data[HEADER_BYTES : HEADER_BYTES + _syncsafe(data[6:10])]
    if version < 4 and flags & _UNSYNCHRONISED:
        body = _resynchronised(body)
    if version > 2 and flags & _EXTENDED:
        body = body[_extended_bytes(body, version) :]
    kept = flags & ~(_FOOTER | _EXTENDED if version > 2 else 0)
    ways = [_frames(body, version, plain) for plain in ((False, True) if version == 4 else (True,))]
    # Zeros to the end are the rule; some writers leave old bytes behind the first zero.
    for is_end in (lambda rest: not rest.strip(b"\0"), lambda rest: rest[:1] == b"\0"):
        for plain, (frames, n_read) in enumerate(ways):
            if is_end(body[n_read:]):
                return Id3Tag(version, kept, bool(plain), frames, body[n_read:])
    raise InputError(
        f"its ID3 tag is damaged at byte {HEADER_BYTES + ways[0][1]}; expected frames, then zeros. "
        "Write it again with a tag editor."
    )


def render(tag: Id3Tag) -> bytes:
    """Give the bytes of a tag; none for a tag without frames."""
    if not tag.frames:
        return b""
    body = b"".join(tag.frames) + tag.padding
    if tag.version < 4 and tag.flags & _UNSYNCHRONISED:
        body = _unsynchronised(body)
    if len(body) >= 1 << 28:
        raise InputError(
            f"its ID3 tag would have {len(body):,} bytes; an ID3 tag holds fewer than {1 << 28:,}."
        )
    return b"ID3" + bytes((tag.version, 0, tag.flags)) + _to_syncsafe(len(body)) + body


def entries_of(tag: Id3Tag) -> tuple[Entry, ...]:
    """Give the frames as entries."""
    ids = _IDS[tag.version]
    has_apple_grouping = any(_id(frame, tag.version) == ids[_APPLE_GROUPING] for frame in tag.frames)
    grouping = ids[_APPLE_GROUPING if has_apple_grouping else _GROUPING]
    return tuple(_entry(frame, tag, grouping) for frame in tag.frames)


def with_entries(tag: Id3Tag, entries: Sequence[Entry]) -> Id3Tag:
    """Give the tag with other frames."""
    return replace(tag, frames=tuple(entry.raw for entry in entries))


def encode_frame(form: str, field: str, text: str, entries: Sequence[Entry] = ()) -> Entry:
    """Make a frame of a field.

    Parameters
    ----------
    form : str
        Of the tag that will hold it.
    field, text : str
    entries : sequence of Entry
        What the tag holds: iTunes' own frame for a grouping is used where it is there.
    """
    version = int(form[6])
    user, grouping, apple_grouping, comment = _IDS[version]
    encoding = 3 if version == 4 else 0 if text.isascii() else 1
    if field in _USER_NAMES:
        frame_id, payload = user, _text(_USER_NAMES[field], encoding, end=True)
    elif field == "comment":
        frame_id, payload = comment, b"eng" + _text(_COMMENT_NAME, encoding, end=True)
    else:
        has_apple = any(_id(entry.raw, version) == apple_grouping for entry in entries)
        frame_id, payload = (apple_grouping if has_apple else grouping), b""
    payload = bytes((encoding,)) + payload + _text(text, encoding)
    return Entry(_header(frame_id, len(payload), version, form.endswith("plain")) + payload, field, text)


def _entry(frame: bytes, tag: Id3Tag, grouping: bytes) -> Entry:
    frame_id = _id(frame, tag.version)
    user, _, _, comment = _IDS[tag.version]
    if frame_id not in (user, comment, grouping):
        return Entry(frame)
    payload = _payload(frame, tag)
    if frame_id == grouping:
        # A frame that cannot be read is somebody's grouping all the same.
        return Entry(frame, "grouping", _joined(payload[1:], payload[0]) if payload else "")
    if not payload:
        return Entry(frame)
    start = 4 if frame_id == comment else 1
    name, text = _split(payload[start:], payload[0])
    if frame_id == comment:
        return Entry(frame, "comment", text) if name.casefold() == _COMMENT_NAME else Entry(frame)
    field = field_of_name(name)
    return Entry(frame, field, text) if field in _USER_NAMES else Entry(frame)


def _frames(body: bytes, version: int, plain: bool) -> tuple[tuple[bytes, ...], int]:
    """Frames from the start of `body`, and where they end: at padding, at the end, or at what is no frame."""
    head = 6 if version == 2 else 10
    found: list[bytes] = []
    at = 0
    while at + head <= len(body) and _FRAME_ID[version].fullmatch(body, at, at + (3 if version == 2 else 4)):
        coded = body[at + 3 : at + 6] if version == 2 else body[at + 4 : at + 8]
        if not plain and max(coded) > 0x7F:
            break
        end = at + head + (int.from_bytes(coded, "big") if plain else _syncsafe(coded))
        if end > len(body):
            break
        found.append(body[at:end])
        at = end
    return tuple(found), at


def _id(frame: bytes, version: int) -> bytes:
    return frame[: 3 if version == 2 else 4]


def _payload(frame: bytes, tag: Id3Tag) -> bytes:
    """Content of a frame, empty where it is encrypted or cannot be unpacked."""
    if tag.version == 2:
        return frame[6:]
    flags, data = frame[9], frame[10:]
    if tag.version == 3:
        compressed, encrypted, grouped, unsynchronised, has_length = (
            flags & 0x80,
            flags & 0x40,
            flags & 0x20,
            0,
            0,
        )
        has_length = compressed
    else:
        compressed, encrypted, grouped, has_length = flags & 8, flags & 4, flags & 0x40, flags & 1
        unsynchronised = flags & 2 or tag.flags & _UNSYNCHRONISED
    if encrypted:
        return b""
    # 2.3 puts the length before the group, 2.4 after it; neither is needed.
    data = data[(1 if grouped else 0) + (4 if has_length else 0) :]
    data = _resynchronised(data) if unsynchronised else data
    try:
        return zlib.decompress(data) if compressed else data
    except zlib.error:
        return b""


def _header(frame_id: bytes, size: int, version: int, plain: bool) -> bytes:
    if version == 2:
        return frame_id + size.to_bytes(3, "big")
    coded = _to_syncsafe(size) if version == 4 and not plain else size.to_bytes(4, "big")
    return frame_id + coded + b"\0\0"


def _text(text: str, encoding: int, *, end: bool = False) -> bytes:
    name, width = _CODECS[encoding]
    # Little-endian with its mark on every machine.
    data = b"\xff\xfe" + text.encode("utf-16-le") if encoding == 1 else text.encode(name)
    return data + bytes(width) if end else data


def _split(data: bytes, encoding: int) -> tuple[str, str]:
    """The name before the first terminator, and the text after it."""
    width = _CODECS.get(encoding, ("", 1))[1]
    at = next((at for at in range(0, len(data), width) if not data[at : at + width].strip(b"\0")), len(data))
    return _decoded(data[:at], encoding), _joined(data[at + width :], encoding)


def _joined(data: bytes, encoding: int) -> str:
    """Text of a frame; several values, which a terminator separates, joined by a slash as 2.3 does."""
    return "/".join(value for value in _decoded(data, encoding).split("\0") if value)


def _decoded(data: bytes, encoding: int) -> str:
    text = data.decode(_CODECS.get(encoding, ("latin-1", 1))[0], errors="replace")
    return text.replace("\ufeff", "")


def _extended_bytes(body: bytes, version: int) -> int:
    return _syncsafe(body[:4]) if version == 4 else 4 + int.from_bytes(body[:4], "big")


def _syncsafe(coded: bytes) -> int:
    value = 0
    for byte in coded:
        value = value << 7 | byte & 0x7F
    return value


def _to_syncsafe(value: int) -> bytes:
    return bytes(value >> shift & 0x7F for shift in (21, 14, 7, 0))


def _resynchronised(data: bytes) -> bytes:
    return data.replace(b"\xff\x00", b"\xff")


def _unsynchronised(data: bytes) -> bytes:
    safe = re.sub(rb"\xff(?=[\x00\xe0-\xff])", b"\xff\x00", data)
    return safe + b"\0" if safe.endswith(b"\xff") else safe
