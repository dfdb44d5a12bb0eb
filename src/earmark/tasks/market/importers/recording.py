"""A recorded market of one symbol: its books, trades and candles, as tables and as events.

Conventions: `time_ns` is the source's own time in nanoseconds since 1970 UTC at which a row was known; it stands for
the time of the exchange and for that of receipt. Prices are in quote currency, quantities in base units. A level that
is not there has the price NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from earmark.errors import InputError
from earmark.orderbook.book import RESTART_ID
from earmark.orderbook.events import BookUpdate, Candle, Event, Levels, Trade
from earmark.tasks.market.importers.candles import (
    MAX_FILL_MINUTES,
    MINUTE_MS,
    minute_candles,
    price_bars,
)

__all__ = ["TRADE_SCHEMA", "BookRows", "Recording", "make_recording"]

TRADE_SCHEMA = {"time_ns": pl.Int64, "price": pl.Float64, "quantity": pl.Float64, "is_buy": pl.Boolean}

UNKNOWN_QUANTITY = 1.0
"""Stands in the books of a source without quantities, where 0 would mean that the level is gone."""

NS_PER_MS = 1_000_000
BLOCK_ROWS = 4_096

SESSION_BREAK_NS = MAX_FILL_MINUTES * MINUTE_MS * NS_PER_MS
"""After so long a silence the next book is a snapshot: another session."""


@dataclass(frozen=True, eq=False)
class BookRows:
    """Whole books in order of time.

    Attributes
    ----------
    time_ns : ndarray of int64, shape (n,)
    bids, asks : ndarray of float64, shape (n, n_levels, 2)
        Price and quantity, best first; NaN where a level is absent.
    """

    time_ns: npt.NDArray[np.int64]
    bids: npt.NDArray[np.float64]
    asks: npt.NDArray[np.float64]

    @classmethod
    def make(cls, time_ns: npt.ArrayLike, bids: npt.ArrayLike, asks: npt.ArrayLike) -> BookRows:
        """Sort by time (rows of one time keep their order); a level without price or quantity becomes absent."""
        times = np.asarray(time_ns, dtype=np.int64)
        order = np.argsort(times, kind="stable")
        sides = [np.asarray(side, dtype=np.float64)[order] for side in (bids, asks)]
        for side in sides:
            side[~((side > 0) & np.isfinite(side)).all(axis=2)] = np.nan
        return cls(times[order], *sides)

    @classmethod
    def joined(cls, parts: Sequence[BookRows]) -> BookRows:
        """The rows of several files with the same number of levels."""
        times = np.concatenate([part.time_ns for part in parts])
        sides = (np.concatenate([getattr(part, side) for part in parts]) for side in ("bids", "asks"))
        return cls.make(times, *sides)

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def n_levels(self) -> int:
        """Levels of a side."""
        return int(self.bids.shape[1])

    def rows(self) -> Iterator[tuple[int, list[list[float]], list[list[float]]]]:
        """Time, bids and asks of each book as plain numbers, a block of rows converted at a time."""
        for start in range(0, len(self), BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            yield from zip(
                self.time_ns[block].tolist(),
                self.bids[block].tolist(),
                self.asks[block].tolist(),
                strict=True,
            )

    def uncrossed(self) -> BookRows:
        """Without the books whose best bid is not below the best ask: they have no mid that means anything."""
        kept = ~(self.bids[:, 0, 0] >= self.asks[:, 0, 0])
        return BookRows(self.time_ns[kept], self.bids[kept], self.asks[kept])


@dataclass(frozen=True, eq=False)
class Recording:
    """What a source tells of one symbol.

    Attributes
    ----------
    symbol : str
    source : str
        Kind and resolution, such as "lean equity usa second".
    books : BookRows
        None of them crossed or locked.
    trades : DataFrame
        Columns of `TRADE_SCHEMA`, in order of time; `is_buy` null where the source does not tell the taker's side.
    candles : DataFrame
        Closed one-minute candles: `start_ms`, `open`, `high`, `low`, `close`, `volume`, `turnover`.
    candle_source : str
        "trades", or "mids" of a source without trades: volumes are 0 then.
    has_quantities : bool
        False: quantities in books are `UNKNOWN_QUANTITY`, and features of quantity mean nothing.
    notes : tuple of str
        What a user of the numbers should know.
    """

    symbol: str
    source: str
    books: BookRows
    trades: pl.DataFrame
    candles: pl.DataFrame
    candle_source: str
    has_quantities: bool
    notes: tuple[str, ...] = ()

    @property
    def n_levels(self) -> int:
        """Levels of a side of the book."""
        return self.books.n_levels

    def quotes(self) -> pl.DataFrame:
        """The best prices as a table with the fields of `BestQuote`; quantities are NaN if unknown.

        Books without both sides are left out.
        """
        bids, asks = self.books.bids[:, 0], self.books.asks[:, 0]
        quantity = 1.0 if self.has_quantities else np.nan
        table = pl.DataFrame(
            {
                "time_ms": self.books.time_ns // NS_PER_MS,
                "bid": bids[:, 0],
                "bid_quantity": bids[:, 1] * quantity,
                "ask": asks[:, 0],
                "ask_quantity": asks[:, 1] * quantity,
                "received_ns": self.books.time_ns,
            }
        )
        both = table.filter(pl.col("bid").is_not_nan() & pl.col("ask").is_not_nan())
        return both.select(pl.lit(self.symbol).alias("symbol"), pl.all())

    def events(self) -> Iterator[Event]:
        """Trades, closed candles and updates of the book, in order of time, in that order at one time.

        A session begins with a snapshot and counts its updates anew; from one book to the next goes the difference,
        as a venue sends it. So a book that applies the updates equals each row, and nothing looks like a lost
        connection.
        """
        closed_ns = (self.candles["start_ms"].to_numpy() + MINUTE_MS) * NS_PER_MS
        streams = [self._trades(), self._candles(), self._books()]
        times = [self.trades["time_ns"].to_numpy(), closed_ns, self.books.time_ns]
        stream = np.repeat(np.arange(len(times)), [len(part) for part in times])
        for position in stream[np.argsort(np.concatenate(times), kind="stable")].tolist():
            yield next(streams[position])

    def _trades(self) -> Iterator[Event]:
        identities = _trade_ids(self.trades["time_ns"].to_numpy())
        for identity, (time_ns, price, quantity, is_buy) in zip(
            identities, self.trades.iter_rows(), strict=True
        ):
            yield Trade(self.symbol, time_ns // NS_PER_MS, price, quantity, is_buy, identity, time_ns)

    def _candles(self) -> Iterator[Event]:
        for row in self.candles.iter_rows(named=True):
            received_ns = (row["start_ms"] + MINUTE_MS) * NS_PER_MS
            yield Candle(symbol=self.symbol, is_closed=True, received_ns=received_ns, **row)

    def _books(self) -> Iterator[Event]:
        before_ns, update_id = -SESSION_BREAK_NS - 1, 0
        before: list[dict[float, float]] = [{}, {}]
        for time_ns, *sides in self.books.rows():
            now = [_by_price(side) for side in sides]
            is_snapshot = time_ns - before_ns > SESSION_BREAK_NS
            update_id = RESTART_ID if is_snapshot else update_id + 1
            bids, asks = (_changes({} if is_snapshot else a, b) for a, b in zip(before, now, strict=True))
            time_ms = time_ns // NS_PER_MS
            yield BookUpdate(self.symbol, is_snapshot, bids, asks, update_id, 0, time_ms, time_ms, time_ns)
            before_ns, before = time_ns, now


def make_recording(
    symbol: str,
    source: str,
    books: BookRows,
    trades: pl.DataFrame,
    *,
    bars: pl.DataFrame | None = None,
    has_quantities: bool = True,
    notes: Sequence[str] = (),
) -> Recording:
    """Aggregate the candles, of the `bars` if the source has them, else of its trades, else of its mids.

    Raises
    ------
    InputError
        There is no book at all: nothing could be predicted.
    """
    usable = books.uncrossed()
    if not len(usable):
        raise InputError(
            f"{source}: no uncrossed book of {symbol} was found; quotes or depth beside the trades are needed"
        )
    if bars is None and trades.height:
        bars = price_bars(trades["time_ns"] // NS_PER_MS, trades["price"], trades["quantity"])
    candle_source = "mids" if bars is None else "trades"
    candles = minute_candles(_mid_bars(usable) if bars is None else bars, _end_ms(usable, trades))
    said = [*notes]
    if bars is None:
        said.append("candles are made of mids: the source has no trades, volumes are 0")
    if not has_quantities:
        said.append(f"quantities are unknown and stand as {UNKNOWN_QUANTITY:g} in the books")
    if n_crossed := len(books) - len(usable):
        said.append(f"{n_crossed} of {len(books)} books were crossed or locked and are left out")
    return Recording(symbol, source, usable, trades, candles, candle_source, has_quantities, tuple(said))


def _mid_bars(books: BookRows) -> pl.DataFrame:
    mid = (books.bids[:, 0, 0] + books.asks[:, 0, 0]) / 2
    is_known = ~np.isnan(mid)
    return price_bars(pl.Series(books.time_ns[is_known] // NS_PER_MS), pl.Series(mid[is_known]))


def _end_ms(books: BookRows, trades: pl.DataFrame) -> int:
    last_trade = int(trades["time_ns"][-1]) if trades.height else 0
    return max(int(books.time_ns[-1]), last_trade) // NS_PER_MS


def _trade_ids(time_ns: npt.NDArray[Any]) -> list[str]:
    """Time and place among the trades of that time: the same however much of the source is read at once."""
    starts = np.flatnonzero(np.diff(time_ns, prepend=time_ns[:1] - 1))
    place = np.arange(len(time_ns)) - np.repeat(starts, np.diff(starts, append=len(time_ns)))
    return [f"{time}-{number}" for time, number in zip(time_ns.tolist(), place.tolist(), strict=True)]


def _by_price(levels: list[list[float]]) -> dict[float, float]:
    return {price: quantity for price, quantity in levels if not isnan(price)}


def _changes(before: dict[float, float], after: dict[float, float]) -> Levels:
    """What turns one side into another: levels that are new or differ, and quantity 0 for those that went."""
    changed = [level for level in after.items() if before.get(level[0]) != level[1]]
    gone = [(price, 0.0) for price in before if price not in after]
    return np.array(gone + changed, dtype=np.float64).reshape(-1, 2)
