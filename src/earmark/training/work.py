"""The folder in which an unfinished training keeps its state, under the training's key, and the lock on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from earmark.errors import RunError
from earmark.store.lock import alone

__all__ = ["WORK_AGE_S", "locked", "work_folder"]

WORK_AGE_S = 30 * 24 * 3600.0
"""Age after which an unfinished training is given up: its data or code have most likely moved on."""


def work_folder(root: str | Path, task: str, key: str) -> Path:
    """Where the training of `key` keeps its state; its lock is the file beside, ``<key>.lock``."""
    return Path(root) / task / ".work" / key


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock, which the system drops with the process.

    Raises
    ------
    RunError
        Another process holds it.
    """
    busy = RunError(
        f"Another process is training the same configuration (`{path}` is locked). Wait for it, or stop it and resume."
    )
    with alone(path, lambda _: busy):
        yield
        path.unlink(missing_ok=True)
