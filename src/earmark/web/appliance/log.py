"""Files of JSON lines that grow without end, read from their end: the newest first, a block at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["end_of_lines", "objects_backwards"]

BLOCK_BYTES = 256 << 10
LONGEST_LINE = 1 << 20
"""What is longer is no line of ours, and is passed over."""


def end_of_lines(path: Path) -> int:
    """Offset behind the last whole line; 0 where there is none, or no file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return 0
    with file:
        end = file.seek(0, 2)
        while end > 0:
            start = max(0, end - BLOCK_BYTES)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def objects_backwards(
    path: Path, wanted: Callable[[bytes], bool] = bool, *, end: int | None = None
) -> Iterator[dict[str, Any]]:
    """Objects of the lines of a file, the newest first; a line that is torn, or not yet whole, is none.

    Parameters
    ----------
    path : Path
        A file that is not there has no lines.
    wanted : callable
        Whether a line is to be read at all; reading is what costs.
    end : int, optional
        Offset to begin at, behind a whole line; default: that behind the last one.
    """
    for line in _lines_backwards(path, end_of_lines(path) if end is None else end):
        if not wanted(line):
            continue
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found


def _lines_backwards(path: Path, end: int) -> Iterator[bytes]:
    if end == 0:
        return
    with path.open("rb") as file:
        rest = b""
        while end > 0:
            start = max(0, end - BLOCK_BYTES)
            file.seek(start)
            rest, *lines = (file.read(end - start) + rest).split(b"\n")
            yield from reversed(lines)
            rest, end = (rest if len(rest) <= LONGEST_LINE else b""), start
        yield rest
