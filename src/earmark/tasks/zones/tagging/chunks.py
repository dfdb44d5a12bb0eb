"""Files that hold their tag as one piece, moved without a library: mp3, wav, aiff (ID3) and flac (Vorbis comments).

Each writer copies a file to another place with a new tag and every other byte as it was; `rest_*` gives a digest of
these other bytes.

References
----------
.. [1] RIFF/WAVE (IBM & Microsoft 1991), EBU Tech 3306 (RF64); Audio Interchange File Format (Apple 1989);
   RFC 9639 (FLAC)
"""

from __future__ import annotations

import hashlib
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from earmark.audio.containers import sniff
from earmark.errors import InputError
from earmark.tasks.zones.tagging import id3
from earmark.tasks.zones.tagging.entries import Entry, Tags
from earmark.tasks.zones.tagging.vorbis_comment import FORM, VENDOR, parse_comments, render_comments

__all__ = [
    "leading_tag_bytes",
    "read_chunks",
    "read_flac",
    "read_mp3",
    "rest_chunks",
    "rest_flac",
    "rest_mp3",
    "write_chunks",
    "write_flac",
    "write_mp3",
]

_BLOCK = 1 << 20
_COMMENT_BLOCK = 4
_ID3_NAMES = (b"id3 ", b"ID3 ")
_UNKNOWN_SIZE = 0xFFFFFFFF
_JUNK_BYTES = 4096  # zeros that some writers leave between the tag and the first frame


def leading_tag_bytes(file: BinaryIO) -> int:
    """Length of the ID3 tag at the start of a file, 0 without one."""
    file.seek(0)
    return id3.tag_bytes(file.read(id3.HEADER_BYTES))


# mp3: the tag, then everything else


def read_mp3(path: Path) -> Tags:
    """Read the tag at the start of an mp3 file."""
    with path.open("rb") as file:
        tag = _mp3_tag(file, path)
    return Tags("mp3", tag.form, id3.entries_of(tag))


def write_mp3(source: Path, target: Path, entries: Sequence[Entry]) -> None:
    """Copy an mp3 file with other frames in its tag; without any it gets no tag."""
    with source.open("rb") as file, target.open("wb") as copy:
        tag = id3.with_entries(_mp3_tag(file, source), entries)
        copy.write(id3.render(tag))
        file.seek(leading_tag_bytes(file))
        shutil.copyfileobj(file, copy, _BLOCK)


def rest_mp3(path: Path) -> bytes:
    """Digest of all that follows the tag: the audio, and tags of other kinds at the end."""
    with path.open("rb") as file:
        file.seek(leading_tag_bytes(file))
        return hashlib.file_digest(file, _digest).digest()


def _mp3_tag(file: BinaryIO, path: Path) -> id3.Id3Tag:
    size = leading_tag_bytes(file)
    file.seek(0)
    data = file.read(size)
    head = file.read(_JUNK_BYTES).lstrip(b"\0")
    if len(data) < size or sniff(head) != "mp3" or head.startswith(b"ID3"):
        raise InputError(
            f"`{path}` holds no mp3 stream after its tag; expected an mp3 file. Tag it by another program."
        )
    return id3.parse(data) if size else id3.new_tag()


# wav and aiff: a list of chunks, one of which is the tag


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class _ChunkFile:
    """Chunks of a file; `size` of it in bytes; byte order; the tag's chunk if there is one."""

    chunks: tuple[_Chunk, ...]
    size: int
    order: str
    tag: _Chunk | None


def read_chunks(path: Path) -> Tags:
    """Read the ID3 chunk of a wav or aiff file."""
    with path.open("rb") as file:
        layout = _layout(file, path)
        tag = _chunk_tag(file, layout)
    return Tags("wav" if layout.order == "<" else "aiff", tag.form, id3.entries_of(tag))


def write_chunks(source: Path, target: Path, entries: Sequence[Entry]) -> None:
    """Copy a wav or aiff file with other frames in its ID3 chunk, which comes last if it is new."""
    with source.open("rb") as file, target.open("wb") as copy:
        layout = _layout(file, source)
        data = id3.render(id3.with_entries(_chunk_tag(file, layout), entries))
        file.seek(0)
        copy.write(file.read(12))
        for chunk in layout.chunks:
            if chunk != layout.tag:
                _copy_chunk(file, copy, chunk, layout.order)
            elif data:
                _write_chunk(copy, chunk.name, data, layout.order)
        if layout.tag is None and data:
            _write_chunk(copy, b"id3 " if layout.order == "<" else b"ID3 ", data, layout.order)
        _write_total(copy, layout, copy.tell() - 8)


def rest_chunks(path: Path) -> bytes:
    """Digest of the names and contents of all chunks but the tag."""
    digest = _digest()
    with path.open("rb") as file:
        layout = _layout(file, path)
        for chunk in layout.chunks:
            if chunk != layout.tag and chunk.name != b"ds64":
                digest.update(chunk.name + chunk.size.to_bytes(8, "big"))
                file.seek(chunk.start)
                for block in _blocks(file, chunk.size):
                    digest.update(block)
    return digest.digest()


def _layout(file: BinaryIO, path: Path) -> _ChunkFile:
    size = file.seek(0, 2)
    file.seek(0)
    order = ">" if file.read(4) == b"FORM" else "<"
    chunks: list[_Chunk] = []
    at, wide_size = 12, None
    while at + 8 <= size:
        file.seek(at)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if name == b"ds64":
            wide_size = struct.unpack("<8xQ", file.read(16))[0]
        if name == b"data" and length == _UNKNOWN_SIZE and wide_size is not None:
            length = wide_size
        if at + 8 + length > size:
            raise InputError(
                f"`{path}`: the chunk {name.decode('latin-1')!r} ends behind the end of the file; expected a "
                "length that is true. Write the file again with an audio editor."
            )
        chunks.append(_Chunk(name, at + 8, length))
        at += 8 + length + (length & 1)
    if at < size:
        raise InputError(
            f"`{path}` has {size - at} bytes behind its last chunk; expected none. Write it again with an audio editor."
        )
    return _ChunkFile(tuple(chunks), size, order, next((c for c in chunks if c.name in _ID3_NAMES), None))


def _chunk_tag(file: BinaryIO, layout: _ChunkFile) -> id3.Id3Tag:
    if layout.tag is None:
        return id3.new_tag()
    file.seek(layout.tag.start)
    return id3.parse(file.read(layout.tag.size))


def _copy_chunk(file: BinaryIO, copy: BinaryIO, chunk: _Chunk, order: str) -> None:
    file.seek(chunk.start - 8)
    copy.write(file.read(8))
    for block in _blocks(file, chunk.size):
        copy.write(block)
    if chunk.size & 1:
        # The last chunk of some files lacks it.
        copy.write(file.read(1) or b"\0")


def _write_chunk(copy: BinaryIO, name: bytes, data: bytes, order: str) -> None:
    copy.write(struct.pack(f"{order}4sI", name, len(data)) + data + bytes(len(data) & 1))


def _write_total(copy: BinaryIO, layout: _ChunkFile, total: int) -> None:
    """Correct the length of the whole at the start, which RF64 keeps in the chunk ``ds64``."""
    wide = next((chunk for chunk in layout.chunks if chunk.name == b"ds64"), None)
    if wide is not None:
        copy.seek(wide.start)
        copy.write(struct.pack("<Q", total))
    elif total >= _UNKNOWN_SIZE:
        raise InputError("with its tag the file would exceed 4 GiB, more than a wav or aiff file can state.")
    else:
        copy.seek(4)
        copy.write(struct.pack(f"{layout.order}I", total))


# flac: a list of metadata blocks, then the frames


def read_flac(path: Path) -> Tags:
    """Read the Vorbis comments of a FLAC file."""
    with path.open("rb") as file:
        _, blocks, _ = _flac_blocks(file, path)
    comments = next((data for kind, data in blocks if kind == _COMMENT_BLOCK), None)
    return Tags("flac", FORM, parse_comments(comments)[1] if comments is not None else ())


def write_flac(source: Path, target: Path, entries: Sequence[Entry]) -> None:
    """Copy a FLAC file with other Vorbis comments; a block that earmark made goes when its last entry does."""
    with source.open("rb") as file, target.open("wb") as copy:
        start, blocks, end = _flac_blocks(file, source)
        at = next((i for i, (kind, _) in enumerate(blocks) if kind == _COMMENT_BLOCK), None)
        vendor = VENDOR if at is None else parse_comments(blocks[at][1])[0]
        if at is not None:
            del blocks[at]
        if entries or vendor != VENDOR:
            # Behind the stream's own description, which must be first.
            blocks.insert(1 if at is None else at, (_COMMENT_BLOCK, render_comments(vendor, entries)))
        file.seek(0)
        copy.write(file.read(start + 4))
        _write_blocks(copy, blocks)
        file.seek(end)
        shutil.copyfileobj(file, copy, _BLOCK)


def rest_flac(path: Path) -> bytes:
    """Digest of all blocks but the comments, and of the frames."""
    digest = _digest()
    with path.open("rb") as file:
        start, blocks, end = _flac_blocks(file, path)
        file.seek(0)
        digest.update(file.read(start))
        for kind, data in blocks:
            if kind != _COMMENT_BLOCK:
                digest.update(bytes((kind,)) + len(data).to_bytes(4, "big") + data)
        file.seek(end)
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.digest()


def _flac_blocks(file: BinaryIO, path: Path) -> tuple[int, list[tuple[int, bytes]], int]:
    """Where ``fLaC`` stands, the metadata blocks as kind and content, and where the frames begin."""
    start = leading_tag_bytes(file)
    file.seek(start + 4)
    blocks: list[tuple[int, bytes]] = []
    is_last = False
    while not is_last:
        head = file.read(4)
        data = file.read(int.from_bytes(head[1:], "big"))
        if len(head) < 4 or len(data) < int.from_bytes(head[1:], "big"):
            raise InputError(f"`{path}` ends inside its metadata; expected a whole FLAC file. Copy it again.")
        is_last = bool(head[0] & 0x80)
        blocks.append((head[0] & 0x7F, data))
    return start, blocks, file.tell()


def _write_blocks(copy: BinaryIO, blocks: Sequence[tuple[int, bytes]]) -> None:
    for i, (kind, data) in enumerate(blocks):
        if len(data) >= 1 << 24:
            raise InputError(
                f"its tags would have {len(data):,} bytes; a FLAC block holds fewer than {1 << 24:,}."
            )
        last = 0x80 if i == len(blocks) - 1 else 0
        copy.write(bytes((kind | last,)) + len(data).to_bytes(3, "big") + data)


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise InputError("the file became shorter while it was read. Try again when it is at rest.")
        size -= len(block)
        yield block


def _digest() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
