"""The collector: sockets, pipelines, journals, buffers and stores, as one asyncio program.

What arrives goes the same way for every symbol: journal first, then the pipeline; a sample goes to the sample log
first, then to its buffer. The event loop touches no file: `JournalWriter` threads write the two logs, one worker thread
writes the stores. An error of any of these ends the collector in order: what is on the disk stays, and the next start
puts it where it belongs.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec

from earmark.errors import EarmarkError
from earmark.orderbook.book import Applied
from earmark.orderbook.events import BookUpdate, Event
from earmark.orderbook.state import GRACE_MS, BookState
from earmark.store.journal import Journal, JournalError
from earmark.store.raw import Message
from earmark.tasks.market.collect.buffers import BufferLimits, SampleBuffers
from earmark.tasks.market.collect.clock import Clock, WallClock
from earmark.tasks.market.collect.connection import Health, Socket, Timing
from earmark.tasks.market.collect.feature_clock import FeatureClock
from earmark.tasks.market.collect.pipeline import Sample, SymbolPipeline, prepare_pipelines
from earmark.tasks.market.collect.raw_lob import SAVE_S, RawLobOptions, RawLobWindows
from earmark.tasks.market.collect.records import (
    BEAT,
    CONFIG,
    GAP,
    STATE,
    TICK,
    encode_event,
    encode_json,
    encode_tick,
)
from earmark.tasks.market.collect.refill import Refill
from earmark.tasks.market.collect.replay import new_engine
from earmark.tasks.market.collect.samples import SAMPLE, WRITTEN, encode_sample
from earmark.tasks.market.collect.status import Status
from earmark.tasks.market.collect.stores import Places, Stores
from earmark.tasks.market.collect.writer import JournalWriter
from earmark.tasks.market.venues.base import Connection, UnknownSymbolError, Venue, VenueRest
from earmark.tasks.market.venues.rest import require_aiohttp

if TYPE_CHECKING:
    import aiohttp

__all__ = ["CollectOptions", "Collector", "Finished"]

_log = logging.getLogger(__name__)

P = ParamSpec("P")

BEAT_MS = 250
_WATCH_S = 1.0
_SWITCH_S = 0.0005
"""How long a thread that writes stores may keep the interpreter from the event loop, which asks for it often."""

_STATISTICS_S = 300.0
_CLOCK_S = 600.0
_LONGEST_SLEEP_S = 0.05
_SHORTEST_SLEEP_S = 0.02


@dataclass(frozen=True)
class CollectOptions:
    """What is collected, and how it is kept; see `earmark.tasks.market.settings`."""

    symbols: tuple[str, ...]
    places: Places
    limits: BufferLimits = field(default_factory=BufferLimits)
    depth: int = 200
    collection_interval: int = 10
    is_adaptive: bool = False
    track_ms: int = 0
    book_stale_s: float = 10.0
    keep_messages: bool = False
    flush_raw_s: float = 300.0
    commit_s: float = 0.1
    duration_s: float | None = None
    raw_lob: RawLobOptions | None = None
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True)
class Finished:
    """What a collector did: totals since its start, and what it found of an earlier one."""

    n_samples: int
    n_files: int
    n_raw_rows: int
    recovered_samples: int
    recovered_rows: int
    statistics: dict[str, Any]


class Collector:
    """Collects from one venue until stopped.

    Parameters
    ----------
    venue : Venue
    options : CollectOptions
    clock : Clock, optional
        Default: this machine's.
    on_status : callable, optional
        Told the statistics about once a second.
    on_samples : callable, optional
        Given the samples of each tick once they are on the disk; it runs in the event loop and has to be quick.
    on_states : callable, optional
        Given the books of each tick with their symbols when it is closed; as quick.

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
        on_status: Callable[[dict[str, Any]], None] | None = None,
        on_samples: Callable[[Sequence[Sample]], None] | None = None,
        on_states: Callable[[Sequence[tuple[str, BookState]]], None] | None = None,
    ) -> None:
        self.venue = venue
        self.options = options
        self.clock = WallClock() if clock is None else clock
        self.health = {symbol: Health() for symbol in options.symbols}
        self.pipelines = {
            symbol: SymbolPipeline(
                symbol, depth=options.depth, track_ms=options.track_ms, engine=new_engine(symbol)
            )
            for symbol in options.symbols
        }
        self.feature_clock = FeatureClock(
            options.collection_interval,
            options.is_adaptive,
            GRACE_MS,
        )
        self.stores = Stores(options.places, options.limits)
        self._raw_lob = None if options.raw_lob is None else RawLobWindows(options.symbols, options.raw_lob)
        self.counts: Counter[str] = Counter()
        self.status = Status(self, on_status)
        self._buffers = SampleBuffers(options.symbols, options.limits, self._now_s())
        self._messages: dict[str, list[Message]] = {}
        self._sockets: list[Socket] = []
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="stores")
        self._first_segment: dict[str, int] = {}
        self._in_flight: dict[str, int] = {}
        self._sample_segment = 0
        self._due: set[str] = set()
        self._step_s = 0.0
        self._is_due = asyncio.Event()
        self._writes: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._round = asyncio.Lock()
        self._next_beat_ms = self._last_round_ns = 0
        self._end_ns: int | None = None
        self._failure: EarmarkError | None = None
        self._on_samples, self._on_states = on_samples, on_states

    @property
    def buffers(self) -> SampleBuffers:
        """Samples that wait for their file."""
        return self._buffers

    @property
    def raw_lob_counts(self) -> dict[str, int]:
        """What became of the states of the raw book; empty where they are not kept."""
        return {} if self._raw_lob is None else dict(self._raw_lob.counts)

    @property
    def backlog(self) -> int:
        """Bytes of the journal that are not on the disk yet."""
        return self._journal.backlog

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
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            stack.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(_SWITCH_S)
            self._open_journals(loop)
            stack.push_async_callback(self._close)
            await self._recover(loop)
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
        self._journal.append(kind, event.received_ns, payload)
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
        message = Message(symbol, time_ms, received_ns, connection.url, text)
        self._messages.setdefault(symbol, []).append(message)

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
        if self._journal.has_room:
            return
        self.counts["waits_for_disk"] += 1
        while not self._journal.has_room and self._failure is None:
            await asyncio.sleep(0.01)

    # Start

    def _open_journals(self, loop: asyncio.AbstractEventLoop) -> None:
        places = self.options.places
        journal = Journal(places.journal)
        try:
            samples = Journal(places.samples)
        except BaseException:
            journal.close()
            raise

        def failed(error: EarmarkError) -> None:
            loop.call_soon_threadsafe(self._fail, error)

        self._journal = JournalWriter(journal, commit_s=self.options.commit_s, on_error=failed)
        self._sample_log = JournalWriter(samples, commit_s=self.options.commit_s, on_error=failed)
        self._sample_segment = samples.segment
        if journal.torn_bytes or samples.torn_bytes:
            _log.warning(
                "a crash tore %d bytes off the journal and %d off the samples; what was committed is there",
                journal.torn_bytes,
                samples.torn_bytes,
            )

    async def _recover(self, loop: asyncio.AbstractEventLoop) -> None:
        """Put what an earlier process left into the stores, and begin both logs anew."""
        self.counts["recovered_rows"] = await loop.run_in_executor(self._worker, self.stores.recover_rows)
        self.counts["recovered_samples"] = await loop.run_in_executor(
            self._worker, self.stores.recover_samples
        )
        await asyncio.wrap_future(self._journal.cut(self._journal.journal.segment))
        await asyncio.wrap_future(self._sample_log.cut(self._sample_segment))
        self._journal.append(CONFIG, self.clock.now_ns(), self._config())

    async def _prepare(self, rest: VenueRest) -> None:
        """Check the symbols, measure the clock, fill the candles."""
        self.venue.check_depth(self.options.depth)
        _log.info("the kernels are made ready; the first time on a machine takes a minute")
        await asyncio.to_thread(prepare_pipelines)
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
        loop = asyncio.get_running_loop()
        now_ms = self.feature_clock.exchange_ms(self.clock.now_ns())
        for symbol in self.options.symbols:
            stored = await loop.run_in_executor(self._worker, self.stores.recent_candles, symbol, now_ms)
            for candle in stored:
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
            await asyncio.gather(*self._writes, return_exceptions=True)
        for task in running:
            if task in done:
                self._note_end(task)

    def _duties(self) -> list[Coroutine[Any, Any, None]]:
        measures = [] if self.clock.follows_stream else [self._every(_CLOCK_S, self._refill.measure_clock)]
        return [
            *measures,
            self._run_clock(),
            self._every_of_market(_WATCH_S, self._watch),
            self._every_of_market(self.options.flush_raw_s, lambda: self._whole(self._flush_raw())),
            self._run_flushes(),
            self._every(_STATISTICS_S, self.status.log),
            self._every(_WATCH_S, self.status.publish),
            self._refill.poll_candles(),
            self._every_of_market(SAVE_S, lambda: self._whole(self._save_raw_lob())),
        ]

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

    async def _every(self, seconds: float, duty: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            await duty()

    async def _every_of_market(self, seconds: float, duty: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """As `_every`, by the collector's clock."""
        while True:
            due_s = self._now_s() + seconds
            while (left_s := due_s - self._now_s()) > 0:
                await asyncio.sleep(max(left_s / self.clock.speed, _SHORTEST_SLEEP_S))
            await duty()

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
                await self._whole(self._close_tick(tick, is_sample))
            if self._end_ns is not None and now_ns >= self._end_ns:
                self.stop()

    def _beat(self, time_ms: int, now_ns: int) -> None:
        self._journal.append(BEAT, now_ns, encode_tick(time_ms))
        is_full = False
        for pipeline in self.pipelines.values():
            pipeline.beat(time_ms, now_ns)
            if self._raw_lob is not None:
                is_full = self._raw_lob.take(pipeline.book, self._step_s) or is_full
        if is_full:
            self._begin_write(self._save_raw_lob())

    async def _close_tick(self, tick: int, is_sample: bool) -> None:
        """Close a tick of all symbols; sockets are read between one and the next."""
        self.counts["iterations"] += 1
        samples: list[Sample] = []
        states: list[tuple[str, BookState]] = []
        for symbol, pipeline in self.pipelines.items():
            closed_ns = self.clock.now_ns()
            self._journal.append(TICK, closed_ns, encode_tick(tick, symbol, is_sample))
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
        await self._keep(samples)

    async def _keep(self, samples: Sequence[Sample]) -> None:
        """Samples count from the moment in which they are on the disk."""
        if not samples:
            return
        await asyncio.wrap_future(
            self._sample_log.commit([(SAMPLE, sample.closed_ns, encode_sample(sample)) for sample in samples])
        )
        now_s = self._now_s()
        for sample in samples:
            self._first_segment.setdefault(sample.symbol, self._sample_segment)
            if self._buffers.add(sample, now_s):
                self._due.add(sample.symbol)
        self._due.update(self._buffers.due(now_s))
        if self._due:
            self._is_due.set()
        if self._on_samples is not None:
            self._on_samples(samples)

    async def _run_flushes(self) -> None:
        """Write the buffers that are due, beside the clock: a slow store delays no tick."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            due, self._due = sorted(self._due), set()
            await self._whole(self._flush_samples(due))

    async def _whole(self, step: Coroutine[Any, Any, None]) -> None:
        """Run a step that the end of the collector must not cut in two."""
        await asyncio.shield(self._begin_write(step))

    def _begin_write(self, step: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(step)
        self._writes.add(task)
        task.add_done_callback(self._note_write)
        return task

    def _note_write(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if not task.cancelled() and isinstance(task.exception(), EarmarkError):
            self._note_end(task)

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
        self._journal.append(GAP, self.clock.now_ns(), encode_json({"symbol": symbol}))
        self.pipelines[symbol].mark_gap()

    # Writing

    async def _flush_samples(self, symbols: Sequence[str] | None) -> None:
        taken = self._buffers.take(None if symbols is None else list(symbols))
        if not taken:
            return
        for symbol in taken:
            self._in_flight[symbol] = self._first_segment.pop(symbol)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._worker, self._told(self.stores.write_samples), taken)
        marks = {symbol: samples[-1].time_ms for symbol, samples in taken.items()}
        rotated = self._sample_log.rotate([(WRITTEN, self.clock.now_ns(), encode_json(marks))])
        self._sample_segment = await asyncio.wrap_future(rotated)
        for symbol in taken:
            del self._in_flight[symbol]
        waiting = [*self._first_segment.values(), *self._in_flight.values(), self._sample_segment]
        await asyncio.wrap_future(self._sample_log.cut(min(waiting)))
        self.counts["written_samples"] += sum(map(len, taken.values()))

    async def _flush_raw(self) -> None:
        """Write the rows since the last time, and cut the journal behind them."""
        loop = asyncio.get_running_loop()
        now_ns = self.clock.now_ns()
        rows = {symbol: pipeline.drain() for symbol, pipeline in self.pipelines.items()}
        messages, self._messages = self._messages, {}
        states = [(STATE, now_ns, encode_json(p.checkpoint())) for p in self.pipelines.values()]
        rotated = self._journal.rotate([(CONFIG, now_ns, self._config()), *states])
        number = await asyncio.wrap_future(rotated)
        self.counts["raw_rows"] += await loop.run_in_executor(
            self._worker, self._told(self.stores.write_rows), rows, messages
        )
        await asyncio.wrap_future(self._journal.cut(number))

    async def _save_raw_lob(self, *, at_end: bool = False) -> None:
        """Write the windows of the raw book that are worth a file."""
        if self._raw_lob is None:
            return
        states, windows = self._raw_lob.due(at_end=at_end), self._raw_lob
        root, now_ms = (
            self.options.places.data / "raw_lob",
            self.feature_clock.exchange_ms(self.clock.now_ns()),
        )
        await asyncio.get_running_loop().run_in_executor(
            self._worker, self._told(lambda: windows.save(root, states, now_ms))
        )

    async def _flush_all(self) -> None:
        """At the end; where the disk has refused, both logs keep what the stores could not take."""
        if self._failure is not None:
            return
        try:
            await self._flush_samples(None)
            await self._flush_raw()
            await self._save_raw_lob(at_end=True)
            await self.status.publish(is_running=False)
        except EarmarkError as error:
            self._fail(error)

    async def _close(self) -> None:
        loop = asyncio.get_running_loop()
        for writer in (self._sample_log, self._journal):
            try:
                await loop.run_in_executor(None, writer.close)
            except EarmarkError as error:
                self._fail(error)
        await loop.run_in_executor(None, self._worker.shutdown)
        gc.unfreeze()

    def _fail(self, error: EarmarkError) -> None:
        if self._failure is None:
            self._failure = error
            _log.error("the collector stops: %s", error)
        self._stop.set()

    def _told(self, write: Callable[P, int]) -> Callable[P, int]:
        """`write`, with what the disk refuses as an error of earmark."""

        def told(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return write(*args, **kwargs)
            except OSError as error:
                raise JournalError(
                    f"`{self.options.places.data}` cannot be written: {error.strerror or error}. Expected room on the "
                    "disk. Nothing is lost: free some space and start again, and the logs are read back."
                ) from error

        return told

    def _config(self) -> bytes:
        return encode_json(
            {
                "symbols": self.options.symbols,
                "depth": self.options.depth,
                "track_ms": self.options.track_ms,
                "venue": self.venue.name,
            }
        )

    def _now_s(self) -> float:
        return self.clock.now_ns() / 1e9

    def _finished(self) -> Finished:
        return Finished(
            n_samples=self._buffers.total,
            n_files=self.stores.n_files,
            n_raw_rows=self.counts["raw_rows"],
            recovered_samples=self.counts["recovered_samples"],
            recovered_rows=self.counts["recovered_rows"],
            statistics=self.status.statistics(),
        )
