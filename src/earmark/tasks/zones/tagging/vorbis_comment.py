"""The block of Vorbis comments in FLAC and Ogg files, as a list of raw entries.

References
----------
.. [1] https://www.xiph.org/vorbis/doc/v-comment.html, RFC 9639 section 8.6, RFC 7845 section 5.2
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from earmark.errors import InputError
from earmark.tasks.zones.tagging.entries import COMMENT_MARK, Entry, field_of_name

__all__ = ["FORM", "VENDOR", "encode_comment", "parse_comments", "render_comments"]

FORM = "vorbis"
VENDOR = b"earmark"
"""Stands in blocks that earmark made, where a file had none."""

_KEYS = {"zone": "ENERGYZONE", "grouping": "GROUPING", "energy": "ENERGYLEVEL", "comment": "COMMENT"}


def parse_comments(data: bytes) -> tuple[bytes, tuple[Entry, ...]]:
    """Read a block: the vendor, and the entries without their lengths. What follows the last is padding.

    Raises
    ------
    InputError
        An entry ends behind the end of the block.
    """
    vendor, at = _sized(data, 0)
    (count,) = struct.unpack_from("<I", data, at) if len(data) >= at + 4 else (0,)
    at += 4
    entries = []
    for _ in range(count):
        raw, at = _sized(data, at)
        entries.append(_entry(raw))
    return vendor, tuple(entries)


def render_comments(vendor: bytes, entries: Sequence[Entry]) -> bytes:
    """Give the bytes of a block, without a framing bit."""
    parts = [struct.pack("<I", len(vendor)), vendor, struct.pack("<I", len(entries))]
    for entry in entries:
        parts += [struct.pack("<I", len(entry.raw)), entry.raw]
    return b"".join(parts)


def encode_comment(field: str, text: str) -> Entry:
    """Make an entry of a field."""
    return Entry(f"{_KEYS[field]}={text}".encode(), field, text)


def _entry(raw: bytes) -> Entry:
    key, _, value = raw.partition(b"=")
    name, text = key.decode("ascii", "replace"), value.decode("utf-8", "replace")
    if name.casefold() == "comment" and text.rstrip().endswith(COMMENT_MARK):
        return Entry(raw, "comment", text)
    field = field_of_name(name)
    return Entry(raw, field, text) if field else Entry(raw)


def _sized(data: bytes, at: int) -> tuple[bytes, int]:
    if at + 4 <= len(data):
        (size,) = struct.unpack_from("<I", data, at)
        if at + 4 + size <= len(data):
            return data[at + 4 : at + 4 + size], at + 4 + size
    raise InputError(
        f"its Vorbis comments are damaged at byte {at}: an entry ends behind the end of the block. "
        "Write them again with a tag editor."
    )
