"""The collector: sockets, pipelines, journals, buffers and stores, as one asyncio program.

What arrives goes the same way for every symbol: journal first, then the pipeline; a sample goes to the sample log
first, then to its buffer. How both reach the disk is `persistence`; an error there ends the collector in order: what is
on the disk stays, and the next start puts it where it belongs.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from earmark.errors import EarmarkError
from earmark.orderbook.book import Applied
from earmark.orderbook.events import BookUpdate, Event
from earmark.orderbook.state import GRACE_MS, BookState
from earmark.store.raw import Message
from earmark.tasks.market.collect.buffers import SampleBuffers
from earmark.tasks.market.collect.clock import Clock, WallClock
from earmark.tasks.market.collect.connection import Health, Socket
from earmark.tasks.market.collect.feature_clock import FeatureClock
from earmark.tasks.market.collect.options import CollectOptions, Finished
from earmark.tasks.market.collect.persistence import Persistence
from earmark.tasks.market.collect.pipeline import Sample, SymbolPipeline
from earmark.tasks.market.collect.preparing import prepare_pipelines
from earmark.tasks.market.collect.raw_lob import SAVE_S
from earmark.tasks.market.collect.records import (
    BEAT,
    GAP,
    TICK,
    encode_event,
    encode_json,
    encode_tick,
)
from earmark.tasks.market.collect.refill import Refill
from earmark.tasks.market.collect.replay import new_engine
from earmark.tasks.market.collect.schedule import WholeSteps, every, every_of_market
from earmark.tasks.market.collect.signals import SignalSource
from earmark.tasks.market.collect.status import Status
from earmark.tasks.market.venues.base import Connection, UnknownSymbolError, Venue, VenueRest
from earmark.tasks.market.venues.rest import require_aiohttp

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Collector"]

_log = logging.getLogger(__name__)

BEAT_MS = 250
_WATCH_S = 1.0
_SWITCH_S = 0.0005
"""How long a thread that writes stores may keep the interpreter from the event loop, which asks for it often."""

_STATISTICS_S = 300.0
_CLOCK_S = 600.0
_LONGEST_SLEEP_S = 0.05


class Collector:
    """Collects from one venue until stopped.

    Parameters
    ----------
    venue : Venue
    options : CollectOptions
    clock : Clock, optional
        Default: this machine's.
    signals : SignalSource, optional
        Told the samples of each tick, and asked for their signals when they are written.
    on_status : callable, optional
        Told the statistics about once a second.
    on_samples : callable, optional
        Given the samples of each tick once they are on the disk; it runs in the event loop and has to be quick.
    on_states : callable, optional
        Given the books of each tick with their symbols when it is closed; as quick.
    on_compile : callable, optional
        As of `prepare_pipelines`.

    Examples
    --------
    ::

        collector = Collector(venue("bybit"), CollectOptions(("BTCUSDT",), places))
        finished = asyncio.run(collector.run())
    """

    def __init__(
        self,
        venue: Venue,
        options: CollectOptions,
        *,
        clock: Clock | None = None,
        signals: SignalSource | None = None,
        on_status: Callable[[dict[str, Any]], None] | None = None,
        on_samples: Callable[[Sequence[Sample]], None] | None = None,
        on_states: Callable[[Sequence[tuple[str, BookState]]], None] | None = None,
        on_compile: Callable[[], None] | None = None,
    ) -> None:
        self.venue = venue
        self.options = options
        self.clock = WallClock() if clock is None else clock
        self._kept_depth = venue.kept_depth(options.depth)
        self.health = {symbol: Health() for symbol in options.symbols}
        self.pipelines = {
            symbol: SymbolPipeline(
                symbol, depth=self._kept_depth, track_ms=options.track_ms, engine=new_engine(symbol)
            )
            for symbol in options.symbols
        }
        self.feature_clock = FeatureClock(
            options.collection_interval,
            options.is_adaptive,
            GRACE_MS,
        )
        self.counts: Counter[str] = Counter()
        self.signals = signals
        self.persistence = Persistence(
            options, venue.name, self._kept_depth, self.clock, self.counts, signals
        )
        self.status = Status(self, on_status)
        self._sockets: list[Socket] = []
        self._step_s = 0.0
        self._steps = WholeSteps(self._fail)
        self._stop = asyncio.Event()
        self._round = asyncio.Lock()
        self._next_beat_ms = self._last_round_ns = 0
        self._end_ns: int | None = None
        self._failure: EarmarkError | None = None
        self._on_samples, self._on_states = on_samples, on_states
        self._on_compile = on_compile

    @property
    def buffers(self) -> SampleBuffers:
        """Samples that wait for their file."""
        return self.persistence.buffers

    @property
    def raw_lob_counts(self) -> dict[str, int]:
        """What became of the states of the raw book; empty where they are not kept."""
        return self.persistence.raw_lob_counts

    def stop(self) -> None:
        """End in order: everything is flushed. Safe to call again."""
        self._stop.set()

    async def run(self) -> Finished:
        """Collect until `stop`, the end of the duration, or an error.

        Raises
        ------
        UsageError
            Another collector writes here, or a symbol does not exist.
        JournalError
            The disk is full or refuses; everything before is safe.
        """
        aiohttp = require_aiohttp("Collecting")
        async with AsyncExitStack() as stack:
            stack.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(_SWITCH_S)
            self.persistence.open(self._fail)
            stack.push_async_callback(self._close)
            await asyncio.to_thread(prepare_pipelines, self._on_compile)
            await self.persistence.recover()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            rest = self.venue.rest(session, self.clock.now_ns)
            await self._prepare(rest)
            gc.freeze()  # what lives from here to the end need not be looked at again
            await self._collect(session, rest)
            await self._flush_all()
        if self._failure is not None:
            raise self._failure
        return self._finished()

    # What sockets call (`Sink`)

    def take(self, event: Event) -> Applied | None:
        """Journal an event and give it to its pipeline."""
        pipeline = self.pipelines.get(event.symbol)
        if pipeline is None:
            self.counts["strangers"] += 1
            return None
        kind, payload = encode_event(event)
        self.persistence.append(kind, event.received_ns, payload)
        applied = pipeline.push(event)
        if isinstance(event, BookUpdate) and applied is not None:
            self.counts[applied.value] += 1
        return applied

    def take_message(self, connection: Connection, text: str, received_ns: int) -> None:
        """Keep a message as it came, where that is wished; one of no symbol is kept with the connection's first."""
        if not self.options.keep_messages:
            return
        symbol = next((name for name in connection.symbols if name in text), connection.symbols[0])
        time_ms = self.feature_clock.exchange_ms(received_ns)
        self.persistence.take_message(Message(symbol, time_ms, received_ns, connection.url, text))

    def lost(self, connection: Connection, reason: str) -> None:
        """Mark the gap in every symbol of the socket whose book was whole."""
        self.counts["lost_connections"] += 1
        socket = next(socket for socket in self._sockets if socket.connection is connection)
        for symbol in connection.symbols:
            health = self.health[symbol]
            health.n_reconnects += 1
            if not socket.carries_books:
                continue
            health.become("connecting", reason)
            if self.pipelines[symbol].book.problem is None:
                self._mark_gap(symbol)

    def opened(self, connection: Connection, *, again: bool) -> None:
        """Ask for what a lost connection has missed."""
        if again:
            for symbol in connection.symbols:
                self._refill.trades_of(symbol)
                self._refill.candles_of(symbol)

    def resynced(self, symbol: str) -> None:
        """Ask for what may have been missed with the book."""
        self._refill.trades_of(symbol)

    async def room(self) -> None:
        """Wait until the disk has kept up, which is counted, and a clock that follows the stream with the stream."""
        if self.clock.follows_stream:
            await self._close_due()
            if self._stop.is_set():
                await asyncio.Event().wait()  # behind the end nothing is read: until this reader is cancelled
        if self.persistence.has_room:
            return
        self.counts["waits_for_disk"] += 1
        while not self.persistence.has_room and self._failure is None:
            await asyncio.sleep(0.01)

    # Start

    async def _prepare(self, rest: VenueRest) -> None:
        """Check the symbols, measure the clock, fill the candles."""
        self.venue.check_depth(self.options.depth)
        known = await rest.instruments()
        unknown = [symbol for symbol in self.options.symbols if symbol not in known]
        if unknown:
            raise UnknownSymbolError(
                f"{self.venue.name} does not list {', '.join(unknown)}. Expected linear contracts, such as "
                f"{', '.join(sorted(known)[:3])}. Correct --symbols."
            )
        self._refill = Refill(self, rest)
        if not self.clock.follows_stream:
            await self._refill.measure_clock()
        now_ms = self._now_ms()
        for symbol in self.options.symbols:
            for candle in await self.persistence.recent_candles(symbol, now_ms):
                self.take(candle)
        await asyncio.gather(*(self._refill.all_candles(symbol) for symbol in self.options.symbols))

    # While it runs

    async def _collect(self, session: aiohttp.ClientSession, rest: VenueRest) -> None:
        self._sockets = [
            Socket(
                self.venue,
                connection,
                self.options.depth,
                sink=self,
                session=session,
                rest=rest,
                clock=self.clock,
                timing=self.options.timing,
            )
            for connection in self.venue.connections(self.options.symbols, self.options.depth)
        ]
        self._end_ns = self._end_of_duration()
        running = [asyncio.create_task(socket.run()) for socket in self._sockets]
        running += [asyncio.create_task(part) for part in self._duties()]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait([*running, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*running, stopping):
                task.cancel()
            await asyncio.gather(*running, stopping, return_exceptions=True)
            await self._refill.close()
            await self._steps.finish()
        for task in running:
            if task in done:
                self._note_end(task)

    def _duties(self) -> list[Coroutine[Any, Any, None]]:
        of_market = partial(every_of_market, self.clock)
        measures = [] if self.clock.follows_stream else [every(_CLOCK_S, self._refill.measure_clock)]
        return [
            *measures,
            self._run_clock(),
            of_market(_WATCH_S, self._watch),
            of_market(self.options.flush_raw_s, self._flush_raw),
            self._run_flushes(),
            every(_STATISTICS_S, self.status.log),
            every(_WATCH_S, self.status.publish),
            self._refill.poll_candles(),
            of_market(SAVE_S, self._save_states),
        ]

    async def _flush_raw(self) -> None:
        await self._steps.run(self.persistence.flush_raw(self.pipelines))

    async def _save_states(self) -> None:
        await self._steps.run(self.persistence.save_states(self._now_ms()))

    def _end_of_duration(self) -> int | None:
        duration_s = self.options.duration_s
        return None if duration_s is None else self.clock.now_ns() + int(duration_s * 1e9)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        """A duty ends by an error alone: that of the disk is kept, any other is a fault of ours."""
        error = task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, EarmarkError):
            self._fail(error)
        elif error is not None:
            raise error

    async def _run_clock(self) -> None:
        """Look at the clock whenever a tick may be due, until the duration is over."""
        loop = asyncio.get_running_loop()
        while True:
            await self._close_due()
            wait_ms = min(self.feature_clock.wait_ms(self.clock.now_ns()), BEAT_MS)
            sleep_s = min(max(wait_ms / 1000 / self.clock.speed, 0.001), _LONGEST_SLEEP_S)
            expected, computed_s = loop.time() + sleep_s, time.thread_time()
            await asyncio.sleep(sleep_s)
            self.status.note_lag(loop.time() - expected, time.thread_time() - computed_s)

    async def _close_due(self) -> None:
        """Close the ticks that are due, and keep the price tracks alive."""
        async with self._round:
            now_ns = self.clock.now_ns()
            exchange_ms = self.feature_clock.exchange_ms(now_ns)
            if exchange_ms >= self._next_beat_ms:
                self._next_beat_ms = exchange_ms + BEAT_MS
                self._beat(exchange_ms - self.feature_clock.grace_ms, now_ns)
            for tick, is_sample in self.feature_clock.due(now_ns):
                if self._last_round_ns:
                    self._step_s = (now_ns - self._last_round_ns) / 1e9
                    self.feature_clock.note_cycle(self._step_s)
                self._last_round_ns = now_ns
                await self._steps.run(self._close_tick(tick, is_sample))
            if self._end_ns is not None and now_ns >= self._end_ns:
                self.stop()

    def _beat(self, time_ms: int, now_ns: int) -> None:
        self.persistence.append(BEAT, now_ns, encode_tick(time_ms))
        for pipeline in self.pipelines.values():
            pipeline.beat(time_ms, now_ns)
        if self.persistence.take_states((each.book for each in self.pipelines.values()), self._step_s):
            self._steps.begin(self.persistence.save_states(self._now_ms()))

    async def _close_tick(self, tick: int, is_sample: bool) -> None:
        """Close a tick of all symbols; sockets are read between one and the next."""
        self.counts["iterations"] += 1
        samples: list[Sample] = []
        states: list[tuple[str, BookState]] = []
        for symbol, pipeline in self.pipelines.items():
            closed_ns = self.clock.now_ns()
            self.persistence.append(TICK, closed_ns, encode_tick(tick, symbol, is_sample))
            sample = pipeline.close_tick(tick, closed_ns, is_sample=is_sample)
            newest = pipeline.rows.book_steps[-1:]
            states += [(symbol, state) for state in newest if state.time_ms == tick]
            if sample is not None:
                self.status.note_jitter(self.feature_clock.exchange_ms(closed_ns) - tick)
                samples.append(sample)
            elif is_sample and pipeline.last_skip is not None:
                _log.info("no sample of %s at %d: %s (%s)", symbol, tick, *pipeline.last_skip)
            await asyncio.sleep(0)
        if self._on_states is not None and states:
            self._on_states(states)
        if not samples:
            return
        if self.signals is not None:
            self.signals.take(samples)  # before they can be written
        await self.persistence.keep(samples)
        if self._on_samples is not None:
            self._on_samples(samples)

    async def _run_flushes(self) -> None:
        """Write the buffers that are due, beside the clock: a slow store delays no tick."""
        while True:
            due = await self.persistence.due()
            await self._steps.run(self.persistence.flush_samples(due))

    async def _watch(self) -> None:
        """Ask anew for books of which nothing has come for long."""
        now_ns = self.clock.now_ns()
        for socket in self._sockets:
            for symbol in socket.connection.symbols:
                health = self.health[symbol]
                age_s = (now_ns - health.updated_ns) / 1e9
                if socket.carries_books and health.state == "live" and age_s > self.options.book_stale_s:
                    health.become("stale", f"no update for {age_s:.0f} s")
                    socket.resync(symbol, health.reason)

    def _mark_gap(self, symbol: str) -> None:
        self.persistence.append(GAP, self.clock.now_ns(), encode_json({"symbol": symbol}))
        self.pipelines[symbol].mark_gap()

    # The end

    async def _flush_all(self) -> None:
        """Write everything; where the disk has refused, both logs keep what the stores could not take.

        States of the raw book are in no log, so they are tried whatever has happened.
        """
        try:
            if self._failure is None:
                await self.persistence.flush_samples()
                await self.persistence.flush_raw(self.pipelines)
        except EarmarkError as error:
            self._fail(error)
        try:
            await self.persistence.save_states(self._now_ms(), at_end=True)
        except EarmarkError as error:
            self._fail(error)
        await self.status.publish(is_running=False)

    async def _close(self) -> None:
        for error in await self.persistence.close():
            self._fail(error)
        gc.unfreeze()

    def _fail(self, error: EarmarkError) -> None:
        if self._failure is None:
            self._failure = error
            _log.error("the collector stops: %s", error)
        self._stop.set()

    def _now_ms(self) -> int:
        """Exchange time."""
        return self.feature_clock.exchange_ms(self.clock.now_ns())

    def _finished(self) -> Finished:
        return Finished(
            n_samples=self.buffers.total,
            n_files=self.persistence.stores.n_files,
            n_raw_rows=self.counts["raw_rows"],
            recovered_samples=self.counts["recovered_samples"],
            recovered_rows=self.counts["recovered_rows"],
            statistics=self.status.statistics(),
        )
