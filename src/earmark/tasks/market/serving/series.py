"""Rows as series: the columns that a model reads, from rows as they are stored or as they happen.

A row is known by the time under which it is stored: of a sample that of the newest update in its book, of a state of
the raw book its tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.data.windows import SeriesTable
from earmark.tasks.market.serving.model import ServedModel

__all__ = [
    "Histories",
    "LevelRow",
    "Observed",
    "Row",
    "Sampled",
    "joined_series",
    "series_of",
    "stored_columns",
]


class Sampled(Protocol):
    """What is needed of a sample, live or recorded."""

    @property
    def symbol(self) -> str: ...
    @property
    def book_ms(self) -> int: ...
    @property
    def features(self) -> npt.NDArray[np.float32]: ...
    @property
    def features_v2(self) -> npt.NDArray[np.float32]: ...
    @property
    def mid(self) -> float: ...


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A sample of a recording: `features` of shape (112,), `features_v2` of the dimensionless set, or empty."""

    symbol: str
    book_ms: int
    features: npt.NDArray[np.float32]
    features_v2: npt.NDArray[np.float32]
    mid: float


@dataclass(frozen=True, slots=True, eq=False)
class LevelRow:
    """A state of the raw book: `levels` as `earmark.models.sequence.levels` orders them, `book_ms` its tick.

    `starts_anew`: something was lost between it and the one before.
    """

    symbol: str
    book_ms: int
    levels: npt.NDArray[np.float32]
    mid: float
    starts_anew: bool


Observed: TypeAlias = Sampled | LevelRow


def stored_columns(model: ServedModel) -> tuple[str, ...]:
    """Columns that are read of a store, in order, for a series of the model."""
    from earmark.models.sequence.levels import level_columns
    from earmark.orderbook.catalog import FEATURE_NAMES
    from earmark.orderbook.views import VIEWS

    if model.reads_levels:
        return level_columns(model.levels)
    return FEATURE_NAMES if model.view == "v1_187" else VIEWS[model.view]


def series_of(
    model: ServedModel,
    symbol: str,
    time_ms: npt.NDArray[np.int64],
    stored: npt.NDArray[np.float32],
    price: npt.NDArray[np.float64],
    starts_anew: npt.NDArray[np.bool_] | None = None,
) -> SeriesTable:
    """Rows of one symbol with the columns of the model, labels unknown.

    Parameters
    ----------
    model : ServedModel
    symbol : str
    time_ms : ndarray of int64, shape (n,)
        Ascending.
    stored : ndarray of float32, shape (n, len(stored_columns(model)))
    price : ndarray of float64, shape (n,)
    starts_anew : ndarray of bool, shape (n,), optional
        As of `SeriesTable`.
    """
    from earmark.orderbook.lagged import lagged_and_derived
    from earmark.orderbook.views import VIEWS

    names = stored_columns(model)
    if model.view == "v1_187":
        one = np.zeros(len(time_ms), np.int32)
        stored = np.hstack([stored, lagged_and_derived(stored, one, time_ms, interval_ms=model.interval_ms)])
        names = VIEWS[model.view]
    place = {name: index for index, name in enumerate(names)}
    wanted = [place[name] for name in model.columns]
    X = stored if wanted == list(range(stored.shape[1])) else stored[:, wanted]
    n = len(time_ms)
    return SeriesTable(
        symbols=(symbol,),
        symbol=np.zeros(n, np.int32),
        time_ms=time_ms,
        X=X,
        columns=model.columns,
        y=np.full(n, -1, np.int8),
        movement=np.full(n, np.nan, np.float32),
        label_end_ms=time_ms + 1000 * model.horizon_s,
        price=price,
        interval_ms=model.interval_ms,
        starts_anew=starts_anew,
    )


def joined_series(tables: Sequence[SeriesTable]) -> SeriesTable:
    """Series of one view and different symbols, in the order of their names, as one."""
    code = np.concatenate([np.full(len(table), index, np.int32) for index, table in enumerate(tables)])
    fields = ["time_ms", "X", "y", "movement", "label_end_ms", "price"]
    fields += ["starts_anew"] * (tables[0].starts_anew is not None)
    joined = {name: np.concatenate([getattr(table, name) for table in tables]) for name in fields}
    names = tuple(name for table in tables for name in table.symbols)
    return SeriesTable(
        symbols=names, symbol=code, columns=tables[0].columns, interval_ms=tables[0].interval_ms, **joined
    )


class Histories:
    """The newest rows of each symbol, as many as an answer may depend on."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self._rows: dict[str, deque[tuple[int, npt.NDArray[np.float32], float, bool]]] = {}

    def push(self, observed: Iterable[Observed]) -> None:
        """Add rows in order of time; one that is not newer than the last of its symbol changes nothing."""
        for one in observed:
            rows = self._rows.setdefault(one.symbol, deque(maxlen=self.model.history_rows))
            if not rows or one.book_ms > rows[-1][0]:
                rows.append((one.book_ms, self._values(one), one.mid, getattr(one, "starts_anew", False)))

    def newest(self, symbols: Iterable[str]) -> tuple[SeriesTable, npt.NDArray[np.int64]]:
        """Series of the symbols, and the place of each one's newest row in it."""
        tables = [self._series(symbol) for symbol in sorted(set(symbols))]
        ends = np.cumsum([len(table) for table in tables]) - 1
        return joined_series(tables), ends.astype(np.int64)

    def _values(self, one: Observed) -> npt.NDArray[np.float32]:
        if isinstance(one, LevelRow):
            return one.levels
        return one.features_v2 if self.model.view == "v2" else one.features

    def _series(self, symbol: str) -> SeriesTable:
        times, values, prices, marks = zip(*self._rows[symbol], strict=True)
        return series_of(
            self.model,
            symbol,
            np.array(times, np.int64),
            np.stack(values),
            np.array(prices, np.float64),
            np.array(marks, np.bool_) if self.model.reads_levels else None,
        )
