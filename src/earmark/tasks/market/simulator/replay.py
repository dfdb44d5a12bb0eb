"""A recording as the source of a simulated exchange: the same text, at the recorded distances.

Messages keep their times; the exchange's clock starts at that of the first message. What REST is asked is answered
from the header and from what has been replayed so far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from dataclasses import replace
from pathlib import Path

import numpy as np

from earmark.errors import InputError
from earmark.orderbook.events import BookUpdate, Candle, Event, Levels, Trade
from earmark.tasks.market.simulator.dialect import NEVER_MS, Dialect, Frame, Topic
from earmark.tasks.market.simulator.faults import Fault
from earmark.tasks.market.simulator.ledger import Kind, Ledger, Tally
from earmark.tasks.market.simulator.recording import read_recording
from earmark.tasks.market.venues.base import Control, Instrument, MessageError, Venue

__all__ = ["ReplaySource"]

_KEPT_TRADES = 1_000


class ReplaySource:
    """Frames of the recording at `path`, which `venue` can parse."""

    def __init__(self, path: Path, venue: Venue, dialect: Dialect, ledger: Ledger) -> None:
        self._header, self._messages = read_recording(path)
        if self._header.venue != venue.name:
            raise InputError(
                f"`{path}` was recorded at {self._header.venue}. Replay it as that venue, not {venue.name}."
            )
        self.symbols = self._header.symbols
        self._venue, self._dialect, self._ledger = venue, dialect, ledger
        self._books: dict[str, _Book] = {}
        self._candles = {
            symbol: {candle.start_ms: candle for candle in rows}
            for symbol, rows in self._header.candles.items()
        }
        self._trades = {symbol: deque[Trade](maxlen=_KEPT_TRADES) for symbol in self.symbols}
        self._next = next(self._messages, None)

    @property
    def next_ms(self) -> int:
        """Receipt time of the next message."""
        return NEVER_MS if self._next is None else self._next[0] // 1_000_000

    def advance(self, wanted: Container[Topic]) -> list[Frame]:
        """The messages of one millisecond."""
        now_ms, frames = self.next_ms, []
        while self._next is not None and self.next_ms == now_ms:
            frame = self._frame(self._next[1])
            if frame is not None and frame.topic in wanted:
                frames.append(frame)
            self._next = next(self._messages, None)
        return frames

    def opening(self, topic: Topic) -> list[Frame]:
        """A snapshot for a subscriber who comes after the first one of the recording."""
        book = self._books.get(topic.symbol)
        if topic.kind != "book" or book is None or not self._dialect.opens_with_snapshot:
            return []
        update = book.snapshot(topic.depth)
        tally = Tally(topic.symbol, "book_snapshot", len(update.bids) + len(update.asks))
        return [Frame(topic, self._dialect.snapshot(topic, update), tally)]

    def inject(self, fault: Fault) -> bool:
        """False: what was recorded stays as it is."""
        return False

    def candles(self, symbol: str) -> list[Candle]:
        """Those before the recording and those replayed."""
        return [candle for _, candle in sorted(self._candles[symbol].items())]

    def book(self, symbol: str, depth: int) -> BookUpdate:
        """The book after the messages replayed so far."""
        if symbol not in self._books:
            raise LookupError(f"the recording has no book of {symbol} yet")
        return self._books[symbol].snapshot(depth)

    def trades(self, symbol: str) -> list[Trade]:
        """The newest thousand replayed."""
        return list(self._trades[symbol])

    def instruments(self) -> list[Instrument]:
        """As recorded."""
        return self._header.instruments

    def _frame(self, text: str) -> Frame | None:
        """`text` with its topic; None for what is of no topic, as half a message."""
        try:
            events = self._venue.parse(text, 0)
        except MessageError:
            return None
        if isinstance(events, Control) or not events:
            return None
        for event in events:
            self._keep(event)
        return Frame(self._topic(events[0]), text, _tally(events))

    def _topic(self, event: Event) -> Topic:
        if isinstance(event, BookUpdate):
            return Topic(event.symbol, "book", self._header.depth)
        return Topic(event.symbol, "trades" if isinstance(event, Trade) else "candles")

    def _keep(self, event: Event) -> None:
        if isinstance(event, BookUpdate):
            self._books.setdefault(event.symbol, _Book()).apply(event)
        elif isinstance(event, Trade):
            self._ledger.made(event.symbol, "trades")
            self._trades[event.symbol].append(event)
        else:
            self._candles[event.symbol][event.start_ms] = event


class _Book:
    """Price -> quantity of both sides, and the last update."""

    def __init__(self) -> None:
        self._bids: dict[float, float] = {}
        self._asks: dict[float, float] = {}

    def apply(self, update: BookUpdate) -> None:
        self._last = update
        for side, rows in ((self._bids, update.bids), (self._asks, update.asks)):
            if update.is_snapshot:
                side.clear()
            side.update(map(tuple, rows.tolist()))
            for price in [price for price, quantity in rows.tolist() if not quantity]:
                del side[price]

    def snapshot(self, depth: int) -> BookUpdate:
        bids = _levels(sorted(self._bids.items(), reverse=True)[:depth])
        asks = _levels(sorted(self._asks.items())[:depth])
        return replace(self._last, is_snapshot=True, bids=bids, asks=asks)


def _levels(rows: list[tuple[float, float]]) -> Levels:
    return np.asarray(rows, np.float64).reshape(-1, 2)


def _tally(events: list[Event]) -> Tally:
    first = events[0]
    if isinstance(first, BookUpdate):
        kind: Kind = "book_snapshot" if first.is_snapshot else "book_delta"
        return Tally(first.symbol, kind, len(first.bids) + len(first.asks))
    if isinstance(first, Trade):
        return Tally(first.symbol, "trade", len(events))
    return Tally(first.symbol, "candle_closed" if first.is_closed else "candle_forming")
