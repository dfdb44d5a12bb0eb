"""Following a search while it computes: the lines that its points write to their logs, from whatever process.

Every point has a log of its own beside the journal (`earmark.training.pruning.Watch`). A thread reads what is new in
them and tells it; a line that is still being written waits for its end.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["followed"]

Tell = Callable[[str, dict[str, Any]], None]


@contextmanager
def followed(folder: Path, tell: Tell, *, every_s: float = 0.5) -> Iterator[None]:
    """Call ``tell(key of the point, event)`` for each line that is written while the context lasts.

    Parameters
    ----------
    folder : Path
        The logs; it may not exist yet. What they hold already is not told, unless its log is begun anew.
    tell : callable
        Called from a thread of its own.
    every_s : float
        Seconds between two looks.
    """
    logs, end = _Logs(folder), threading.Event()

    def follow() -> None:
        while not end.wait(every_s):
            logs.read(tell)

    thread = threading.Thread(target=follow, name="point-logs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        logs.read(tell)


class _Logs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = {path: path.stat().st_size for path in folder.glob("*.jsonl")}

    def read(self, tell: Tell) -> None:
        """Tell the whole lines that are new."""
        for path in sorted(self._folder.glob("*.jsonl")):
            text = path.read_bytes()
            start = self._read.get(path, 0)
            start = start if start <= len(text) else 0  # the log of a point that is tried again
            whole = text[start : text.rfind(b"\n") + 1]
            self._read[path] = start + len(whole)
            for line in whole.splitlines():
                tell(path.stem, json.loads(line))
