"""Vorbis comments of Ogg files (Vorbis, Opus, FLAC in Ogg): mutagen moves the pages, the entries stay raw.

The comments are the second packet of the audio stream. `rest_ogg` is read by a parser of its own, so that it also
checks what mutagen did.

References
----------
.. [1] RFC 3533 (Ogg), RFC 7845 (Opus), https://xiph.org/flac/ogg_mapping.html
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from earmark.errors import InputError, MissingExtraError
from earmark.tasks.zones.tagging.entries import Entry, Tags
from earmark.tasks.zones.tagging.vorbis_comment import FORM, parse_comments, render_comments

__all__ = ["read_ogg", "rest_ogg", "write_ogg"]

# First bytes of the audio stream: bytes before the comments in their packet, and mutagen's class.
_CODECS = {
    b"\x01vorbis": (7, "oggvorbis", "OggVorbis"),
    b"OpusHead": (8, "oggopus", "OggOpus"),
    b"\x7fFLAC": (4, "oggflac", "OggFLAC"),
}


def read_ogg(path: Path) -> Tags:
    """Read the Vorbis comments of an Ogg file."""
    with path.open("rb") as file:
        _, n_prefix, packet = _comment_packet(file, path)
    return Tags("ogg", FORM, parse_comments(packet[n_prefix:])[1])


def write_ogg(source: Path, target: Path, entries: Sequence[Entry]) -> None:
    """Copy an Ogg file with other Vorbis comments."""
    try:
        mutagen = import_module("mutagen")
    except ModuleNotFoundError:
        raise MissingExtraError("mutagen", "dj", "Writing tags of Ogg files") from None
    with source.open("rb") as file:
        head, n_prefix, packet = _comment_packet(file, source)
    vendor, _ = parse_comments(packet[n_prefix:])
    shutil.copyfile(source, target)
    try:
        opened = _mutagen_class(head)(target)
        block = render_comments(vendor, entries)
        # The text of others is never decoded and encoded again: their bytes go in as they are.
        opened.tags.write = lambda framing=True: block + (b"\x01" if framing else b"")
        opened.save(target, padding=lambda info: min(max(info.padding, 0), 1 << 16))
    except mutagen.MutagenError as error:
        raise InputError(f"`{source}` cannot be tagged: {error}. Expected a sound Ogg file.") from error


def rest_ogg(path: Path) -> bytes:
    """Digest of all packets but the comments, each with its stream and its place in time."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        serial = _audio_stream(file, path)[0]
        seen: dict[int, int] = {}
        file.seek(0)
        for stream, position, packet in _packets(file):
            number = seen[stream] = seen.get(stream, -1) + 1
            if (stream, number) != (serial, 1):
                digest.update(struct.pack("<IqI", stream, position, len(packet)) + packet)
    return digest.digest()


def _mutagen_class(head: bytes) -> Any:
    _, module, name = next(entry for start, entry in _CODECS.items() if head.startswith(start))
    return getattr(import_module(f"mutagen.{module}"), name)


def _comment_packet(file: BinaryIO, path: Path) -> tuple[bytes, int, bytes]:
    """First packet of the audio stream, bytes before the comments, the packet of the comments."""
    serial, head = _audio_stream(file, path)
    file.seek(0)
    own = (packet for stream, _, packet in _packets(file) if stream == serial)
    next(own, None)
    packet = next(own, None)
    if packet is None:
        raise InputError(f"`{path}` ends before its tags; expected a whole Ogg file. Copy it again.")
    n_prefix = next(entry[0] for start, entry in _CODECS.items() if head.startswith(start))
    return head, n_prefix, packet


def _audio_stream(file: BinaryIO, path: Path) -> tuple[int, bytes]:
    """Serial number and first packet of the first stream of a codec that we know."""
    file.seek(0)
    for serial, flags, _, pieces, _ in _pages(file):
        if not flags & 2:  # the first pages of all streams stand before all others
            break
        if pieces and any(pieces[0].startswith(start) for start in _CODECS):
            return serial, pieces[0]
    raise InputError(f"`{path}` holds neither Vorbis nor Opus nor FLAC; expected one of them in an Ogg file.")


def _packets(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Packets in the order in which they end: serial number, granule position of the page, content."""
    begun: dict[int, list[bytes]] = {}
    for serial, _, position, pieces, is_complete in _pages(file):
        for i, piece in enumerate(pieces):
            held = begun.setdefault(serial, [])
            held.append(piece)
            if i < len(pieces) - 1 or is_complete:
                yield serial, position, b"".join(held)
                begun[serial] = []


def _pages(file: BinaryIO) -> Iterator[tuple[int, int, int, list[bytes], bool]]:
    """Pages: serial number, flags, granule position, pieces of packets, whether the last piece ends its packet."""
    while len(head := file.read(27)) == 27 and head[:4] == b"OggS":
        flags, position, serial, n_segments = struct.unpack("<5xBqI8xB", head)
        lacing = file.read(n_segments)
        body = file.read(sum(lacing))
        pieces, start, size = [], 0, 0
        for value in lacing:
            size += value
            if value < 255:
                pieces.append(body[start : start + size])
                start, size = start + size, 0
        is_complete = not size
        if size:
            pieces.append(body[start:])
        yield serial, flags, position, pieces, is_complete
