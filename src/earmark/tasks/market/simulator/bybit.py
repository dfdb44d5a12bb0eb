"""Bybit's wire from the exchange's side; see `earmark.tasks.market.venues.bybit` for the format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from earmark.orderbook.events import BookUpdate, Candle
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
from earmark.tasks.market.venues.bybit import DEPTHS, Bybit

__all__ = ["BybitDialect"]

_PATH = "/v5/public/linear"


class BybitDialect:
    """See `earmark.tasks.market.simulator.dialect.Dialect`."""

    socket_paths = (_PATH,)
    opens_with_snapshot = True
    server_ping = '{"op":"ping"}'

    def venue(self, host: str) -> Bybit:
        """The client's side."""
        return Bybit.at(websocket_url=f"ws://{host}{_PATH}", rest_url=f"http://{host}")

    def read(self, text: str) -> Request:
        """``{"op": ..., "req_id": ..., "args": [...]}``."""
        message = json.loads(text)
        if not isinstance(message, dict) or message.get("op") not in (
            "subscribe",
            "unsubscribe",
            "ping",
            "pong",
        ):
            raise ValueError("op is none of subscribe, unsubscribe, ping, pong")
        return Request(message["op"], str(message.get("req_id", "")), tuple(message.get("args", ())))

    def topic(self, arg: str) -> Topic:
        """One of the three topics of a symbol."""
        channel, _, rest = arg.partition(".")
        parameter, _, symbol = rest.partition(".")
        if channel == "publicTrade" and not symbol:
            return Topic(parameter, "trades")
        if channel == "kline" and parameter == "1":
            return Topic(symbol, "candles")
        if channel == "orderbook" and parameter in map(str, DEPTHS):
            return Topic(symbol, "book", int(parameter))
        raise ValueError(f"error:handler not found,topic:{arg}")

    def accept(self, request: Request) -> str:
        """``success`` true; the answer to a ping is called ``ping`` too."""
        reason = "pong" if request.operation == "ping" else ""
        return self._answer(request, True, reason)

    def refuse(self, request: Request, reason: str) -> str:
        """``success`` false, with the reason."""
        return self._answer(request, False, reason)

    def _answer(self, request: Request, success: bool, reason: str) -> str:
        return json.dumps(
            {
                "success": success,
                "ret_msg": reason,
                "conn_id": "simulator",
                "req_id": request.request_id,
                "op": request.operation,
            }
        )

    def book(self, topic: Topic, message: BookMessage, market: SyntheticMarket, sent_ms: int) -> str:
        """Snapshot or delta."""
        kind = "snapshot" if message.is_snapshot else "delta"
        bids, asks = level_texts(message, market)
        return (
            f'{{"topic":"orderbook.{topic.depth}.{topic.symbol}","type":"{kind}","ts":{sent_ms},'
            f'"data":{{"s":"{topic.symbol}","b":[{bids}],"a":[{asks}],"u":{message.update_id},'
            f'"seq":{message.sequence}}},"cts":{message.event_ms}}}'
        )

    def snapshot(self, topic: Topic, book: BookUpdate) -> str:
        """A snapshot of a book given as an event."""
        ids = {"s": book.symbol, **_sides(book), "u": book.update_id, "seq": book.sequence}
        name = f"orderbook.{topic.depth}.{topic.symbol}"
        return json.dumps(
            {"topic": name, "type": "snapshot", "ts": book.sent_ms, "data": ids, "cts": book.event_ms}
        )

    def trades(self, fills: Sequence[Fill], market: SyntheticMarket, sent_ms: int) -> list[tuple[str, Tally]]:
        """One message for all trades of a step."""
        symbol = market.symbol
        rows = ",".join(
            f'{{"T":{fill.time_ms},"s":"{symbol}","S":"{"Buy" if fill.is_buy else "Sell"}",'
            f'"v":"{scaled_text(fill.lots, market.quantity_decimals)}",'
            f'"p":"{scaled_text(fill.tick, market.price_decimals)}","L":"{fill.tick_direction}",'
            f'"i":"{self.trade_id(symbol, fill.number)}","BT":false}}'
            for fill in fills
        )
        text = f'{{"topic":"publicTrade.{symbol}","type":"snapshot","ts":{sent_ms},"data":[{rows}]}}'
        return [(text, Tally(symbol, "trade", len(fills), tuple(fill.number for fill in fills)))]

    def candle(self, row: CandleRow, is_closed: bool, market: SyntheticMarket, sent_ms: int) -> str:
        """A candle with ``confirm``."""
        price, both = market.price_decimals, market.price_decimals + market.quantity_decimals
        opened, high, low, close = (
            scaled_text(tick, price) for tick in (row.open, row.high, row.low, row.close)
        )
        volume, turnover = scaled_text(row.volume, market.quantity_decimals), scaled_text(row.turnover, both)
        return (
            f'{{"topic":"kline.1.{market.symbol}","type":"snapshot","ts":{sent_ms},"data":[{{'
            f'"start":{row.start_ms},"end":{row.start_ms + MINUTE_MS - 1},"interval":"1","open":"{opened}",'
            f'"close":"{close}","high":"{high}","low":"{low}","volume":"{volume}","turnover":"{turnover}",'
            f'"confirm":{"true" if is_closed else "false"},"timestamp":{sent_ms}}}]}}'
        )

    def trade_id(self, symbol: str, number: int) -> str:
        """Unique over symbols."""
        return f"{symbol}-{number}"

    def rest(self) -> Mapping[str, Callable[[RestSource, Mapping[str, str], int], tuple[int, Any]]]:
        """The market requests."""
        return {f"/v5/market/{name}": _answering(result) for name, result in _RESULTS.items()}

    def rest_error(self) -> tuple[int, Any]:
        """An internal time-out of the venue."""
        return 200, {"retCode": 10000, "retMsg": "Server Timeout", "result": {}, "time": 0}


_Result = Callable[[RestSource, Mapping[str, str], int], dict[str, Any]]


def _answering(result: _Result) -> Callable[[RestSource, Mapping[str, str], int], tuple[int, Any]]:
    """`result` within the form that all answers have; a LookupError or ValueError of it is a refusal."""

    def answer(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> tuple[int, Any]:
        payload = {"retCode": 0, "retMsg": "OK", "retExtInfo": {}, "time": now_ns // 1_000_000}
        try:
            symbol = parameters.get("symbol")
            if symbol is not None and symbol not in source.symbols:
                raise ValueError("params error: Symbol Invalid")
            return 200, payload | {"result": result(source, parameters, now_ns)}
        except (LookupError, ValueError) as error:
            return 200, payload | {"retCode": 10001, "retMsg": str(error), "result": {}}

    return answer


def _kline(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    if parameters["interval"] != "1":
        raise ValueError("params error: only interval 1 is simulated")
    start_ms, end_ms = int(parameters.get("start", 0)), int(parameters.get("end", now_ns))
    asked = [
        candle for candle in source.candles(parameters["symbol"]) if start_ms <= candle.start_ms <= end_ms
    ]
    rows = [_candle_row(candle) for candle in asked[-int(parameters.get("limit", 200)) :]]
    return {"symbol": parameters["symbol"], "category": "linear", "list": rows[::-1]}


def _candle_row(candle: Candle) -> list[str]:
    numbers = (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.turnover)
    return [str(candle.start_ms), *map(decimal_text, numbers)]


def _time(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    return {"timeSecond": str(now_ns // 1_000_000_000), "timeNano": str(now_ns)}


def _orderbook(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    book = source.book(parameters["symbol"], int(parameters.get("limit", 25)))
    times = {"ts": now_ns // 1_000_000, "cts": book.event_ms}
    return {"s": book.symbol, **_sides(book), "u": book.update_id, "seq": book.sequence, **times}


def _sides(book: BookUpdate) -> dict[str, list[list[str]]]:
    return {"b": rows_of(book.bids), "a": rows_of(book.asks)}


def _recent_trade(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    newest = source.trades(parameters["symbol"])[-int(parameters.get("limit", 500)) :]
    rows = [
        {
            "execId": trade.trade_id,
            "symbol": trade.symbol,
            "price": decimal_text(trade.price),
            "size": decimal_text(trade.quantity),
            "side": "Buy" if trade.is_buy else "Sell",
            "time": str(trade.time_ms),
            "isBlockTrade": trade.is_block,
        }
        for trade in reversed(newest)
    ]
    return {"category": "linear", "list": rows}


def _instruments(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    rows = [
        {
            "symbol": row.symbol,
            "status": "Trading" if row.is_trading else "Closed",
            "priceFilter": {"tickSize": decimal_text(row.tick_size)},
            "lotSizeFilter": {"qtyStep": decimal_text(row.quantity_step)},
        }
        for row in source.instruments()
    ]
    return {"category": "linear", "list": rows, "nextPageCursor": ""}


def _tickers(source: RestSource, parameters: Mapping[str, str], now_ns: int) -> dict[str, Any]:
    named = [parameters["symbol"]] if "symbol" in parameters else source.symbols
    return {"category": "linear", "list": [_ticker(source, symbol) for symbol in named]}


def _ticker(source: RestSource, symbol: str) -> dict[str, str]:
    book, last = source.book(symbol, 1), source.candles(symbol)[-1].close
    (bid, bid_size), (ask, ask_size) = book.bids[0], book.asks[0]
    numbers = {
        "lastPrice": last,
        "bid1Price": bid,
        "bid1Size": bid_size,
        "ask1Price": ask,
        "ask1Size": ask_size,
    }
    return {"symbol": symbol, **{name: decimal_text(number) for name, number in numbers.items()}}


_RESULTS: dict[str, _Result] = {
    "kline": _kline,
    "time": _time,
    "orderbook": _orderbook,
    "recent-trade": _recent_trade,
    "instruments-info": _instruments,
    "tickers": _tickers,
}
