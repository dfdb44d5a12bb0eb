"""Binance's wire from the exchange's side; see `earmark.tasks.market.venues.binance` for the format.

Books are deltas of all levels; a message is one update, so ``U`` equals ``u``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from earmark.orderbook.events import BookUpdate
from earmark.tasks.market.simulator.channel import BookMessage
from earmark.tasks.market.simulator.dialect import (
    Request,
    RestSource,
    Topic,
    decimal_text,
    level_texts,
    rows_of,
    scaled_text,
)
from earmark.tasks.market.simulator.ledger import Tally
from earmark.tasks.market.simulator.market import MINUTE_MS, CandleRow, Fill, SyntheticMarket
from earmark.tasks.market.venues.binance import MAX_DEPTH, Binance

__all__ = ["BinanceDialect"]


class BinanceDialect:
    """See `earmark.tasks.market.simulator.dialect.Dialect`."""

    socket_paths = ("/public/ws", "/market/ws")
    opens_with_snapshot = False
    server_ping = ""

    def venue(self, host: str) -> Binance:
        """The client's side."""
        return Binance.at(websocket_url=f"ws://{host}", rest_url=f"http://{host}")

    def read(self, text: str) -> Request:
        """``{"method": ..., "params": [...], "id": ...}``."""
        message = json.loads(text)
        if not isinstance(message, dict):
            raise ValueError("a request is an object")
        if message.get("method") == "SUBSCRIBE":
            return Request("subscribe", str(message.get("id", "")), tuple(message.get("params", ())))
        if message.get("method") == "UNSUBSCRIBE":
            return Request("unsubscribe", str(message.get("id", "")), tuple(message.get("params", ())))
        raise ValueError("method is neither SUBSCRIBE nor UNSUBSCRIBE")

    def topic(self, arg: str) -> Topic:
        """One of the three streams of a symbol."""
        name, _, stream = arg.partition("@")
        if stream == "depth@100ms":
            return Topic(name.upper(), "book", MAX_DEPTH)
        if stream == "aggTrade":
            return Topic(name.upper(), "trades")
        if stream == "kline_1m":
            return Topic(name.upper(), "candles")
        raise ValueError(f"Invalid stream {arg}")

    def accept(self, request: Request) -> str:
        """``result`` null."""
        return json.dumps({"result": None, "id": request.request_id})

    def refuse(self, request: Request, reason: str) -> str:
        """``error`` with the reason."""
        return json.dumps({"error": {"code": 2, "msg": reason}, "id": request.request_id})

    def book(self, topic: Topic, message: BookMessage, market: SyntheticMarket, sent_ms: int) -> str:
        """A delta; a restart of the service is a delta that follows nothing known."""
        bids, asks = level_texts(message, market)
        return (
            f'{{"e":"depthUpdate","E":{sent_ms},"T":{message.event_ms},"s":"{topic.symbol}",'
            f'"U":{message.update_id},"u":{message.update_id},"pu":{message.previous_update_id},'
            f'"b":[{bids}],"a":[{asks}]}}'
        )

    def snapshot(self, topic: Topic, book: BookUpdate) -> str:
        """Books start by REST here; no subscriber is sent one."""
        raise NotImplementedError("the socket of this venue sends no snapshots")

    def trades(self, fills: Sequence[Fill], market: SyntheticMarket, sent_ms: int) -> list[tuple[str, Tally]]:
        """One message per trade."""
        return [
            (self._trade(fill, market, sent_ms), Tally(market.symbol, "trade", 1, (fill.number,)))
            for fill in fills
        ]

    def _trade(self, fill: Fill, market: SyntheticMarket, sent_ms: int) -> str:
        return (
            f'{{"e":"aggTrade","E":{sent_ms},"a":{fill.number},"s":"{market.symbol}",'
            f'"p":"{scaled_text(fill.tick, market.price_decimals)}",'
            f'"q":"{scaled_text(fill.lots, market.quantity_decimals)}","f":{fill.number},"l":{fill.number},'
            f'"T":{fill.time_ms},"m":{"false" if fill.is_buy else "true"}}}'
        )

    def candle(self, row: CandleRow, is_closed: bool, market: SyntheticMarket, sent_ms: int) -> str:
        """A candle with ``x``."""
        price, both = market.price_decimals, market.price_decimals + market.quantity_decimals
        numbers = {"o": row.open, "c": row.close, "h": row.high, "l": row.low}
        candle = {
            "t": row.start_ms,
            "T": row.start_ms + MINUTE_MS - 1,
            "s": market.symbol,
            "i": "1m",
            **{name: scaled_text(tick, price) for name, tick in numbers.items()},
            "v": scaled_text(row.volume, market.quantity_decimals),
            "q": scaled_text(row.turnover, both),
            "x": is_closed,
        }
        return json.dumps({"e": "kline", "E": sent_ms, "s": market.symbol, "k": candle})

    def trade_id(self, symbol: str, number: int) -> str:
        """The number itself."""
        return str(number)

    def rest(self) -> Mapping[str, Callable[[RestSource, Mapping[str, str], int], tuple[int, Any]]]:
        """The market requests."""
        return {f"/fapi/v1/{name}": _answering(result) for name, result in _RESULTS.items()}

    def rest_error(self) -> tuple[int, Any]:
        """An internal time-out of the venue."""
        return 400, {"code": -1007, "msg": "Timeout waiting for response from backend server."}


_Result = Callable[[RestSource, Mapping[str, str], int], Any]


def _answering(result: _Result) -> Callable[[RestSource, Mapping[str, str], int], tuple[int, Any]]:
    """`result`, or HTTP 400 for what it refuses."""

    def answer(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> tuple[int, Any]:
        symbol = parameters.get("symbol")
        if symbol is not None and symbol not in source.symbols:
            return 400, {"code": -1121, "msg": "Invalid symbol."}
        try:
            return 200, result(source, parameters, now_ns)
        except (LookupError, ValueError) as error:
            return 400, {"code": -1102, "msg": str(error)}

    return answer


def _klines(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> list[list[Any]]:
    start_ms, end_ms = int(parameters.get("startTime", 0)), int(parameters.get("endTime", now_ns))
    asked = [row for row in source.candles(parameters["symbol"]) if start_ms <= row.start_ms <= end_ms]
    limit = int(parameters.get("limit", 500))
    return [
        [
            row.start_ms,
            *map(decimal_text, (row.open, row.high, row.low, row.close, row.volume)),
            row.start_ms + MINUTE_MS - 1,
            decimal_text(row.turnover),
        ]
        for row in (asked[:limit] if "startTime" in parameters else asked[-limit:])
    ]


def _time(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, int]:
    return {"serverTime": now_ns // 1_000_000}


def _depth(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    book, limit = source.book(parameters["symbol"], MAX_DEPTH), int(parameters.get("limit", 500))
    sides = {"bids": rows_of(book.bids)[:limit], "asks": rows_of(book.asks)[:limit]}
    return {"lastUpdateId": book.update_id, "E": now_ns // 1_000_000, "T": book.event_ms, **sides}


def _agg_trades(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> list[dict[str, Any]]:
    return [
        {
            "a": int(trade.trade_id),
            "p": decimal_text(trade.price),
            "q": decimal_text(trade.quantity),
            "T": trade.time_ms,
            "m": not trade.is_buy,
        }
        for trade in source.trades(parameters["symbol"])[-int(parameters.get("limit", 500)) :]
    ]


def _exchange_info(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    return {
        "symbols": [
            {
                "symbol": row.symbol,
                "status": "TRADING" if row.is_trading else "CLOSE",
                "filters": [
                    {"filterType": "PRICE_FILTER", "tickSize": decimal_text(row.tick_size)},
                    {"filterType": "LOT_SIZE", "stepSize": decimal_text(row.quantity_step)},
                ],
            }
            for row in source.instruments()
        ]
    }


_RESULTS: dict[str, _Result] = {
    "klines": _klines,
    "time": _time,
    "depth": _depth,
    "aggTrades": _agg_trades,
    "exchangeInfo": _exchange_info,
}
