"""Market requests of Bybit v5, category linear.

Every answer is ``{"retCode": 0, "retMsg": "OK", "result": {...}, "time": ms}``; another ``retCode`` is an error even
under HTTP 200. Lists come newest first and are returned oldest first.
"""

from __future__ import annotations

from typing import Any

from earmark.orderbook.events import BookUpdate, Candle, Trade
from earmark.tasks.market.venues.base import (
    Instrument,
    RateLimitError,
    ResponseError,
    ServerTime,
    UnknownSymbolError,
    check_symbol,
)
from earmark.tasks.market.venues.bybit import book_update, candle_of_row
from earmark.tasks.market.venues.fields import FIELD_ERRORS, non_negative, positive
from earmark.tasks.market.venues.rest import Requests, instrument_symbol, unreadable

__all__ = ["BOOK_DEPTHS", "BybitRest"]

BOOK_DEPTHS = (1, 50, 200, 500)
"""Depths of a book by REST; another is cut from the next deeper one."""

_MINUTE_MS = 60_000

_RATE_LIMITED = frozenset({10006, 10018})
"""Codes for too many requests of a key, and of an address."""

_BUSY = frozenset({10000, 10016, 10019})
"""Codes for a time-out or a restart inside the venue, which pass."""

_BAD_PARAMETER = 10001


class BybitRest(Requests):
    """Requests; see `earmark.tasks.market.venues.base.VenueRest`."""

    def refusal(self, payload: Any, asked: str) -> Exception | None:
        """As of `Requests`."""
        if not isinstance(payload, dict) or not isinstance(payload.get("retCode"), int):
            return unreadable(asked, payload)
        code, reason = payload["retCode"], str(payload.get("retMsg", ""))
        if code == 0:
            return None if isinstance(payload.get("result"), dict) else unreadable(asked, payload)
        if code in _RATE_LIMITED:
            return RateLimitError(f"{asked} was refused (retCode {code}): {reason}. Ask less often.", code)
        if code == _BAD_PARAMETER and "symbol" in reason.lower():
            return UnknownSymbolError(
                f"{asked} was refused (retCode {code}): {reason}. Name a symbol of the venue's list of instruments."
            )
        return ResponseError(f"{asked} was refused (retCode {code}): {reason}", code, may_pass=code in _BUSY)

    async def candles(
        self, symbol: str, limit: int = 200, *, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Candle]:
        """Up to `limit` (at most 1000) one-minute candles, oldest first.

        A candle is closed when the venue's clock has passed its end; at most the newest is still forming.
        """
        span = {"start": start_ms, "end": end_ms, "limit": limit}
        parameters = {"category": "linear", "symbol": check_symbol(symbol), "interval": "1", **span}
        payload = await self.get("/v5/market/kline", parameters, self.policies.candles)
        received_ns, server_ms = self.now_ns(), _time_ms(payload)

        def read(row: list[str]) -> Candle:
            return candle_of_row(symbol, row, int(row[0]) + _MINUTE_MS <= server_ms, received_ns)

        rows = self.rows(_result(payload)["list"], read, f"the candles of {symbol}")
        return sorted(rows, key=lambda candle: candle.start_ms)

    async def book(self, symbol: str, depth: int) -> BookUpdate:
        """The book as a snapshot of `depth` levels per side, at most 500."""
        limit = min((known for known in BOOK_DEPTHS if known >= depth), default=BOOK_DEPTHS[-1])
        payload = await self._ask("/v5/market/orderbook", symbol=check_symbol(symbol), limit=limit)
        try:
            result = _result(payload)
            cut = result | {"b": result["b"][:depth], "a": result["a"][:depth]}
            times_ms = int(result.get("cts", result["ts"])), int(result["ts"])
            return book_update(cut, True, times_ms, self.now_ns())
        except FIELD_ERRORS as error:
            raise unreadable(f"the book of {symbol}", payload) from error

    async def server_time(self) -> ServerTime:
        """The venue's clock, with our own before and after."""
        sent_ns = self.now_ns()
        payload = await self.get("/v5/market/time", {}, self.policies.others)
        received_ns = self.now_ns()
        try:
            return ServerTime(int(_result(payload)["timeNano"]), sent_ns, received_ns)
        except FIELD_ERRORS as error:
            raise unreadable("the time", payload) from error

    async def recent_trades(self, symbol: str, limit: int = 1000) -> list[Trade]:
        """The newest trades, oldest first."""
        payload = await self._ask("/v5/market/recent-trade", symbol=check_symbol(symbol), limit=limit)
        received_ns = self.now_ns()
        rows = self.rows(
            _result(payload)["list"], lambda row: _trade(row, received_ns), f"the trades of {symbol}"
        )
        return rows[::-1]

    async def instruments(self) -> dict[str, Instrument]:
        """Every linear contract by symbol, over all pages."""
        found: dict[str, Instrument] = {}
        cursor: str | None = None
        while True:
            payload = await self._ask("/v5/market/instruments-info", limit=1000, cursor=cursor)
            result = _result(payload)
            rows = self.rows(result["list"], _instrument, "the instruments")
            found |= {row.symbol: row for row in rows}
            cursor = result.get("nextPageCursor") or None
            if cursor is None:
                return found

    async def tickers(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Rows of ``/v5/market/tickers`` as the venue writes them."""
        payload = await self._ask("/v5/market/tickers", symbol=symbol)
        return list(_result(payload)["list"])

    async def _ask(self, path: str, **parameters: str | int | None) -> Any:
        return await self.get(path, {"category": "linear", **parameters}, self.policies.others)


def _result(payload: dict[str, Any]) -> dict[str, Any]:
    """The part that holds the answer; a list is always there, if empty."""
    return {"list": [], **payload["result"]}


def _time_ms(payload: dict[str, Any]) -> int:
    try:
        return int(payload["time"])
    except FIELD_ERRORS as error:
        raise unreadable("the candles", payload) from error


def _trade(row: dict[str, Any], received_ns: int) -> Trade:
    return Trade(
        symbol=row["symbol"],
        time_ms=int(row["time"]),
        price=positive(row["price"]),
        quantity=positive(row["size"]),
        is_buy={"Buy": True, "Sell": False}[row["side"]],
        trade_id=str(row["execId"]),
        received_ns=received_ns,
        is_block=bool(row.get("isBlockTrade", False)),
    )


def _instrument(row: dict[str, Any]) -> Instrument:
    return Instrument(
        symbol=instrument_symbol(row["symbol"]),
        tick_size=positive(row["priceFilter"]["tickSize"]),
        quantity_step=non_negative(row["lotSizeFilter"]["qtyStep"]),
        is_trading=row["status"] == "Trading",
    )
