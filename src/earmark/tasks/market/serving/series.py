"""Sample rows as series: the columns that a model reads, from rows as they are stored or as they happen."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from earmark.data.windows import SeriesTable
from earmark.tasks.market.serving.model import ServedModel

__all__ = ["Histories", "Row", "Sampled", "joined_series", "series_of"]


class Sampled(Protocol):
    """What is needed of a sample, live or recorded."""

    @property
    def symbol(self) -> str: ...
    @property
    def time_ms(self) -> int: ...
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
    time_ms: int
    features: npt.NDArray[np.float32]
    features_v2: npt.NDArray[np.float32]
    mid: float


def series_of(
    model: ServedModel,
    symbol: str,
    time_ms: npt.NDArray[np.int64],
    stored: npt.NDArray[np.float32],
    price: npt.NDArray[np.float64],
) -> SeriesTable:
    """Rows of one symbol with the columns of the model, labels unknown.

    Parameters
    ----------
    model : ServedModel
    symbol : str
    time_ms : ndarray of int64, shape (n,)
        Ascending.
    stored : ndarray of float32
        Shape (n, 112); for the view ``v2`` its own width.
    price : ndarray of float64, shape (n,)
    """
    from earmark.orderbook.lagged import lagged_and_derived
    from earmark.orderbook.views import VIEWS

    if model.view == "v1_187":
        one = np.zeros(len(time_ms), np.int32)
        stored = np.hstack([stored, lagged_and_derived(stored, one, time_ms, interval_ms=model.interval_ms)])
    place = {name: index for index, name in enumerate(VIEWS[model.view])}
    wanted = [place[name] for name in model.columns]
    X = stored if wanted == list(range(stored.shape[1])) else stored[:, wanted]
    return _unlabelled(model, (symbol,), np.zeros(len(time_ms), np.int32), time_ms, X, price)


def joined_series(tables: Sequence[SeriesTable]) -> SeriesTable:
    """Series of different symbols, in the order of their names, as one."""
    code = np.concatenate([np.full(len(table), index, np.int32) for index, table in enumerate(tables)])
    fields = ("time_ms", "X", "y", "movement", "label_end_ms", "price")
    joined = {name: np.concatenate([getattr(table, name) for table in tables]) for name in fields}
    names = tuple(name for table in tables for name in table.symbols)
    return SeriesTable(
        symbols=names, symbol=code, columns=tables[0].columns, interval_ms=tables[0].interval_ms, **joined
    )


def _unlabelled(
    model: ServedModel,
    symbols: tuple[str, ...],
    symbol: npt.NDArray[np.int32],
    time_ms: npt.NDArray[np.int64],
    X: npt.NDArray[np.float32],
    price: npt.NDArray[np.float64],
) -> SeriesTable:
    n = len(time_ms)
    return SeriesTable(
        symbols=symbols,
        symbol=symbol,
        time_ms=time_ms,
        X=X,
        columns=model.columns,
        y=np.full(n, -1, np.int8),
        movement=np.full(n, np.nan, np.float32),
        label_end_ms=time_ms + 1000 * model.horizon_s,
        price=price,
        interval_ms=model.interval_ms,
    )


class Histories:
    """The newest rows of each symbol, as many as an answer may depend on."""

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self._rows: dict[str, deque[tuple[int, npt.NDArray[np.float32], float]]] = {}

    def push(self, samples: Iterable[Sampled]) -> None:
        """Add rows in order of time; one that is not newer than the last of its symbol changes nothing."""
        is_v2 = self.model.view == "v2"
        for sample in samples:
            rows = self._rows.setdefault(sample.symbol, deque(maxlen=self.model.history_rows))
            if not rows or sample.time_ms > rows[-1][0]:
                rows.append((sample.time_ms, sample.features_v2 if is_v2 else sample.features, sample.mid))

    def newest(self, symbols: Iterable[str]) -> tuple[SeriesTable, npt.NDArray[np.int64]]:
        """Series of the symbols, and the place of each one's newest row in it."""
        tables = [self._series(symbol) for symbol in sorted(set(symbols))]
        ends = np.cumsum([len(table) for table in tables]) - 1
        return joined_series(tables), ends.astype(np.int64)

    def _series(self, symbol: str) -> SeriesTable:
        times, values, prices = zip(*self._rows[symbol], strict=True)
        return series_of(
            self.model, symbol, np.array(times, np.int64), np.stack(values), np.array(prices, np.float64)
        )
