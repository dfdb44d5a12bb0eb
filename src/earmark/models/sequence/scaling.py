"""Scaling of columns for training: fitted on training rows, kept with the model, never stored in the data.

Columns of the order book are standardised (mean, standard deviation), those of candles are scaled robustly (median,
interquartile range), those of indicators go to 0..1 by their range; columns that the catalogue does not know are
standardised. Statistics are pooled or per symbol, over the rows that training windows use, each row once. A constant
column becomes 0. The rolling form subtracts the median (or mean) of a trailing window and divides by its
interquartile range (or standard deviation), per symbol and gap-free segment; its first rows have too short a past and
are missing.

Missing values, NaN and infinity, are left out of all statistics and then follow the policy: ``drop`` leaves out the
windows that hold one, ``zero`` puts a raw 0, ``median`` the median of the training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.data.windows import SeriesTable, Windows
from earmark.errors import SchemaError, UsageError
from earmark.models.estimator import Floats
from earmark.orderbook.catalog import FEATURE_GROUPS

__all__ = [
    "MISSING_POLICIES",
    "Scaler",
    "complete_windows",
    "fit_scaler",
    "rolling_normalised",
    "scaling_kind",
    "used_rows",
]

MISSING_POLICIES = ("drop", "zero", "median")
ROLLING_MIN_ROWS = 20
"""Rows of a segment before the rolling form gives a value."""

_COLUMNS_AT_ONCE = 8
"""Columns whose rows are held in memory together while statistics are computed."""
_ROWS_AT_ONCE = 65_536

_KIND_OF_PREFIX = {"lob": "standard", "candle": "robust", "indicator": "minmax"}
_KINDS = {
    name: _KIND_OF_PREFIX[group.split("_")[0]] for group, names in FEATURE_GROUPS.items() for name in names
}

Doubles = npt.NDArray[np.float64]


def scaling_kind(column: str) -> str:
    """``standard``, ``robust`` or ``minmax``, by the catalogue's group of the column."""
    return _KINDS.get(column, "standard")


@dataclass(frozen=True, eq=False)
class Scaler:
    """(x - center) / scale per column, after missing values are filled.

    Parameters
    ----------
    columns : tuple of str
    symbols : tuple of str
        Of the rows of the arrays below; empty if all symbols share one row.
    center, scale, fill : ndarray of float64, shape (max(1, len(symbols)), n_columns)
        `fill` stands for missing values, in raw units; NaN where they stay missing.
    """

    columns: tuple[str, ...]
    symbols: tuple[str, ...]
    center: Doubles
    scale: Doubles
    fill: Doubles

    def apply(self, windows: Windows) -> Windows:
        """The same windows with scaled inputs, computed as they are gathered: nothing is copied here.

        Raises
        ------
        SchemaError
            If the columns are others, or a symbol was not among those fitted per symbol.
        """
        if windows.table.columns != self.columns:
            raise SchemaError(
                f"Got {len(windows.table.columns)} columns, expected the {len(self.columns)} that the scaler was "
                "fitted on, in their order. Select the columns of the model's schema."
            )
        return ScaledWindows(windows.table, windows.ends, windows.length, self, self._rows_of(windows))

    def transform(self, X: Floats, row: npt.NDArray[np.int64]) -> Floats:
        """X, shape (k, n_columns) or (k, length, n_columns), scaled in place.

        `row` holds the row of the arrays that applies to each of the k. The arithmetic is that of float32: its error
        is no more than that with which X was stored.
        """
        index = row if X.ndim == 2 else row[:, None]
        center, scale, fill = (part.astype(np.float32) for part in (self.center, self.scale, self.fill))
        finite = np.isfinite(X)
        if not finite.all():
            np.copyto(X, fill[index], where=~finite)
        X -= center[index]
        X /= scale[index]
        return X

    def _rows_of(self, windows: Windows) -> npt.NDArray[np.int64]:
        """Row of the arrays for each symbol of the table."""
        names = windows.table.symbols
        if not self.symbols:
            return np.zeros(len(names), dtype=np.int64)
        found = np.array([self.symbols.index(s) if s in self.symbols else -1 for s in names], dtype=np.int64)
        strange = sorted({names[s] for s in np.unique(windows.symbol) if found[s] < 0})
        if strange:
            raise SchemaError(
                f"Symbols {strange[:5]} were not among the {len(self.symbols)} that the scaler was fitted on, one by "
                "one. Train with them, or with pooled scaling."
            )
        return found


@dataclass(frozen=True, eq=False)
class ScaledWindows(Windows):
    """Windows whose inputs are scaled when they are gathered; `row_of` gives the scaler's row per symbol."""

    scaler: Scaler
    row_of: npt.NDArray[np.int64]

    def inputs(self, positions: npt.NDArray[np.int64] | slice | None = None) -> Floats:
        """Scaled features, float32, shape (k, length, n_columns)."""
        chosen = slice(None) if positions is None else positions
        return self.scaler.transform(super().inputs(positions), self.row_of[self.symbol[chosen]])

    def last_rows(self) -> Floats:
        """Scaled features of the last rows, float32, shape (n_windows, n_columns)."""
        return self.scaler.transform(super().last_rows(), self.row_of[self.symbol])


def fit_scaler(windows: Windows, *, per_symbol: bool = False, missing: str = "drop") -> Scaler:
    """Statistics of the rows that `windows` use.

    Parameters
    ----------
    windows : Windows
        Training windows, nothing else.
    per_symbol : bool
        A row of statistics per symbol instead of one for all.
    missing : {"drop", "zero", "median"}
    """
    if missing not in MISSING_POLICIES:
        raise UsageError(f"The policy for missing values is {missing!r}, expected one of {MISSING_POLICIES}.")
    table, rows = windows.table, used_rows(windows)
    if per_symbol:
        present = np.unique(table.symbol[rows])
        parts = [rows[table.symbol[rows] == symbol] for symbol in present]
        symbols = tuple(table.symbols[symbol] for symbol in present)
    else:
        parts, symbols = [rows], ()
    center, scale, median = (np.empty((len(parts), len(table.columns))) for _ in range(3))
    for row, part in enumerate(parts):
        for column, values in _finite_columns(table, part):
            center[row, column], scale[row, column], median[row, column] = _statistics(
                values, scaling_kind(table.columns[column])
            )
    fill = {"drop": np.full_like(center, np.nan), "zero": np.zeros_like(center), "median": median}[missing]
    return Scaler(table.columns, symbols, center, scale, fill)


def used_rows(windows: Windows) -> npt.NDArray[np.int64]:
    """Positions of the rows in at least one window, ascending, each once."""
    change = np.zeros(len(windows.table) + 1, dtype=np.int64)
    np.add.at(change, windows.ends - (windows.length - 1), 1)
    np.add.at(change, windows.ends + 1, -1)
    return np.flatnonzero(np.cumsum(change[:-1]) > 0)


def complete_windows(windows: Windows) -> npt.NDArray[np.bool_]:
    """Which windows hold finite numbers only, shape (n_windows,)."""
    X = windows.table.X
    bad = np.zeros(len(X) + 1, dtype=np.int64)
    for start in range(0, len(X), _ROWS_AT_ONCE):
        block = X[start : start + _ROWS_AT_ONCE]
        bad[start + 1 : start + 1 + len(block)] = ~np.isfinite(block).all(axis=1)
    so_far = np.cumsum(bad)
    return np.asarray(so_far[windows.ends + 1] == so_far[windows.ends - (windows.length - 1)])


def rolling_normalised(table: SeriesTable, *, window: int = 500, statistic: str = "median") -> SeriesTable:
    """The table with each column normalised by its own trailing past, the row itself included.

    Parameters
    ----------
    table : SeriesTable
    window : int
        Rows of the trailing window, at most; a segment's first rows have fewer.
    statistic : {"median", "mean"}
        Median and interquartile range, or mean and standard deviation.

    Returns
    -------
    SeriesTable
        NaN in the first `ROLLING_MIN_ROWS` - 1 rows of a segment, and where the table has no finite value.
    """
    import polars as pl

    normalised = np.empty(table.X.shape, dtype=np.float32)
    segment = pl.Series("segment", table.segment)
    rolled = _rolled_median if statistic == "median" else _rolled_mean
    for column in range(len(table.columns)):
        raw = np.asarray(table.X[:, column], dtype=np.float64)
        frame = pl.DataFrame({"x": np.where(np.isfinite(raw), raw, np.nan), "segment": segment})
        frame = frame.with_columns(pl.col("x").fill_nan(None))
        center, spread = rolled(pl.col("x"), window)
        found = frame.select(center.over("segment").alias("c"), spread.over("segment").alias("s"))
        c, s = (found[name].fill_null(np.nan).to_numpy() for name in ("c", "s"))
        normalised[:, column] = (frame["x"].fill_null(np.nan).to_numpy() - c) / np.where(s > 0, s, 1.0)
    return replace(table, X=normalised)


def _rolled_median(x: Any, window: int) -> tuple[Any, Any]:
    def quantile(q: float) -> Any:
        return x.rolling_quantile(q, interpolation="linear", window_size=window, min_samples=ROLLING_MIN_ROWS)

    return quantile(0.5), quantile(0.75) - quantile(0.25)


def _rolled_mean(x: Any, window: int) -> tuple[Any, Any]:
    mean = x.rolling_mean(window_size=window, min_samples=ROLLING_MIN_ROWS)
    return mean, x.rolling_std(window_size=window, min_samples=ROLLING_MIN_ROWS, ddof=0)


def _finite_columns(table: SeriesTable, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, Doubles]]:
    """Each column's finite values at `rows`, a few columns of the table in memory at a time."""
    for start in range(0, len(table.columns), _COLUMNS_AT_ONCE):
        block = np.asarray(table.X[:, start : start + _COLUMNS_AT_ONCE])[rows].astype(np.float64)
        for offset in range(block.shape[1]):
            values = block[:, offset]
            yield start + offset, values[np.isfinite(values)]


def _statistics(values: Doubles, kind: str) -> tuple[float, float, float]:
    """Center, scale (1 for a constant column) and median; a column without values becomes 0."""
    if not len(values):
        return 0.0, 1.0, 0.0
    median = float(np.median(values))
    center, scale = _BY_KIND[kind](values)
    return center, scale if scale > 1e-12 * max(1.0, abs(center)) else 1.0, median


def _standard(values: Doubles) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


def _robust(values: Doubles) -> tuple[float, float]:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return float(median), float(high - low)


def _minmax(values: Doubles) -> tuple[float, float]:
    return float(values.min()), float(values.max() - values.min())


_BY_KIND: dict[str, Callable[[Doubles], tuple[float, float]]] = {
    "standard": _standard,
    "robust": _robust,
    "minmax": _minmax,
}
