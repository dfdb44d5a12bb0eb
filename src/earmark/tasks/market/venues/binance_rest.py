"""Market requests of Binance USD-M futures.

Answers are plain JSON; a refusal is HTTP 4xx with ``{"code": negative, "msg": "..."}``. Lists come oldest first.
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
from earmark.tasks.market.venues.binance import candle_of_row
from earmark.tasks.market.venues.fields import FIELD_ERRORS, levels, positive
from earmark.tasks.market.venues.rest import Requests, instrument_symbol, unreadable

__all__ = ["BOOK_DEPTHS", "BinanceRest"]

BOOK_DEPTHS = (5, 10, 20, 50, 100, 500, 1000)

_RATE_LIMITED, _BAD_SYMBOL = -1003, -1121
_BUSY = frozenset({-1000, -1001, -1007, -1008})


class BinanceRest(Requests):
    """Requests; see `earmark.tasks.market.venues.base.VenueRest`."""

    def refusal(self, payload: Any, asked: str) -> Exception | None:
        """As of `Requests`."""
        if not isinstance(payload, dict) or "code" not in payload:
            return None
        code, reason = int(payload["code"]), str(payload.get("msg", ""))
        if code == _RATE_LIMITED:
            return RateLimitError(f"{asked} was refused (code {code}): {reason}. Ask less often.", code)
        if code == _BAD_SYMBOL:
            return UnknownSymbolError(
                f"{asked} was refused (code {code}): {reason} Name a symbol of the venue's list of instruments."
            )
        return ResponseError(f"{asked} was refused (code {code}): {reason}", code, may_pass=code in _BUSY)

    async def candles(
        self, symbol: str, limit: int = 200, *, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Candle]:
        """Up to `limit` (at most 1500) one-minute candles, oldest first.

        The answer carries no time of the venue, so its clock is asked first: a candle that had ended by then is
        closed. One that ends between the two requests is taken as forming, which the next request puts right.
        """
        server = await self.server_time()
        span = {"startTime": start_ms, "endTime": end_ms, "limit": limit}
        parameters = {"symbol": check_symbol(symbol), "interval": "1m", **span}
        payload = await self.get("/fapi/v1/klines", parameters, self.policies.candles)
        received_ns = self.now_ns()

        def read(row: list[Any]) -> Candle:
            return candle_of_row(symbol, row, int(row[6]) * 1_000_000 < server.server_ns, received_ns)

        return self.rows(payload, read, f"the candles of {symbol}")

    async def book(self, symbol: str, depth: int) -> BookUpdate:
        """The book as a snapshot of at least `depth` levels per side, as far as the venue has them."""
        limit = min((known for known in BOOK_DEPTHS if known >= depth), default=BOOK_DEPTHS[-1])
        payload = await self._ask("/fapi/v1/depth", symbol=check_symbol(symbol), limit=limit)
        try:
            return BookUpdate(
                symbol=symbol,
                is_snapshot=True,
                bids=levels(payload["bids"]),
                asks=levels(payload["asks"]),
                update_id=int(payload["lastUpdateId"]),
                sequence=0,
                event_ms=int(payload["T"]),
                sent_ms=int(payload["E"]),
                received_ns=self.now_ns(),
            )
        except FIELD_ERRORS as error:
            raise unreadable(f"the book of {symbol}", payload) from error

    async def server_time(self) -> ServerTime:
        """The venue's clock, with our own before and after."""
        sent_ns = self.now_ns()
        payload = await self._ask("/fapi/v1/time")
        received_ns = self.now_ns()
        try:
            return ServerTime(int(payload["serverTime"]) * 1_000_000, sent_ns, received_ns)
        except FIELD_ERRORS as error:
            raise unreadable("the time", payload) from error

    async def recent_trades(self, symbol: str, limit: int = 1000) -> list[Trade]:
        """The newest aggregated trades, oldest first, with the ids of the stream."""
        payload = await self._ask("/fapi/v1/aggTrades", symbol=check_symbol(symbol), limit=limit)
        received_ns = self.now_ns()
        return self.rows(payload, lambda row: _trade(symbol, row, received_ns), f"the trades of {symbol}")

    async def instruments(self) -> dict[str, Instrument]:
        """Every contract by symbol."""
        payload = await self._ask("/fapi/v1/exchangeInfo")
        try:
            rows = self.rows(payload["symbols"], _instrument, "the instruments")
        except FIELD_ERRORS as error:
            raise unreadable("the instruments", payload) from error
        return {row.symbol: row for row in rows}

    async def _ask(self, path: str, **parameters: str | int | None) -> Any:
        return await self.get(path, parameters, self.policies.others)


def _trade(symbol: str, row: dict[str, Any], received_ns: int) -> Trade:
    return Trade(
        symbol=symbol,
        time_ms=int(row["T"]),
        price=positive(row["p"]),
        quantity=positive(row["q"]),
        is_buy=not row["m"],
        trade_id=str(int(row["a"])),
        received_ns=received_ns,
    )


def _instrument(row: dict[str, Any]) -> Instrument:
    sizes = {rule["filterType"]: rule for rule in row["filters"]}
    return Instrument(
        symbol=instrument_symbol(row["symbol"]),
        tick_size=positive(sizes["PRICE_FILTER"]["tickSize"]),
        quantity_step=positive(sizes["LOT_SIZE"]["stepSize"]),
        is_trading=row["status"] == "TRADING",
    )
