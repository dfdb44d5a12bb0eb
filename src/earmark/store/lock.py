"""Locks between processes: the kernel's (`flock`), so that they end with the process, however that ends.

A lock file stays behind and says nothing by its presence. Who must be alone writes its process id into it, for the
message to the next one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["acquire", "alone", "in_turn"]


def acquire(path: str | Path, refusal: Callable[[str], Exception]) -> int:
    """Take the lock at `path` for this process; a file handle, and closing it gives the lock back.

    Parameters
    ----------
    path : str or Path
        Made, with its folder, if absent.
    refusal : callable
        The error to raise where another process has the lock; given that one's id, or ``unknown``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
    except BlockingIOError as error:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise refusal(holder) from error
    except BaseException:
        os.close(handle)
        raise
    return handle


@contextmanager
def alone(path: str | Path, refusal: Callable[[str], Exception]) -> Iterator[None]:
    """Hold the lock at `path` while the context lasts; parameters as of `acquire`."""
    handle = acquire(path, refusal)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def in_turn(path: str | Path) -> Iterator[None]:
    """Wait for the lock at `path`, a folder or a file that is made if absent, and hold it while the context lasts."""
    path = Path(path)
    if path.is_dir():
        handle = os.open(path, os.O_RDONLY)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
