"""Silence for decoders that write to the terminal.

mpg123, inside libsndfile, reports each damaged frame on the process's standard error, past Python's. While
such a decoder runs, the file descriptor points to nowhere. Threads may nest and overlap: the first one
redirects, the last one restores.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2
_lock = threading.Lock()
_saved: list[int] = []
_n_inside = [0]


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard what C code writes to standard error inside the block; no effect if that is closed."""
    with _lock:
        _n_inside[0] += 1
        if _n_inside[0] == 1:
            _redirect()
    try:
        yield
    finally:
        with _lock:
            _n_inside[0] -= 1
            if not _n_inside[0] and _saved:
                os.dup2(_saved[0], STDERR)
                os.close(_saved.pop())


def _redirect() -> None:
    try:
        _saved.append(os.dup(STDERR))
    except OSError:  # closed: nothing can leak
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDERR)
    os.close(nowhere)
