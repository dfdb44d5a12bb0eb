"""A plain client of an exchange for tests: what arrived, and a book by dictionary."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import aiohttp
import numpy as np

from earmark.orderbook.book import Applied, OrderBook
from earmark.orderbook.events import BookUpdate, Candle, Trade
from earmark.tasks.market.venues.base import Control, MessageError, Venue


class NaiveBook:
    def __init__(self) -> None:
        self.sides: tuple[dict[float, float], dict[float, float]] = ({}, {})
        self.update_id = 0

    def apply(self, update: BookUpdate) -> None:
        for side, rows in zip(self.sides, (update.bids, update.asks), strict=True):
            if update.is_snapshot:
                side.clear()
            for price, quantity in rows.tolist():
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.update_id = update.update_id

    @property
    def is_crossed(self) -> bool:
        return max(self.sides[0]) >= min(self.sides[1])


@dataclass
class Heard:
    texts: list[str] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    books: list[BookUpdate] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    candles: list[Candle] = field(default_factory=list)
    n_malformed: int = 0

    def take(self, venue: Venue, text: str) -> None:
        self.texts.append(text)
        try:
            parsed = venue.parse(text, 0)
        except MessageError:
            self.n_malformed += 1
            return
        if isinstance(parsed, Control):
            self.texts.pop()
            self.controls.append(parsed)
            return
        for event in parsed:
            kept = {BookUpdate: self.books, Trade: self.trades, Candle: self.candles}[type(event)]
            kept.append(event)

    def gaps(self) -> list[tuple[int, int]]:
        """Updates that do not follow the one before: (id before, id)."""
        pairs = zip(self.books, self.books[1:], strict=False)
        return [(one.update_id, two.update_id) for one, two in pairs if not follows(one.update_id, two)]


def follows(update_id: int, update: BookUpdate) -> bool:
    """Whether a book whose last delta was `update_id` takes `update` as one without loss."""
    none = np.empty((0, 2))
    book = OrderBook(update.symbol)
    start = BookUpdate(update.symbol, True, none, none, update_id - 1, 0, 0, 0, 0)
    book.apply(start)
    book.apply(replace(start, is_snapshot=False, update_id=update_id, previous_update_id=update_id - 1))
    return update.is_snapshot or book.apply(update) is Applied.APPLIED


def without_loss(updates: Iterable[BookUpdate], symbol: str) -> bool:
    """Whether a book takes them all; one that repeats what is there is no loss."""
    book = OrderBook(symbol, 1000)
    return {book.apply(update) for update in updates} <= {Applied.SNAPSHOT, Applied.APPLIED, Applied.STALE}


async def listen(venue: Venue, symbols: list[str], *, depth: int = 200, seconds: float = 60.0) -> Heard:
    """All that sockets bring until they close or `seconds` have passed; server pings are answered."""
    heard = Heard()
    async with aiohttp.ClientSession() as session:
        sockets = [_listen(session, venue, c.url, c.topics, heard) for c in venue.connections(symbols, depth)]
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*sockets)
        except TimeoutError:
            pass
    return heard


async def _listen(session, venue, url, topics, heard):
    async with session.ws_connect(url) as socket:
        await socket.send_str(venue.subscribe_message(topics, "test"))
        async for message in socket:
            heard.take(venue, message.data)
            if heard.controls and heard.controls[-1].kind == "ping":
                await socket.send_str(heard.controls.pop().reply)
                heard.controls.append(Control("notice", message="pinged"))
