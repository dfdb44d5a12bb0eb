"""Reading a text that a job writes, piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["TEXT_BYTES", "Text", "read_text"]

TEXT_BYTES = 64 << 10
"""Of a piece, where nothing else is asked for."""


@dataclass(frozen=True)
class Text:
    """A piece of a file; offsets are bytes."""

    text: str
    offset: int
    next_offset: int
    size: int


def read_text(path: Path, offset: int = 0, n_bytes: int = TEXT_BYTES) -> Text:
    """At most `n_bytes` from `offset` on, up to the end of a line where there is one and more behind it.

    Parameters
    ----------
    path : Path
        A file that is not there (yet) is empty.
    offset : int
        Negative: from the end, beginning with a whole line. Behind the end there is nothing.
    n_bytes : int
    """
    if not path.exists():
        return Text("", 0, 0, 0)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = min(size, offset if offset >= 0 else max(0, size + offset))
        file.seek(start)
        data = file.read(n_bytes)
        if offset < 0 < start:
            cut = data.find(b"\n") + 1
            start, data = start + cut, data[cut:]
    if start + len(data) < size:
        data = data[: data.rfind(b"\n") + 1] or _without_torn_letter(data)
    return Text(data.decode("utf-8", "replace"), start, start + len(data), size)


def _without_torn_letter(data: bytes) -> bytes:
    """UTF-8 without the first bytes of a letter at its end, unless there is nothing else."""
    for n_torn in range(min(4, len(data))):
        if data[len(data) - 1 - n_torn] & 0xC0 != 0x80:  # the letter begins here
            whole = data[: len(data) - 1 - n_torn]
            try:
                data[len(whole) :].decode("utf-8")
            except UnicodeDecodeError:
                return whole or data
            return data
    return data
