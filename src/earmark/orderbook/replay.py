"""Features computed again from recorded rows: the same engine, the same bits as live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from earmark.orderbook.catalog import FEATURE_NAMES, V2_NAMES
from earmark.orderbook.engine import FeatureEngine
from earmark.orderbook.events import BestQuote, Candle, Trade
from earmark.orderbook.state import STEP_MS, BookState

__all__ = ["Replayed", "replay"]

Row = TypeVar("Row", Trade, Candle, BestQuote)


@dataclass(frozen=True, eq=False)
class Replayed:
    """Rows of one symbol at its ticks.

    Attributes
    ----------
    time_ms, closed_ns : ndarray of int64, shape (n,)
        Of the states.
    event_ms : ndarray of int64, shape (n,)
        Time of the newest update in the book.
    features : ndarray of float32, shape (n, 112)
    v2 : ndarray of float32, shape (n, len(V2_NAMES)), or (n, 0) when not asked for
    ready : ndarray of bool, shape (n,)
        Whether a sample may be taken.
    """

    time_ms: npt.NDArray[np.int64]
    closed_ns: npt.NDArray[np.int64]
    event_ms: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]
    v2: npt.NDArray[np.float32]
    ready: npt.NDArray[np.bool_]


class Feed(Generic[Row]):
    """Rows given to an engine up to a time of receipt."""

    def __init__(self, rows: Iterable[Row], give: Callable[[Row], None]) -> None:
        self._rows: Iterator[Row] = iter(sorted(rows, key=attrgetter("received_ns")))
        self._give: Callable[[Row], None] = give
        self._next: Row | None = next(self._rows, None)

    def advance(self, closed_ns: int) -> None:
        """Give all that was received by then."""
        while self._next is not None and self._next.received_ns <= closed_ns:
            self._give(self._next)
            self._next = next(self._rows, None)


def replay(
    states: Iterable[BookState],
    trades: Iterable[Trade] = (),
    candles: Iterable[Candle] = (),
    quotes: Iterable[BestQuote] = (),
    *,
    symbol: str = "",
    interval_ms: int = STEP_MS,
    with_v2: bool = True,
    trade_rate_proxy: bool = False,
) -> Replayed:
    """Features of recorded rows of one symbol.

    Parameters
    ----------
    states : iterable of BookState
        In order of time; every tick is stepped through.
    trades, candles, quotes : iterables
        In any order: rows are used by the time of their receipt.
    symbol : str
        For messages.
    interval_ms : int, default 3000
        Ticks at multiples of it give a row: 30 000 for samples.
    with_v2 : bool, default True
        Whether the dimensionless set is computed too.
    trade_rate_proxy : bool, default False
        As of the engine.

    Raises
    ------
    UsageError
        States are not in order of time.
    """
    engine = FeatureEngine(symbol, trade_rate_proxy=trade_rate_proxy)
    feeds: tuple[Feed[Trade], Feed[Candle], Feed[BestQuote]] = (
        Feed(trades, engine.add_trade),
        Feed(candles, engine.add_candle),
        Feed(quotes, engine.add_quote),
    )
    times: list[tuple[int, int, int]] = []
    features: list[npt.NDArray[np.float32]] = []
    v2: list[npt.NDArray[np.float32]] = []
    ready: list[bool] = []
    for state in states:
        for feed in feeds:
            feed.advance(state.closed_ns)
        engine.step(state)
        if state.time_ms % interval_ms:
            continue
        times.append((state.time_ms, state.closed_ns, state.event_ms))
        features.append(engine.features())
        ready.append(engine.not_ready() is None)
        if with_v2:
            v2.append(engine.features_v2())
    stamps = np.array(times, np.int64).reshape(-1, 3)
    return Replayed(
        time_ms=stamps[:, 0],
        closed_ns=stamps[:, 1],
        event_ms=stamps[:, 2],
        features=np.array(features, np.float32).reshape(-1, len(FEATURE_NAMES)),
        v2=np.array(v2, np.float32).reshape(len(times), len(V2_NAMES) if with_v2 else 0),
        ready=np.array(ready, np.bool_),
    )
