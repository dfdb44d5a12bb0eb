"""Where the lines of `live` and `stream` go: standard output, a file of JSON lines, and whatever else takes lines.

A sink never ends the program that feeds it and never makes it wait: one that talks to a network has a thread and a
bounded queue of its own. `line` is called once per line, in order, by one thread; `close` once at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, TextIO

from earmark.tasks.appliance.serving.appended import AppendedLines

__all__ = ["JsonLines", "Sink", "TextSink", "closing"]

Line = Mapping[str, Any]


class Sink(Protocol):
    """Takes lines; see the module for what is promised to one, and what is expected of it."""

    def line(self, line: Line) -> None:
        """Take a line in."""

    def close(self) -> None:
        """No more lines follow."""


class TextSink:
    """Lines as JSON on an open text file, flushed one by one; the file stays open."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def line(self, line: Line) -> None:
        """Write a line."""
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing to do."""


class JsonLines:
    """Lines appended to a file as JSON; parameters as of `AppendedLines`."""

    def __init__(self, path: Path, on_loss: Callable[[str], None] | None = None) -> None:
        self._file = AppendedLines(path, on_loss)

    def line(self, line: Line) -> None:
        """Append a line."""
        self._file.write(json.dumps(line, allow_nan=False))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def closing(sinks: Sequence[Sink]) -> ExitStack:
    """A context at whose end every sink is closed, also where the closing of one fails."""
    stack = ExitStack()
    for sink in sinks:
        stack.callback(sink.close)
    return stack
