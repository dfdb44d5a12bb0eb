"""What is asked by REST: candles at the start, what a gap has cost, the exchange's clock, candles no socket brings."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from earmark.orderbook.candles import CANDLE_MS, WINDOW
from earmark.orderbook.events import Event
from earmark.tasks.market.venues.base import VenueError, VenueRest

if TYPE_CHECKING:
    from earmark.tasks.market.collect.collector import Collector

__all__ = ["Refill"]

_log = logging.getLogger(__name__)

START_CANDLES = WINDOW + 2
"""All that the features look at, so that a new start smooths from the same candle; the forming one and one to spare."""

POLL_S = 5.0
LATE_MS = 15_000
"""A closed candle that the socket has not brought so long after its end is asked for."""

MAX_ERRORS = 5
PAUSE_S = 60.0
_CLOCK_TRIES = 3


class Refill:
    """Requests of one collector; their events go the way of those of the sockets."""

    def __init__(self, collector: Collector, rest: VenueRest) -> None:
        self._collector = collector
        self._rest = rest
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: Counter[str] = Counter()
        self._paused_until: dict[str, float] = {}

    async def measure_clock(self) -> None:
        """Take the offset of the exchange's clock from the quickest of a few answers."""
        try:
            readings = [await self._rest.server_time() for _ in range(_CLOCK_TRIES)]
        except VenueError as error:
            _log.warning("the exchange's clock could not be read, the offset stays: %s", error)
            return
        best = min(readings, key=lambda reading: reading.round_trip_ms)
        self._collector.feature_clock.offset_ms = best.offset_ms
        _log.info("clock offset %.1f ms (round trip %.1f ms)", best.offset_ms, best.round_trip_ms)

    async def all_candles(self, symbol: str) -> None:
        """The candles that the features look at."""
        await self._candles(symbol, START_CANDLES)

    def trades_of(self, symbol: str) -> None:
        """Ask for the newest trades, in the background."""
        self._begin(self._trades(symbol))

    def candles_of(self, symbol: str) -> None:
        """Ask for the candles since the newest, in the background."""
        self._begin(self._candles(symbol, self._n_missing(symbol)))

    async def poll_candles(self) -> None:
        """Every few seconds ask for closed candles that no socket has brought."""
        while True:
            await asyncio.sleep(POLL_S / self._collector.clock.speed)
            late = [symbol for symbol in self._collector.options.symbols if self._is_late(symbol)]
            await asyncio.gather(*(self._poll(symbol) for symbol in late))

    async def close(self) -> None:
        """End what runs in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, request: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(request)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _trades(self, symbol: str) -> None:
        try:
            self._take(await self._rest.recent_trades(symbol))
        except VenueError as error:
            _log.warning("trades of %s could not be filled in: %s", symbol, error)
            self._collector.counts["failed_refills"] += 1

    async def _candles(self, symbol: str, limit: int) -> None:
        try:
            candles = await self._rest.candles(symbol, limit)
        except VenueError as error:
            _log.warning("candles of %s could not be filled in: %s", symbol, error)
            self._collector.counts["failed_refills"] += 1
            self._note_error(symbol, str(error))
            return
        self._errors[symbol] = 0
        self._take(candle for candle in candles if candle.is_closed)

    async def _poll(self, symbol: str) -> None:
        now_s = self._collector.clock.now_ns() / 1e9
        if now_s < self._paused_until.get(symbol, 0.0):
            return
        health = self._collector.health[symbol]
        if health.state == "paused":
            health.become("connecting")
        await self._candles(symbol, self._n_missing(symbol))

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            self._collector.take(event)
            self._collector.counts["refilled"] += 1

    def _note_error(self, symbol: str, reason: str) -> None:
        self._errors[symbol] += 1
        if self._errors[symbol] >= MAX_ERRORS:
            self._errors[symbol] = 0
            self._paused_until[symbol] = self._collector.clock.now_ns() / 1e9 + PAUSE_S
            if self._collector.health[symbol].state != "live":
                self._collector.health[symbol].become("paused", reason)

    def _is_late(self, symbol: str) -> bool:
        newest = self._collector.pipelines[symbol].newest_minute_ms
        return newest is None or self._now_ms() >= newest + 2 * CANDLE_MS + LATE_MS

    def _n_missing(self, symbol: str) -> int:
        """How many candles to ask for: two, and more after a longer silence."""
        newest = self._collector.pipelines[symbol].newest_minute_ms
        if newest is None:
            return START_CANDLES
        return min(START_CANDLES, max(2, (self._now_ms() - newest) // CANDLE_MS + 1))

    def _now_ms(self) -> int:
        return self._collector.feature_clock.exchange_ms(self._collector.clock.now_ns())
