"""Bybit v5, public channels of linear perpetuals.

Books come as a snapshot, then deltas with a continuous ``u``; ``u`` = 1 is a snapshot after a restart of the service.
The times ``ts`` (sent) and ``cts`` (matching engine, comparable with the ``T`` of trades) stand at the top of the
message, not in ``data``. Numbers are strings. Candles of the socket are final once ``confirm`` is true; those of the
REST interface come newest first, the first of them unfinished.

References: Bybit API v5 documentation, "WebSocket stream / public" and "Market".
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

    from earmark.tasks.market.venues.bybit_rest import BybitRest

__all__ = ["DEPTHS", "Bybit", "book_update", "candle_of_row"]

DEPTHS: Mapping[int, int] = {1: 10, 50: 20, 200: 100, 1000: 200}
"""Levels per side -> distance of two messages in milliseconds."""


@dataclass(frozen=True)
class Bybit:
    """The venue; see `earmark.tasks.market.venues.base.Venue` for what each method promises."""

    websocket_url: str = "wss://stream.bybit.com/v5/public/linear"
    rest_url: str = "https://api.bybit.com"
    name: str = "bybit"
    symbols_per_connection: int = 10
    ping_interval_s: float | None = 20.0
    timeout_s: float = 30.0
    snapshot_by_rest: bool = False

    @classmethod
    def at(
        cls, *, testnet: bool = False, websocket_url: str | None = None, rest_url: str | None = None
    ) -> Bybit:
        """The venue at its own addresses or at those given."""
        part = "-testnet" if testnet else ""
        return cls(
            websocket_url or f"wss://stream{part}.bybit.com/v5/public/linear",
            rest_url or f"https://api{part}.bybit.com",
        )

    def check_depth(self, depth: int) -> int:
        """One of `DEPTHS`."""
        if depth in DEPTHS:
            return depth
        why = ": the venue retired it in September 2025" if depth == 500 else ""
        raise UsageError(
            f"an order book of depth {depth} is not offered{why}. Depths are {', '.join(map(str, DEPTHS))}; "
            "the default is 200."
        )

    def kept_depth(self, depth: int) -> int:
        """The same: of a level below those of the subscription nothing is told."""
        return depth

    def subscriptions(self, symbols: Sequence[str], depth: int) -> list[str]:
        """Three topics per symbol."""
        self.check_depth(depth)
        return [topic for group in groups_of(symbols, 1) for topic in _topics(group[0], depth)]

    def connections(self, symbols: Sequence[str], depth: int) -> list[Connection]:
        """One socket for ten symbols."""
        groups = groups_of(symbols, self.symbols_per_connection)
        return [
            Connection(self.websocket_url, group, tuple(self.subscriptions(group, depth))) for group in groups
        ]

    def subscribe_message(self, topics: Sequence[str], request_id: str) -> str:
        """``{"op": "subscribe", ...}``."""
        return json.dumps({"req_id": request_id, "op": "subscribe", "args": list(topics)})

    def unsubscribe_message(self, topics: Sequence[str], request_id: str) -> str:
        """``{"op": "unsubscribe", ...}``."""
        return json.dumps({"req_id": request_id, "op": "unsubscribe", "args": list(topics)})

    def ping_message(self) -> str | None:
        """``{"op": "ping"}``."""
        return '{"op":"ping"}'

    def parse(self, text: str | bytes, received_ns: int) -> Parsed:
        """Events of one message, or a control.

        Raises
        ------
        MessageError
            Not in the documented form.
        """
        try:
            message = json.loads(text)
            if "topic" not in message:
                return _control(message)
            channel = message["topic"].partition(".")[0]
            return _READERS[channel](message, received_ns)
        except FIELD_ERRORS as error:
            raise MessageError(
                f"a message of bybit cannot be read ({type(error).__name__}: {error}): {head_of(text)}. "
                "Expected: a topic of book, trades or candles, or the answer to a request."
            ) from error

    def rest(
        self, session: aiohttp.ClientSession, now_ns: Callable[[], int], policies: Policies = POLICIES
    ) -> BybitRest:
        """Requests over `session`."""
        from earmark.tasks.market.venues.bybit_rest import BybitRest

        return BybitRest(session, self.rest_url, now_ns, policies)


def _topics(symbol: str, depth: int) -> tuple[str, str, str]:
    return f"orderbook.{depth}.{symbol}", f"publicTrade.{symbol}", f"kline.1.{symbol}"


def _control(message: dict[str, Any]) -> Control:
    """Answers carry ``success``; a bare ``ping`` is the server's own."""
    operation, request_id = message["op"], str(message.get("req_id", ""))
    reason = str(message.get("ret_msg", ""))
    if operation == "ping" and "success" not in message:
        return Control("ping", request_id, reply='{"op":"pong"}')
    if operation in ("ping", "pong"):
        return Control("pong", request_id)
    if operation in ("subscribe", "unsubscribe"):
        if not message["success"]:
            return Control("refused", request_id, reason)
        return Control("subscribed" if operation == "subscribe" else "unsubscribed", request_id, reason)
    return Control("notice", request_id, reason)


def book_update(data: Mapping[str, Any], is_snapshot: bool, times_ms: tuple[int, int], ns: int) -> BookUpdate:
    """A book of the socket or of the REST interface; `times_ms` are those of the matching engine and of sending."""
    return BookUpdate(
        symbol=data["s"],
        is_snapshot=is_snapshot,
        bids=levels(data["b"]),
        asks=levels(data["a"]),
        update_id=int(data["u"]),
        sequence=int(data.get("seq", 0)),
        event_ms=times_ms[0],
        sent_ms=times_ms[1],
        received_ns=ns,
    )


def _book(message: dict[str, Any], received_ns: int) -> list[Event]:
    kind, data = message["type"], message["data"]
    if kind not in ("snapshot", "delta"):
        raise ValueError(f"{kind!r} is neither a snapshot nor a delta")
    is_snapshot = kind == "snapshot" or data["u"] == 1
    times_ms = int(message["cts"]), int(message["ts"])
    return [book_update(data, is_snapshot, times_ms, received_ns)]


def _trades(message: dict[str, Any], received_ns: int) -> list[Event]:
    return [
        Trade(
            symbol=row["s"],
            time_ms=int(row["T"]),
            price=positive(row["p"]),
            quantity=positive(row["v"]),
            is_buy=_SIDES[row["S"]],
            trade_id=str(row["i"]),
            received_ns=received_ns,
            tick_direction=row.get("L", ""),
            is_block=bool(row.get("BT", False)),
        )
        for row in message["data"]
    ]


_SIDES = {"Buy": True, "Sell": False}


def _candles(message: dict[str, Any], received_ns: int) -> list[Event]:
    _, interval, symbol = message["topic"].split(".", 2)
    if interval != "1":
        raise ValueError(f"candles of {interval} minutes were not asked for")
    names = ("start", "open", "high", "low", "close", "volume", "turnover")
    return [
        candle_of_row(symbol, [row[name] for name in names], bool(row["confirm"]), received_ns)
        for row in message["data"]
    ]


def candle_of_row(symbol: str, row: Sequence[Any], is_closed: bool, received_ns: int) -> Candle:
    """``[startMs, open, high, low, close, volume, turnover]`` as a candle that has been checked."""
    start, *prices, volume, turnover = row
    opened, high, low, close = map(positive, prices)
    amounts = non_negative(volume), non_negative(turnover)
    return check_candle(
        Candle(symbol, int(start), opened, high, low, close, *amounts, is_closed, received_ns)
    )


_READERS: dict[str, Callable[[dict[str, Any], int], list[Event]]] = {
    "orderbook": _book,
    "publicTrade": _trades,
    "kline": _candles,
}
