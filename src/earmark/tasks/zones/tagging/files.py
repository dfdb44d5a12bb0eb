"""Replacing the tags of one file: a tagged copy is made beside it, checked, and takes its place in one step.

The copy has the file's mode, owner and extended attributes. A symbolic link stays one: the file that it leads to is
replaced. Of several hard links the one named is replaced, and the others keep the old tags.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from earmark.errors import InputError
from earmark.tasks.zones.tagging.entries import Entry, Tags, replaced
from earmark.tasks.zones.tagging.formats import read_tags, rest_digest, write_copy

__all__ = [
    "BACKUP_SUFFIX",
    "flush",
    "make_backup",
    "put_in_place",
    "require_writable",
    "sentence",
    "temporary_beside",
    "write_checked",
]

BACKUP_SUFFIX = ".backup"
_STAMP = ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


def temporary_beside(target: Path) -> Path:
    """A free hidden name in the folder of `target`, which no folder scan takes for audio."""
    return target.with_name(f".earmark-{secrets.token_hex(8)}.tmp")


def require_writable(target: Path) -> None:
    """Refuse a file that its mode protects, also from a user who may do everything.

    Raises
    ------
    InputError
        Nobody may write it.
    """
    if not target.stat().st_mode & 0o222:
        raise InputError(f"`{target}` is read-only. Expected a file that may be written. Change its rights.")


def write_checked(target: Path, temporary: Path, changes: Mapping[str, Sequence[Entry]]) -> None:
    """Make a copy of `target` with other fields at `temporary`, on the disk, and prove that only they differ.

    Raises
    ------
    InputError
        The file is read-only, or its copy differs in something else.
    OSError
        No room, no right.
    """
    require_writable(target)
    before = read_tags(target)
    write_copy(target, temporary, replaced(before.entries, changes))
    _require_same(target, before, temporary, changes)
    shutil.copystat(target, temporary)
    status, copied = target.stat(), temporary.stat()
    if (copied.st_uid, copied.st_gid) != (status.st_uid, status.st_gid):
        os.chown(temporary, status.st_uid, status.st_gid)
        temporary.chmod(stat.S_IMODE(status.st_mode))
    now_ns = time.time_ns()
    os.utime(temporary, ns=(status.st_atime_ns, now_ns))
    flush(temporary)


def put_in_place(target: Path, temporary: Path, before: os.stat_result) -> None:
    """Let `temporary` take the place of `target`, unless that has changed since `before`: all or nothing."""
    now = target.stat()
    if any(getattr(now, name) != getattr(before, name) for name in _STAMP):
        raise InputError(
            f"`{target}` was changed by another program meanwhile and stays as it is. Try again."
        )
    temporary.replace(target)


def make_backup(target: Path) -> None:
    """Copy a file to ``<file>.backup``, whole or not at all; a backup that exists stays."""
    backup = target.with_name(target.name + BACKUP_SUFFIX)
    if backup.exists():
        return
    temporary = temporary_beside(target)
    try:
        shutil.copy2(target, temporary)
        flush(temporary)
        temporary.replace(backup)
    finally:
        temporary.unlink(missing_ok=True)


def sentence(path: Path, error: Exception) -> str:
    """Say in one sentence or two why a file could not be tagged."""
    if not isinstance(error, OSError) or error.errno is None:
        text = str(error)
        return text if str(path) in text else f"`{path}` cannot be tagged: {text}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"`{path}` stays as it is: there is no room for its tagged copy ({error.strerror}). Free some space."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"`{path}` stays as it is: {error.strerror}. Expected a file and a folder that you may write."
    if error.errno == errno.ENOENT:
        return f"`{path}` is gone. It was moved or deleted. Put it back there and try again."
    return f"`{path}` stays as it is: {error.strerror or error}."


def _require_same(
    target: Path, before: Tags, temporary: Path, changes: Mapping[str, Sequence[Entry]]
) -> None:
    after = read_tags(temporary)
    has_ours = all(
        [entry.raw for entry in after.of_field(name)] == [entry.raw for entry in entries]
        for name, entries in changes.items()
    )
    others_stay = after.others(tuple(changes)) == before.others(tuple(changes))
    if not (has_ours and others_stay and rest_digest(temporary) == rest_digest(target)):
        raise InputError(
            f"`{target}` stays as it is: a copy with the new tags differed in more than these. "
            "Write the file again with a tag editor, then try again."
        )


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
