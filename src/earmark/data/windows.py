"""Series of rows through time, and windows of consecutive rows: what sequence models train on.

A `SeriesTable` holds the rows of several symbols, sorted by symbol and time. A window is `length` consecutive rows
of one symbol without a gap; it ends at a row whose label is known, and is named by that row. Windows copy nothing:
they are positions, and rows are gathered by batch.

Conventions: times are milliseconds since 1970 UTC, labels 0 .. n_classes - 1 with -1 for unknown, ``movement`` is the
relative change of the price over the horizon (0.01 is one per cent), NaN where unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.orderbook.state import MAX_GAP

__all__ = ["SeriesTable", "Windows", "make_windows"]


@dataclass(frozen=True, eq=False)
class SeriesTable:
    """Rows of several symbols, sorted by (symbol, time), unique.

    Parameters
    ----------
    symbols : tuple of str
        Names; `symbol` holds positions in it.
    symbol : ndarray of int32, shape (n,)
    time_ms : ndarray of int64, shape (n,)
    X : ndarray of float32, shape (n, n_columns)
        Raw, unscaled features; may be memory-mapped.
    columns : tuple of str
    y : ndarray of int8, shape (n,)
        Class, or -1 where the label is unknown.
    movement : ndarray of float32, shape (n,)
    label_end_ms : ndarray of int64, shape (n,)
        When the label was decided: nothing of the row may be used with data from before that for another part.
    price : ndarray of float64, shape (n,)
        Mid price at the row.
    interval_ms : int
        Nominal distance of two rows of a symbol.
    starts_anew : ndarray of bool, shape (n,), optional
        Rows between which and the one before something was lost, however near in time.
    """

    symbols: tuple[str, ...]
    symbol: npt.NDArray[np.int32]
    time_ms: npt.NDArray[np.int64]
    X: npt.NDArray[np.float32]
    columns: tuple[str, ...]
    y: npt.NDArray[np.int8]
    movement: npt.NDArray[np.float32]
    label_end_ms: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    interval_ms: int
    starts_anew: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = len(self.time_ms)
        names = ["symbol", "X", "y", "movement", "label_end_ms", "price"]
        names += ["starts_anew"] * (self.starts_anew is not None)
        wrong = [name for name in names if len(getattr(self, name)) != n]
        if wrong or self.X.ndim != 2 or self.X.shape[1] != len(self.columns):
            raise UsageError(
                f"A series has {n} times, X of shape {self.X.shape}, {len(self.columns)} columns and other lengths in "
                f"{wrong or 'no field'}; expected the same number of rows everywhere."
            )
        later = (np.diff(self.symbol) > 0) | ((np.diff(self.symbol) == 0) & (np.diff(self.time_ms) > 0))
        if not later.all():
            raise UsageError(
                f"Row {int(np.argmin(later)) + 1} of a series is not later than the one before; expected rows sorted "
                "by symbol and time, each once."
            )

    def __len__(self) -> int:
        return len(self.time_ms)

    @cached_property
    def segment(self) -> npt.NDArray[np.int64]:
        """Number of the gap-free stretch of one symbol to which each row belongs, shape (n,)."""
        breaks = (np.diff(self.time_ms) > MAX_GAP * self.interval_ms) | (np.diff(self.symbol) != 0)
        if self.starts_anew is not None:
            breaks |= self.starts_anew[1:]
        return np.concatenate([[0], np.cumsum(breaks)]).astype(np.int64)[: len(self)]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of `length` rows of `table`, by the positions of their last rows.

    Parameters
    ----------
    table : SeriesTable
    ends : ndarray of int64, shape (n_windows,)
    length : int
    """

    table: SeriesTable
    ends: npt.NDArray[np.int64]
    length: int

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def y(self) -> npt.NDArray[np.int64]:
        """Class of each window, that of its last row."""
        return self.table.y[self.ends].astype(np.int64)

    @property
    def movement(self) -> npt.NDArray[np.float32]:
        """Relative change of the price over the horizon."""
        return self.table.movement[self.ends]

    @property
    def time_ms(self) -> npt.NDArray[np.int64]:
        """Time of the last row."""
        return self.table.time_ms[self.ends]

    @property
    def start_ms(self) -> npt.NDArray[np.int64]:
        """Time of the first row."""
        return self.table.time_ms[self.ends - (self.length - 1)]

    @property
    def label_end_ms(self) -> npt.NDArray[np.int64]:
        """When the label was decided."""
        return self.table.label_end_ms[self.ends]

    @property
    def symbol(self) -> npt.NDArray[np.int32]:
        """Position of the symbol's name."""
        return self.table.symbol[self.ends]

    def inputs(self, positions: npt.NDArray[np.int64] | slice | None = None) -> npt.NDArray[np.float32]:
        """Features of the windows at `positions` (default all), float32, shape (k, length, n_columns)."""
        ends = self.ends if positions is None else self.ends[positions]
        rows = ends[:, None] + np.arange(1 - self.length, 1)
        return np.asarray(self.table.X[rows], dtype=np.float32)

    def last_rows(self) -> npt.NDArray[np.float32]:
        """Features of the last row of each window, float32, shape (n_windows, n_columns)."""
        return np.asarray(self.table.X[self.ends], dtype=np.float32)

    def take(self, positions: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Windows:
        """The windows at `positions`, or where a mask of shape (n_windows,) is true."""
        return replace(self, ends=self.ends[positions])


def make_windows(table: SeriesTable, length: int, *, stride: int = 1, labelled: bool = True) -> Windows:
    """All windows of `length` rows that cross no gap and no symbol.

    Parameters
    ----------
    table : SeriesTable
    length : int
    stride : int
        Take every `stride`-th row of a segment as an end, counted from the first possible one.
    labelled : bool
        Leave out windows whose label is unknown.

    Returns
    -------
    Windows
        Sorted by symbol and time; there may be none.
    """
    if length < 1 or stride < 1:
        raise UsageError(f"length is {length} and stride {stride}; expected at least 1.")
    segment = table.segment
    first = np.searchsorted(segment, segment, side="left")
    place = np.arange(len(table)) - first
    ends = np.flatnonzero((place >= length - 1) & ((place - (length - 1)) % stride == 0))
    if labelled:
        ends = ends[table.y[ends] >= 0]
    return Windows(table, ends.astype(np.int64), length)
