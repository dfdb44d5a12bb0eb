"""An append-only journal: what has happened, on the disk before anything is made of it.

A journal is a folder of segments ``journal-<n>.wal`` and a lock. A segment is a magic word and records; a record is

======== ======================= =================================================
bytes    field                   meaning
======== ======================= =================================================
4        length                  of the payload
8        checksum                XXH3-64 of the fields below and the payload
1        kind                    what the payload is; the writer's business
8        received_ns             this machine's clock, nanoseconds since 1970
length   payload
======== ======================= =================================================

all little-endian. `Journal.append` buffers, `Journal.commit` writes and syncs what is buffered (group commit): a crash
loses what was appended since the last commit and nothing else. The last record of the last segment may then be torn;
a reader drops and counts it, and the next writer cuts it off. A record that is wrong before the end is no crash but
damage, and is reported with its place.

One process writes: it holds the lock (`earmark.store.lock`).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import xxhash

from earmark.errors import EarmarkError, InputError, UsageError
from earmark.store.atomic import sync_folder
from earmark.store.lock import acquire

__all__ = [
    "Journal",
    "JournalError",
    "Record",
    "SegmentScan",
    "frame",
    "read_journal",
    "scan_segment",
    "segment_paths",
]

MAGIC = b"EARMARK-WAL-1\n"
SEGMENT_BYTES = 64 << 20
"""A segment that has grown to so many bytes is followed by another."""

_HEAD = struct.Struct("<IQBq")
_SIGNED = struct.Struct("<Bq")
_LARGEST = 64 << 20  # payload; a larger length is damage, and is not worth reserving memory for


class JournalError(EarmarkError):
    """The journal cannot be written: the disk is full or refuses. What was committed before stands."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `segment` and `offset` tell where it lies."""

    kind: int
    received_ns: int
    payload: bytes
    segment: int
    offset: int


class Journal:
    """The one writer of a journal folder.

    Parameters
    ----------
    folder : path
        Made if absent.
    segment_bytes : int
        A commit that finds the segment this large begins another.

    Raises
    ------
    UsageError
        Another process writes this journal.
    InputError
        The newest segment is damaged before its end.
    JournalError
        Also by `append`, `commit` and `rotate`: the disk is full or refuses.
    """

    def __init__(self, folder: str | Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = Path(folder)
        self.segment_bytes = segment_bytes
        self._lock = acquire(
            self.folder / "lock",
            lambda holder: UsageError(
                f"`{self.folder}` is being written by process {holder}. Expected one writer per folder. Stop that "
                "process, or use another project folder."
            ),
        )
        self._buffer = bytearray()
        self._broken: OSError | None = None
        self.torn_bytes = self._cut_torn_tail()
        paths = segment_paths(self.folder)
        self._file = -1
        self._size = 0
        try:
            self._open(_number(paths[-1]) + 1 if paths else 1)
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def segment(self) -> int:
        """Number of the segment to which the next commit writes."""
        return self._number

    @property
    def pending_bytes(self) -> int:
        """Bytes appended since the last commit."""
        return len(self._buffer)

    def append(self, kind: int, received_ns: int, payload: bytes) -> None:
        """Buffer a record; it is safe after the next `commit`."""
        if self._broken is not None:
            raise _refused(self.folder, self._broken)
        self._buffer += frame(kind, received_ns, payload)

    def append_frames(self, frames: bytes | bytearray) -> None:
        """Buffer records that `frame` has made."""
        if self._broken is not None:
            raise _refused(self.folder, self._broken)
        self._buffer += frames

    def commit(self) -> None:
        """Write and sync what is buffered; on return it survives a crash."""
        if self._broken is not None:
            raise _refused(self.folder, self._broken)
        if not self._buffer:
            return
        try:
            _write_all(self._file, self._buffer)
            os.fdatasync(self._file)
        except OSError as error:
            self._give_up(error)
        self._size += len(self._buffer)
        self._buffer.clear()
        if self._size >= self.segment_bytes:
            self.rotate()

    def rotate(self) -> int:
        """Commit, begin another segment, and return its number: `cut(number)` drops all before it."""
        self.commit()
        try:
            os.close(self._file)
            self._open(self._number + 1)
        except OSError as error:
            self._file = -1
            self._give_up(error)
        return self._number

    def cut(self, before: int) -> int:
        """Delete the segments with a number less than `before`, never the open one; return how many."""
        old = [path for path in segment_paths(self.folder) if _number(path) < min(before, self._number)]
        for path in old:
            path.unlink()
        if old:
            sync_folder(self.folder)
        return len(old)

    def close(self) -> None:
        """Commit and give the lock back; without a commit where the disk has refused before."""
        if self._lock < 0:
            return
        try:
            if self._broken is None:
                self.commit()
        finally:
            if self._file >= 0:
                os.close(self._file)
            os.close(self._lock)
            self._file = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, number: int) -> None:
        path = self.folder / f"journal-{number}.wal"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            _write_all(self._file, MAGIC)
            os.fsync(self._file)
            sync_folder(self.folder)
        except OSError as error:
            os.close(self._file)
            self._file = -1
            with suppress(OSError):
                path.unlink()
            raise _refused(self.folder, error) from error
        self._number, self._size = number, len(MAGIC)

    def _give_up(self, error: OSError) -> None:
        """Cut a half-written record off, and take no more: the end of the file is no longer known to be whole."""
        self._broken = error
        if self._file >= 0:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
        raise _refused(self.folder, error) from error

    def _cut_torn_tail(self) -> int:
        """Make every segment end with a whole record; the number of bytes that were dropped."""
        paths = segment_paths(self.folder)
        if not paths:
            return 0
        try:
            scan = scan_segment(paths[-1], is_last=True)
            for _ in scan:
                pass
        except BaseException:
            os.close(self._lock)
            raise
        if scan.end == 0:  # killed before the magic word was on the disk
            paths[-1].unlink()
        elif scan.torn_bytes:
            with paths[-1].open("r+b") as file:
                file.truncate(scan.end)
                os.fsync(file.fileno())
        return scan.torn_bytes


def frame(kind: int, received_ns: int, payload: bytes) -> bytes:
    """The bytes of one record."""
    signed = _SIGNED.pack(kind, received_ns)
    checksum = xxhash.xxh3_64_intdigest(signed + payload)
    return _HEAD.pack(len(payload), checksum, kind, received_ns) + payload


class SegmentScan:
    """Iterate over the records of a segment; afterwards `end` and `torn_bytes` tell how it ended.

    Attributes
    ----------
    end : int
        Position behind the last whole record.
    torn_bytes : int
        Bytes behind it that a crash left.
    """

    def __init__(self, path: Path, *, is_last: bool) -> None:
        self.path = path
        self.is_last = is_last
        self.end = 0
        self.torn_bytes = 0

    def __iter__(self) -> Iterator[Record]:
        data = self.path.read_bytes()
        number = _number(self.path)
        if data[: len(MAGIC)] != MAGIC:
            self._stop(data, 0, "begins with another word")
            return
        self.end = len(MAGIC)
        while self.end < len(data):
            found = _record_at(data, self.end, number)
            if isinstance(found, str):
                self._stop(data, self.end, found)
                return
            self.end += _HEAD.size + len(found.payload)
            yield found

    def _stop(self, data: bytes, offset: int, what: str) -> None:
        """A tail that a crash tore is counted; anything else raises."""
        if not self.is_last or _holds_record(data, offset + 1):
            raise InputError(
                f"`{self.path}` is damaged at byte {offset} of {len(data)}: the record {what}. Expected whole records "
                "up to the end. Move this segment away (the records before the damage are readable), and check the "
                "disk."
            )
        self.torn_bytes = len(data) - offset


def scan_segment(path: Path, *, is_last: bool) -> SegmentScan:
    """The records of the segment at `path`; a torn tail is tolerated where it `is_last`."""
    return SegmentScan(path, is_last=is_last)


def read_journal(folder: str | Path) -> Iterator[Record]:
    """All records of a journal in order, whether a writer is alive or not.

    A torn tail ends the reading silently at the last segment; see `SegmentScan` where its size matters.

    Raises
    ------
    InputError
        A record before the end is damaged; the message names segment and byte.
    """
    paths = segment_paths(folder)
    for path in paths:
        yield from scan_segment(path, is_last=path == paths[-1])


def segment_paths(folder: str | Path) -> list[Path]:
    """The segments of a journal folder, oldest first."""
    return sorted(Path(folder).glob("journal-*.wal"), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.removeprefix("journal-"))


def _record_at(data: bytes, offset: int, segment: int) -> Record | str:
    """The record at `offset`, or what is wrong with it."""
    if len(data) - offset < _HEAD.size:
        return "has no whole head"
    length, checksum, kind, received_ns = _HEAD.unpack_from(data, offset)
    start = offset + _HEAD.size
    if length > min(_LARGEST, len(data) - start):
        return f"claims {length} bytes where {len(data) - start} are left"
    payload = data[start : start + length]
    if xxhash.xxh3_64_intdigest(data[start - _SIGNED.size : start] + payload) != checksum:
        return "has another checksum than its bytes"
    return Record(kind, received_ns, payload, segment, offset)


def _holds_record(data: bytes, start: int) -> bool:
    """Whether a whole record begins at or after `start`: then what is wrong before it was no torn tail."""
    last = len(data) - _HEAD.size
    for offset in range(start, last + 1):
        # The length is looked at first: for most positions it is absurd, and no checksum has to be computed.
        length = int.from_bytes(data[offset : offset + 4], "little")
        if length <= last - offset and isinstance(_record_at(data, offset, 0), Record):
            return True
    return False


def _write_all(handle: int, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(handle, view[done:])


def _refused(folder: Path, error: OSError) -> JournalError:
    return JournalError(
        f"`{folder}` cannot be written: {error.strerror or error}. Expected room on the disk. What was committed "
        "before is safe: free some space (or choose another folder) and start again."
    )
