"""Binance USD-M futures, public streams.

The socket sends deltas of the whole book alone, each with the ids of its first and last update (``U``, ``u``) and the
last of the message before (``pu``); the book starts with a REST snapshot (`earmark.tasks.market.venues.joining`).
``E`` is when a message was sent, ``T`` is the matching engine's time. Trades are aggregated (``aggTrade``): fills of
one taker order at one price are one event; ``m`` tells that the buyer was the maker, so the taker sold.

Since April 2026 books are served under ``/public`` and trades and candles under ``/market``: two sockets per group.
The server pings with WebSocket control frames, which the client library answers.

References: Binance developer documentation, "USDS-Margined Futures", WebSocket Market Streams and Market Data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError
from earmark.orderbook.events import BookUpdate, Candle, Event, Trade
from earmark.tasks.market.venues.base import (
    POLICIES,
    Connection,
    Control,
    MessageError,
    Parsed,
    Policies,
    groups_of,
    head_of,
)
from earmark.tasks.market.venues.fields import FIELD_ERRORS, check_candle, levels, non_negative, positive

if TYPE_CHECKING:
    import aiohttp

    from earmark.tasks.market.venues.binance_rest import BinanceRest

__all__ = ["MAX_DEPTH", "Binance", "candle_of_row"]

MAX_DEPTH = 1000
"""Levels per side of the largest REST snapshot; deltas are of the whole book."""

_SOCKET, _REST = "wss://fstream.binance.com", "https://fapi.binance.com"
_TEST_SOCKET, _TEST_REST = "wss://fstream.binancefuture.com", "https://testnet.binancefuture.com"


@dataclass(frozen=True)
class Binance:
    """The venue; see `earmark.tasks.market.venues.base.Venue`. `websocket_url` is without ``/public/ws``."""

    websocket_url: str = _SOCKET
    rest_url: str = _REST
    name: str = "binance"
    symbols_per_connection: int = 10
    ping_interval_s: float | None = None
    timeout_s: float = 30.0
    snapshot_by_rest: bool = True

    @classmethod
    def at(
        cls, *, testnet: bool = False, websocket_url: str | None = None, rest_url: str | None = None
    ) -> Binance:
        """The venue at its own addresses or at those given."""
        own = (_TEST_SOCKET, _TEST_REST) if testnet else (_SOCKET, _REST)
        return cls(websocket_url or own[0], rest_url or own[1])

    def check_depth(self, depth: int) -> int:
        """Any depth that a REST snapshot can start."""
        if 1 <= depth <= MAX_DEPTH:
            return depth
        raise UsageError(f"an order book of depth {depth} is not offered; depths are 1 to {MAX_DEPTH}.")

    def kept_depth(self, depth: int) -> int:
        """As many as a snapshot has: a level that is quiet is not told again when the price comes near it."""
        return MAX_DEPTH

    def subscriptions(self, symbols: Sequence[str], depth: int) -> list[str]:
        """Three streams per symbol."""
        self.check_depth(depth)
        names = [group[0].lower() for group in groups_of(symbols, 1)]
        return [stream for name in names for stream in (_book_stream(name), *_market_streams(name))]

    def connections(self, symbols: Sequence[str], depth: int) -> list[Connection]:
        """Two sockets for ten symbols: books, and trades with candles."""
        self.check_depth(depth)
        base, found = self.websocket_url.rstrip("/"), []
        for group in groups_of(symbols, self.symbols_per_connection):
            names = [symbol.lower() for symbol in group]
            books = tuple(_book_stream(name) for name in names)
            others = tuple(stream for name in names for stream in _market_streams(name))
            found += [
                Connection(f"{base}/public/ws", group, books),
                Connection(f"{base}/market/ws", group, others),
            ]
        return found

    def subscribe_message(self, topics: Sequence[str], request_id: str) -> str:
        """``{"method": "SUBSCRIBE", ...}``."""
        return json.dumps({"method": "SUBSCRIBE", "params": list(topics), "id": request_id})

    def unsubscribe_message(self, topics: Sequence[str], request_id: str) -> str:
        """``{"method": "UNSUBSCRIBE", ...}``; its answer reads like that of a subscription."""
        return json.dumps({"method": "UNSUBSCRIBE", "params": list(topics), "id": request_id})

    def ping_message(self) -> str | None:
        """None: the server pings."""
        return None

    def parse(self, text: str | bytes, received_ns: int) -> Parsed:
        """Events of one message, or a control.

        Raises
        ------
        MessageError
            Not in the documented form.
        """
        try:
            message = json.loads(text)
            if "stream" in message:
                message = message["data"]
            if "e" not in message:
                return _control(message)
            return [_READERS[message["e"]](message, received_ns)]
        except FIELD_ERRORS as error:
            raise MessageError(
                f"a message of binance cannot be read ({type(error).__name__}: {error}): {head_of(text)}. "
                "Expected: depthUpdate, aggTrade, kline, or the answer to a request."
            ) from error

    def rest(
        self, session: aiohttp.ClientSession, now_ns: Callable[[], int], policies: Policies = POLICIES
    ) -> BinanceRest:
        """Requests over `session`."""
        from earmark.tasks.market.venues.binance_rest import BinanceRest

        return BinanceRest(session, self.rest_url, now_ns, policies)


def _book_stream(name: str) -> str:
    return f"{name}@depth@100ms"


def _market_streams(name: str) -> tuple[str, str]:
    return f"{name}@aggTrade", f"{name}@kline_1m"


def _control(message: dict[str, Any]) -> Control:
    request_id = str(message.get("id", ""))
    if "error" in message:
        return Control("refused", request_id, str(message["error"].get("msg", "")))
    if "code" in message:
        return Control("refused", request_id, str(message.get("msg", message["code"])))
    if message["result"] is None:
        return Control("subscribed", request_id)
    return Control("notice", request_id, head_of(message["result"]))


def _book(message: dict[str, Any], received_ns: int) -> BookUpdate:
    return BookUpdate(
        symbol=message["s"],
        is_snapshot=False,
        bids=levels(message["b"]),
        asks=levels(message["a"]),
        update_id=int(message["u"]),
        sequence=0,
        event_ms=int(message["T"]),
        sent_ms=int(message["E"]),
        received_ns=received_ns,
        previous_update_id=int(message["pu"]),
    )


def _trade(message: dict[str, Any], received_ns: int) -> Trade:
    return Trade(
        symbol=message["s"],
        time_ms=int(message["T"]),
        price=positive(message["p"]),
        quantity=positive(message["q"]),
        is_buy=not message["m"],
        trade_id=str(int(message["a"])),
        received_ns=received_ns,
    )


def _candle(message: dict[str, Any], received_ns: int) -> Candle:
    row = message["k"]
    if row["i"] != "1m":
        raise ValueError(f"candles of {row['i']} were not asked for")
    fields = [row[name] for name in "tohlcvTq"]
    return candle_of_row(message["s"], fields, bool(row["x"]), received_ns)


def candle_of_row(symbol: str, row: Sequence[Any], is_closed: bool, received_ns: int) -> Candle:
    """``[start, open, high, low, close, volume, end, turnover, ...]`` as a candle that has been checked."""
    opened, high, low, close = map(positive, row[1:5])
    amounts = non_negative(row[5]), non_negative(row[7])
    return check_candle(
        Candle(symbol, int(row[0]), opened, high, low, close, *amounts, is_closed, received_ns)
    )


_READERS: Mapping[str, Callable[[dict[str, Any], int], Event]] = {
    "depthUpdate": _book,
    "aggTrade": _trade,
    "kline": _candle,
}
