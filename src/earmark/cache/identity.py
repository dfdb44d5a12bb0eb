"""Identity of an input: the xxh3-128 of its bytes, so that names, places and dates do not matter.

A part of a recording (`earmark.audio.fragment`) has an identity of its own, made of the recording's and its span.

Reading every file on every run would cost minutes, so an identity is remembered:

* a local file by (path, size, mtime_ns, ctime_ns, inode): a warm run costs one ``stat``. Changed bytes under
  an unchanged name, size and mtime still change ctime, which no program can set back;
* a remote file (fsspec) by (URI, size, the strong checksum or entity tag its file system states); where it
  states none the bytes are read each time.

A change within the clock granularity of the last one leaves ctime as it was. So what was hashed within
`SETTLING_NS` of the file's ctime is not trusted later but hashed again, as git does with its index
(git-scm.com/docs/racy-git).
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import xxhash

from earmark.audio.fragment import Span, split_fragment
from earmark.errors import InputError

__all__ = ["Identifier", "Memory", "identify_bytes"]

IDENTITY_BYTES: Final = 16
BLOCK_BYTES: Final = 1 << 20
SETTLING_NS: Final = 2_000_000_000
"""Coarsest timestamp of a file system in use (FAT), in nanoseconds."""
ATTEMPTS: Final = 3
STRONG_TOKENS: Final = (
    "ETag",
    "etag",
    "checksum",
    "md5Hash",
    "md5",
    "content_md5",
    "crc32c",
    "generation",
    "VersionId",
)
"""Keys of fsspec's ``info`` that change whenever the bytes do (S3, Google Cloud, Azure, http)."""

_MEMO: Final = struct.Struct("<Qqq Q q16s")
_REMOTE_MEMO: Final = struct.Struct("<16s16s")


class Memory(Protocol):
    """Where identities are remembered; both sides are short byte strings."""

    def recall(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What was remembered under each of ``keys``."""

    def remember(self, key: bytes, value: bytes) -> None:
        """Keep ``value`` under ``key``; it may reach the disk later."""


def identify_bytes(data: bytes | bytearray | memoryview) -> bytes:
    """Identity of ``data``, 16 bytes: the same that a file with these bytes has."""
    return xxhash.xxh3_128_digest(data)


class Identifier:
    """Identities of files and URIs, remembered in ``memory``.

    Parameters
    ----------
    memory : Memory
        A `FeatureCache`, or anything that recalls what it was told.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def identify(self, uri: str | os.PathLike[str]) -> bytes:
        """Identity of the content behind ``uri``, 16 bytes.

        Raises
        ------
        InputError
            The file does not exist, cannot be read, is a folder, or keeps changing while it is read.
        """
        identity = self.identify_many([uri])[0]
        if isinstance(identity, InputError):
            raise identity
        return identity

    def identify_many(self, uris: Sequence[str | os.PathLike[str]]) -> list[bytes | InputError]:
        """Identity of each of ``uris``; for one that cannot be read, the error in its place."""
        parts = [split_fragment(os.fspath(uri)) for uri in uris]
        recordings = list(dict.fromkeys(recording for recording, _ in parts))
        known = dict(zip(recordings, self._identify_recordings(recordings), strict=True))
        return [_of_part(known[recording], span) for recording, span in parts]

    def _identify_recordings(self, uris: Sequence[str]) -> list[bytes | InputError]:
        places = [_local_path(uri) for uri in uris]
        keys = [_memo_key(uri, place) for uri, place in zip(uris, places, strict=True)]
        known = self._memory.recall(keys)
        return [
            self._identity(uri, place, key, memo)
            for uri, place, key, memo in zip(uris, places, keys, known, strict=True)
        ]

    def _identity(self, uri: str, place: str | None, key: bytes, memo: bytes | None) -> bytes | InputError:
        try:
            return self._of_remote(uri, key, memo) if place is None else self._of_file(place, key, memo)
        except InputError as error:
            return error
        except Exception as error:
            if place is not None and not isinstance(error, (OSError, ValueError)):
                raise
            # a remote file system raises errors of its own library, whatever that is
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return InputError(
                f"{uri} cannot be read: {reason}. Expected a readable file. Correct the path or drop the row."
            )

    def _of_file(self, path: str, key: bytes, memo: bytes | None) -> bytes:
        status = Path(path).stat()
        if memo is not None and len(memo) == _MEMO.size:
            *seen, hashed_at_ns, identity = _MEMO.unpack(memo)
            if tuple(seen) == _stamp(status) and hashed_at_ns - status.st_ctime_ns > SETTLING_NS:
                return bytes(identity)
        for _ in range(ATTEMPTS):
            started_ns = time.time_ns()
            with Path(path).open("rb", buffering=0) as file:
                before = _stamp(os.fstat(file.fileno()))
                identity = _digest(file)
                after = _stamp(os.fstat(file.fileno()))
            if before == after:
                self._memory.remember(key, _MEMO.pack(*after, started_ns, identity))
                return identity
        raise InputError(
            f"{path} changed while it was read, {ATTEMPTS} times. Expected a file at rest. Try again later."
        )

    def _of_remote(self, uri: str, key: bytes, memo: bytes | None) -> bytes:
        import fsspec

        file_system, path = fsspec.core.url_to_fs(uri)
        token = _remote_token(file_system.info(path))
        if token is not None and memo is not None and len(memo) == _REMOTE_MEMO.size:
            seen, identity = _REMOTE_MEMO.unpack(memo)
            if seen == token:
                return bytes(identity)
        with file_system.open(path, "rb") as file:
            identity = _digest(file)
        if token is not None:
            self._memory.remember(key, _REMOTE_MEMO.pack(token, identity))
        return identity


def _of_part(identity: bytes | InputError, span: Span | None) -> bytes | InputError:
    """Identity of a part of a recording; the span's text is in it, so that nothing else can have the same."""
    if span is None or isinstance(identity, InputError):
        return identity
    return xxhash.xxh3_128_digest(b"part " + identity + str(span).encode())


def _local_path(uri: str | os.PathLike[str]) -> str | None:
    """Absolute local path of ``uri``, ``None`` when it is remote."""
    text = os.fspath(uri)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif "://" in text or "::" in text:
        return None
    return str(Path(text).absolute())


def _memo_key(uri: str | os.PathLike[str], place: str | None) -> bytes:
    return xxhash.xxh3_128_digest(os.fsencode(place) if place is not None else b"uri " + os.fsencode(uri))


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _digest(file: BinaryIO | Any) -> bytes:
    state = xxhash.xxh3_128()
    while block := file.read(BLOCK_BYTES):
        state.update(block)
    return state.digest()


def _remote_token(info: dict[str, Any]) -> bytes | None:
    """Digest of size and strong checksums or tags that the file system states, ``None`` without any."""
    stated = [(name, str(info[name])) for name in STRONG_TOKENS if info.get(name)]
    strong = [(name, value) for name, value in stated if not value.startswith("W/")]
    if not strong:
        return None
    return xxhash.xxh3_128_digest(repr((info.get("size"), strong)).encode())
