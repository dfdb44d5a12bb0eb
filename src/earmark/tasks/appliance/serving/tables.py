"""CSV files that grow row by row: of a stream, which take their name when whole, and of `live`, which have no end."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.serving.appended import AppendedLines
from earmark.tasks.appliance.serving.engine import Answered
from earmark.tasks.appliance.serving.stream import event_rows, probability_row

__all__ = ["AppendedTable", "GrowingTable", "LiveTables"]


class GrowingTable:
    """Rows of a table, kept on the disk and not in memory; leaving the ``with`` block by an error leaves nothing.

    Parameters
    ----------
    path : Path
    columns : sequence of str, optional
        Default: those of the first row.
    """

    def __init__(self, path: Path, columns: Sequence[str] = ()) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._columns = list(columns)

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._partial.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        if self._columns:
            self._writer.writerow(self._columns)
        return self

    def row(self, row: Mapping[str, Any]) -> None:
        """Write a row; an empty field stands for None."""
        if not self._columns:
            self._columns = list(row)
            self._writer.writerow(self._columns)
        self._writer.writerow([row[name] for name in self._columns])

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write several."""
        for row in rows:
            self.row(row)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self._file:  # closing writes, too, and may fail
                if kind is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
            if kind is None:
                self._partial.replace(self._path)
        finally:
            self._partial.unlink(missing_ok=True)


class AppendedTable:
    """Rows appended to a file; one that is there goes on without another head. Parameters as of `AppendedLines`."""

    def __init__(self, path: Path, on_loss: Callable[[str], None] | None = None) -> None:
        self._file = AppendedLines(path, on_loss)

    def row(self, row: Mapping[str, Any]) -> None:
        """Write a row, below the names where it is the first."""
        self._file.write(_csv_line(row.values()), head=_csv_line(row))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LiveTables:
    """The tables of `live`: those of `stream`, with the time of day in place of file and place in it.

    Parameters
    ----------
    devices : Devices
    probabilities, events : Path or None
        Of files; None writes none.
    on_loss : callable, optional
        As of `AppendedLines`.
    """

    def __init__(
        self,
        devices: Devices,
        probabilities: Path | None,
        events: Path | None,
        on_loss: Callable[[str], None] | None = None,
    ) -> None:
        self._devices = devices
        self._probabilities = None if probabilities is None else AppendedTable(probabilities, on_loss)
        self._events = None if events is None else AppendedTable(events, on_loss)

    def take(self, answered: Answered, timestamp: float) -> None:
        """Write the rows of a window that was answered at `timestamp`, in seconds of the Unix epoch."""
        when = datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds")
        if self._probabilities is not None:
            self._probabilities.row(_at(when, probability_row("", self._devices, answered)))
        if self._events is not None:
            for row in event_rows("", answered):
                self._events.row(_at(when, row))

    def close(self) -> None:
        """Close the files."""
        for table in (self._probabilities, self._events):
            if table is not None:
                table.close()


def _csv_line(fields: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()


def _at(when: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"timestamp": when} | {name: value for name, value in row.items() if name not in ("file", "t_s")}
