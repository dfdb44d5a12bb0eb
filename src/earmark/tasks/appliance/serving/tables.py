"""CSV files that grow row by row and take their name only when they are whole."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["GrowingTable"]


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
        if kind is not None:
            self._file.close()
            self._partial.unlink()
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)
