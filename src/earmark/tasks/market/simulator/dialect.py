"""How a venue's wire looks from the exchange's side: topics, requests, frames and answers to REST requests.

A dialect is stateless and knows no sockets. Prices and quantities reach it as exact text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from earmark.orderbook.events import BookUpdate, Candle, Levels, Trade
from earmark.tasks.market.simulator.channel import BookMessage
from earmark.tasks.market.simulator.ledger import Tally
from earmark.tasks.market.simulator.market import CandleRow, Fill, SyntheticMarket
from earmark.tasks.market.venues.base import Instrument, Venue

__all__ = [
    "NEVER_MS",
    "Dialect",
    "Frame",
    "Request",
    "RestSource",
    "Topic",
    "decimal_text",
    "level_texts",
    "rows_of",
    "scaled_text",
]

NEVER_MS = 2**53
"""When a source has nothing more to send."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a client subscribes to; `depth` counts for books alone."""

    symbol: str
    kind: Literal["book", "trades", "candles"]
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Frame:
    """Text for every socket that subscribed `topic`, and what it counts as."""

    topic: Topic
    text: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent: `args` are topics as the venue writes them."""

    operation: Literal["subscribe", "unsubscribe", "ping", "pong"]
    request_id: str = ""
    args: tuple[str, ...] = ()


class RestSource(Protocol):
    """What REST answers are made of, as events."""

    symbols: tuple[str, ...]

    def candles(self, symbol: str) -> list[Candle]:
        """Closed ones, oldest first, and the forming one."""

    def book(self, symbol: str, depth: int) -> BookUpdate:
        """The book, best first."""

    def trades(self, symbol: str) -> list[Trade]:
        """The newest, oldest first."""

    def instruments(self) -> list[Instrument]:
        """One per symbol."""


class Dialect(Protocol):
    """One venue's wire."""

    @property
    def socket_paths(self) -> tuple[str, ...]:
        """Where sockets are opened."""

    @property
    def opens_with_snapshot(self) -> bool:
        """Whether a new subscriber of a book gets a snapshot on the socket."""

    @property
    def server_ping(self) -> str:
        """A ping of the server; "" where it has none of its own."""

    def venue(self, host: str) -> Venue:
        """The client's side, for the exchange at ``host:port``."""

    def read(self, text: str) -> Request:
        """A request; ValueError for anything else."""

    def topic(self, arg: str) -> Topic:
        """What `arg` asks for; ValueError for what the venue does not have."""

    def accept(self, request: Request) -> str:
        """The answer to a request that is granted."""

    def refuse(self, request: Request, reason: str) -> str:
        """The answer to one that is not."""

    def book(self, topic: Topic, message: BookMessage, market: SyntheticMarket, sent_ms: int) -> str:
        """A book message."""

    def snapshot(self, topic: Topic, book: BookUpdate) -> str:
        """A snapshot message of a book given as an event."""

    def trades(self, fills: Sequence[Fill], market: SyntheticMarket, sent_ms: int) -> list[tuple[str, Tally]]:
        """Messages of one step's trades."""

    def candle(self, row: CandleRow, is_closed: bool, market: SyntheticMarket, sent_ms: int) -> str:
        """A candle message."""

    def trade_id(self, symbol: str, number: int) -> str:
        """As clients see it."""

    def rest(self) -> Mapping[str, Callable[[RestSource, Mapping[str, str], int], tuple[int, Any]]]:
        """Path -> ``answer(source, parameters, now_ns) -> (status, payload)``."""

    def rest_error(self) -> tuple[int, Any]:
        """The answer of a venue that is busy, in its own form."""


def scaled_text(amount: int, decimals: int) -> str:
    """``amount / 10**decimals`` as exact decimal text."""
    if not decimals:
        return str(amount)
    digits = str(amount).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def decimal_text(value: float) -> str:
    """A float as decimal text without an exponent."""
    text = f"{value:.10f}".rstrip("0")
    return text.removesuffix(".")


def rows_of(levels: Levels) -> list[list[str]]:
    """Levels as pairs of text."""
    return [[decimal_text(number) for number in row] for row in levels.tolist()]


def level_texts(message: BookMessage, market: SyntheticMarket) -> tuple[str, str]:
    """Both sides of a message, best first, as the inside of JSON arrays: ``["price","quantity"],...``."""
    bids, asks = sorted(message.bids.items(), reverse=True), sorted(message.asks.items())
    return _level_text(bids, market), _level_text(asks, market)


def _level_text(rows: Sequence[tuple[int, int]], market: SyntheticMarket) -> str:
    price, quantity = market.price_decimals, market.quantity_decimals
    return ",".join(
        f'["{scaled_text(tick, price)}","{scaled_text(lots, quantity) if lots else "0"}"]'
        for tick, lots in rows
    )
