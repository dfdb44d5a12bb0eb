"""Digests of data files by content, remembered while their ``stat`` stays the same.

The stamp is (size, mtime_ns, ctime_ns, inode): ctime cannot be set back, so a rewrite that keeps size and mtime is
seen. A file changed in the last moments before its digest was taken is read again the next time, because a second
write within the clock's resolution would leave the same stamp.
"""

from __future__ import annotations

import hashlib
import stat
import time
from pathlib import Path

__all__ = ["ABSENT", "file_digest"]

ABSENT = "absent"
"""Digest of a file that does not exist: code may well ask for one and go on without."""

_CLOCK_RESOLUTION_NS = 2_000_000_000

_remembered: dict[str, tuple[tuple[int, int, int, int], str]] = {}


def file_digest(path: str | Path) -> str:
    """Hexadecimal digest (128 bits) of a file's bytes, or over the files of a folder; `ABSENT` if there is neither."""
    name = Path(path)
    try:
        status = name.stat()
    except OSError:
        return ABSENT
    if stat.S_ISDIR(status.st_mode):
        return _folder_digest(name)
    if not stat.S_ISREG(status.st_mode):
        return ABSENT
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    known = _remembered.get(str(name))
    if known is not None and known[0] == stamp:
        return known[1]
    digest = _content_digest(name)
    if digest != ABSENT and time.time_ns() - status.st_ctime_ns > _CLOCK_RESOLUTION_NS:
        _remembered[str(name)] = (stamp, digest)
    return digest


def _content_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ABSENT


def _folder_digest(folder: Path) -> str:
    state = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            state.update(f"{path.relative_to(folder).as_posix()!r} {file_digest(path)}\n".encode())
    return state.hexdigest()
