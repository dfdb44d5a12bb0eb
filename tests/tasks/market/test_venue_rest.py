"""Requests against the simulated exchange: order of rows, refusals, tries."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import numpy as np
import pytest

from earmark.errors import MissingExtraError
from earmark.tasks.market.simulator import ExchangeSimulator
from earmark.tasks.market.simulator.faults import Fault
from earmark.tasks.market.simulator.market import MarketParameters
from earmark.tasks.market.venues.base import (
    Policies,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    UnknownSymbolError,
    UnreachableError,
    VenueRest,
)
from earmark.tasks.market.venues.rest import require_aiohttp

NAMES = ["bybit", "binance"]


def _policies(tries: int) -> Policies:
    policy = RetryPolicy(timeout_s=0.3, tries=tries, pause_s=0.01)
    return Policies(policy, policy)


def _with_rest(
    name: str, use: Callable[[VenueRest, ExchangeSimulator], Awaitable[None]], tries: int = 1
) -> None:
    async def scenario() -> None:
        exchange = ExchangeSimulator(
            ["BTCUSDT", "4USDT"],
            venue=name,
            speed=20,
            parameters=MarketParameters(levels=60),
            clock_offset_ms=4_000,
        )
        async with exchange, aiohttp.ClientSession() as session:
            await use(exchange.venue().rest(session, exchange.clock.now_ns, _policies(tries)), exchange)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", NAMES)
def test_candles_ascend_and_only_the_last_is_forming(name):
    async def use(rest: VenueRest, exchange: ExchangeSimulator) -> None:
        candles = await rest.candles("BTCUSDT", 200)
        assert len(candles) == 200
        assert set(np.diff([candle.start_ms for candle in candles])) == {60_000}
        assert [candle.is_closed for candle in candles] == [True] * 199 + [False]
        part = await rest.candles("BTCUSDT", 5, start_ms=candles[3].start_ms, end_ms=candles[9].start_ms)
        assert {candle.start_ms for candle in part} <= {candle.start_ms for candle in candles[3:10]}
        assert len(part) == 5

    _with_rest(name, use)


@pytest.mark.parametrize("name", NAMES)
def test_clock_offset_book_trades_instruments(name):
    async def use(rest: VenueRest, exchange: ExchangeSimulator) -> None:
        server = await rest.server_time()
        assert abs(server.offset_ms - 4_000) <= server.round_trip_ms / 2 + 1
        await asyncio.sleep(0.5)
        book = await rest.book("4USDT", 50)
        assert book.is_snapshot and book.bids.shape == (50, 2) and book.bids[0, 0] < book.asks[0, 0]
        assert np.all(np.diff(book.bids[:, 0]) < 0) and np.all(np.diff(book.asks[:, 0]) > 0)
        trades = await rest.recent_trades("BTCUSDT", 5)
        assert len(trades) == 5 and [trade.time_ms for trade in trades] == sorted(
            trade.time_ms for trade in trades
        )
        known = await rest.instruments()
        assert set(known) == {"BTCUSDT", "4USDT"} and known["BTCUSDT"].tick_size == 1.0

    _with_rest(name, use)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("rest_429", RateLimitError),
        ("rest_500", ResponseError),
        ("rest_timeout", UnreachableError),
        ("rest_code", ResponseError),
    ],
)
def test_what_may_pass_is_tried_again_and_then_raised(name, fault, error):
    async def use(rest: VenueRest, exchange: ExchangeSimulator) -> None:
        exchange.inject(Fault(0.0, fault, value=2))
        assert (await rest.recent_trades("BTCUSDT")) is not None
        exchange.inject(Fault(0.0, fault, value=3))
        with pytest.raises(error, match="GET http"):
            await rest.recent_trades("BTCUSDT")
        assert exchange.ledger.requests["received"] == 6

    _with_rest(name, use, tries=3)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_symbol_is_not_tried_again(name):
    async def use(rest: VenueRest, exchange: ExchangeSimulator) -> None:
        with pytest.raises(UnknownSymbolError, match="list of instruments"):
            await rest.book("NOUSDT", 50)
        assert exchange.ledger.requests["received"] == 1

    _with_rest(name, use, tries=3)


def test_nobody_there():
    from earmark.tasks.market.venues import venue

    async def scenario() -> None:
        async with aiohttp.ClientSession() as session:
            rest = venue("bybit", rest_url="http://127.0.0.1:9").rest(session, time.time_ns, _policies(2))
            with pytest.raises(UnreachableError, match="Is the network up"):
                await rest.server_time()

    asyncio.run(scenario())


def test_without_aiohttp_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtraError, match=r"earmark\[live\]"):
        require_aiohttp("a simulated exchange")
