"""A text file that grows by whole lines, whoever else writes to it: the logs of `live`.

A line is one write at the end of the file while its lock is held, so that lines of two programs do not mix; one that
finds no room is taken back. The end of a line that a killed program left open is closed by the next.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from earmark.store.lock import in_turn

__all__ = ["AppendedLines"]


class AppendedLines:
    """Appends lines; each is on its way to the disk when `write` returns, and survives the death of the program.

    Parameters
    ----------
    path : Path
        Its folder is made where it is missing.
    on_loss : callable, optional
        Told once why lines cannot be written, and once how many were left out when they can again; without it the
        first line that cannot be written is an OSError.
    """

    def __init__(self, path: Path, on_loss: Callable[[str], None] | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._on_loss, self._n_lost = path, on_loss, 0
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, text: str, head: str = "") -> None:
        """Append a line; `head` stands above the first one of the file."""
        try:
            self._append(text, head)
        except OSError as error:
            if self._on_loss is None:
                raise
            self._n_lost += 1
            if self._n_lost == 1:
                self._on_loss(
                    f"`{self._path}`: {error.strerror}. Lines are left out until they can be written."
                )
            return
        if self._n_lost and self._on_loss is not None:
            self._on_loss(f"`{self._path}` can be written again; {self._n_lost} lines were left out.")
            self._n_lost = 0

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)

    def _append(self, text: str, head: str) -> None:
        with in_turn(self._path):
            size = os.fstat(self._handle).st_size
            if not size:
                before = f"{head}\n" if head else ""
            else:
                before = "" if os.pread(self._handle, 1, size - 1) == b"\n" else "\n"
            line = f"{before}{text}\n".encode()
            try:
                if os.write(self._handle, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                os.ftruncate(self._handle, size)
                error.filename = str(self._path)
                raise
