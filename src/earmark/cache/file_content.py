"""Digests of files by content, remembered while their ``stat`` stays the same.

The stamp is (size, mtime_ns, ctime_ns, inode): ctime cannot be set back, so a rewrite that keeps size and mtime is seen.
A file changed in the last moments before its digest was taken is read again the next time, because a second write
within the clock's resolution would leave the same stamp.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

__all__ = ["ABSENT", "file_digest"]

ABSENT = "absent"
"""Digest of a file that does not exist: code may well ask for one and go on without."""

_CLOCK_RESOLUTION_NS = 2_000_000_000
_BLOCK_BYTES = 1 << 20

_remembered: dict[str, tuple[tuple[int, int, int, int], str]] = {}


def file_digest(path: str | Path) -> str:
    """Hexadecimal digest (128 bits) of a file's bytes; of a folder, over the files in it; `ABSENT` if there is none."""
    name = os.path.abspath(path)
    try:
        status = os.stat(name)
    except OSError:
        return ABSENT
    if os.path.isdir(name):
        return _folder_digest(name)
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    known = _remembered.get(name)
    if known is not None and known[0] == stamp:
        return known[1]
    digest = _content_digest(name)
    if digest != ABSENT and time.time_ns() - status.st_ctime_ns > _CLOCK_RESOLUTION_NS:
        _remembered[name] = (stamp, digest)
    return digest


def _content_digest(path: str) -> str:
    state = hashlib.blake2b(digest_size=16)
    # os.open with raw reads: this runs inside the audit hook that watches `open` and must stay out of its own sight.
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError:
        return ABSENT
    try:
        while block := os.read(descriptor, _BLOCK_BYTES):
            state.update(block)
    finally:
        os.close(descriptor)
    return state.hexdigest()


def _folder_digest(folder: str) -> str:
    state = hashlib.blake2b(digest_size=16)
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(files):
            path = os.path.join(parent, name)
            state.update(f"{os.path.relpath(path, folder)!r} {file_digest(path)}\n".encode())
    return state.hexdigest()
