"""The way of what a collector takes to the disk: two logs, buffers, stores.

The journal has every event before its pipeline sees it, the sample log every sample before it counts; their segments go
when the stores have what they hold. `JournalWriter` threads write the logs and one worker thread writes the stores, so
that the event loop touches no file. States of the raw book are in no log: what the disk refuses of them waits in
memory for the next attempt, and what the last one leaves is counted as lost.

Every error of the disk is an `EarmarkError`. Times are ns of the collector's clock, ``*_ms`` is exchange time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from earmark.errors import EarmarkError
from earmark.orderbook.book import OrderBook
from earmark.orderbook.events import Candle
from earmark.store.journal import Journal, JournalError
from earmark.store.raw import Message
from earmark.tasks.market.collect.buffers import SampleBuffers
from earmark.tasks.market.collect.clock import Clock
from earmark.tasks.market.collect.options import CollectOptions
from earmark.tasks.market.collect.pipeline import Sample, SymbolPipeline
from earmark.tasks.market.collect.raw_lob import RawLobWindows
from earmark.tasks.market.collect.records import CONFIG, STATE, encode_json
from earmark.tasks.market.collect.samples import SAMPLE, WRITTEN, encode_sample
from earmark.tasks.market.collect.signals import SignalSource
from earmark.tasks.market.collect.stores import Stores
from earmark.tasks.market.collect.writer import JournalWriter

__all__ = ["Persistence"]

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_FROM_LOGS = "Nothing is lost: free some space and start again, and the logs are read back."
_FROM_MEMORY = "What waits is tried once more at the end: free some space and start again."


class Persistence:
    """Logs, buffers and stores of one collector.

    Parameters
    ----------
    options : CollectOptions
    venue : str
        Its name.
    depth : int
        Levels per side that the books keep.
    clock : Clock
    counts : Counter
        Of the collector; ``raw_rows``, ``written_samples`` and what was recovered are counted here.
    signals : SignalSource, optional
        Fills the signal columns of samples when they are written.

    Attributes
    ----------
    buffers : SampleBuffers
        Samples that wait for their file.
    stores : Stores
    """

    def __init__(
        self,
        options: CollectOptions,
        venue: str,
        depth: int,
        clock: Clock,
        counts: Counter[str],
        signals: SignalSource | None = None,
    ) -> None:
        self.options = options
        self.stores = Stores(options.places, options.limits, signals)
        self.buffers = SampleBuffers(options.symbols, options.limits, clock.now_ns() / 1e9)
        self._config = encode_json(
            {"symbols": options.symbols, "depth": depth, "track_ms": options.track_ms, "venue": venue}
        )
        self._clock = clock
        self._counts = counts
        self._raw_lob = None if options.raw_lob is None else RawLobWindows(options.symbols, options.raw_lob)
        self._messages: dict[str, list[Message]] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="stores")
        self._first_segment: dict[str, int] = {}
        self._in_flight: dict[str, int] = {}
        self._sample_segment = 0
        self._due: set[str] = set()
        self._is_due = asyncio.Event()

    @property
    def raw_lob_counts(self) -> dict[str, int]:
        """What became of the states of the raw book; empty where they are not kept."""
        return {} if self._raw_lob is None else dict(self._raw_lob.counts)

    @property
    def backlog(self) -> int:
        """Bytes of the journal that are not on the disk yet."""
        return self._journal.backlog

    @property
    def has_room(self) -> bool:
        """Whether the disk has kept up, so that more may be read."""
        return self._journal.has_room

    # From the first to the last

    def open(self, on_error: Callable[[EarmarkError], None]) -> None:
        """Open both logs; `on_error` is told, in the running event loop, of what ends their writing.

        Raises
        ------
        UsageError
            Another collector writes here.
        """
        loop, places = asyncio.get_running_loop(), self.options.places
        journal = Journal(places.journal)
        try:
            samples = Journal(places.samples)
        except BaseException:
            journal.close()
            raise

        def failed(error: EarmarkError) -> None:
            loop.call_soon_threadsafe(on_error, error)

        self._journal = JournalWriter(journal, commit_s=self.options.commit_s, on_error=failed)
        self._sample_log = JournalWriter(samples, commit_s=self.options.commit_s, on_error=failed)
        self._sample_segment = samples.segment
        if journal.torn_bytes or samples.torn_bytes:
            _log.warning(
                "a crash tore %d bytes off the journal and %d off the samples; what was committed is there",
                journal.torn_bytes,
                samples.torn_bytes,
            )

    async def recover(self) -> None:
        """Put what an earlier process left into the stores, and begin both logs anew."""
        self._counts["recovered_rows"] = await self._in_worker(self.stores.recover_rows)
        self._counts["recovered_samples"] = await self._in_worker(self.stores.recover_samples)
        await asyncio.wrap_future(self._journal.cut(self._journal.journal.segment))
        await asyncio.wrap_future(self._sample_log.cut(self._sample_segment))
        self.append(CONFIG, self._clock.now_ns(), self._config)

    async def recent_candles(self, symbol: str, now_ms: int) -> list[Candle]:
        """As of `Stores`."""
        return await self._in_worker(self.stores.recent_candles, symbol, now_ms)

    async def close(self) -> list[EarmarkError]:
        """Write what is left of the logs and end all threads; gives what ended the writing, if anything did."""
        loop, errors = asyncio.get_running_loop(), []
        for writer in (self._sample_log, self._journal):
            try:
                await loop.run_in_executor(None, writer.close)
            except EarmarkError as error:
                errors.append(error)
        await loop.run_in_executor(None, self._worker.shutdown)
        return errors

    # What is taken

    def append(self, kind: int, time_ns: int, payload: bytes) -> None:
        """Hand a record to the journal."""
        self._journal.append(kind, time_ns, payload)

    def take_message(self, message: Message) -> None:
        """Keep a message for the raw store; the journal does not have it."""
        self._messages.setdefault(message.symbol, []).append(message)

    def take_states(self, books: Iterable[OrderBook], step_s: float) -> bool:
        """Take the states of the raw book that are due; whether they have to be written at once."""
        if self._raw_lob is None:
            return False
        are_full = [self._raw_lob.take(book, step_s) for book in books]
        return any(are_full)

    async def keep(self, samples: Sequence[Sample]) -> None:
        """Log samples, which count from the moment in which they are on the disk, and buffer them."""
        await asyncio.wrap_future(
            self._sample_log.commit([(SAMPLE, sample.closed_ns, encode_sample(sample)) for sample in samples])
        )
        now_s = self._clock.now_ns() / 1e9
        for sample in samples:
            self._first_segment.setdefault(sample.symbol, self._sample_segment)
            if self.buffers.add(sample, now_s):
                self._due.add(sample.symbol)
        self._due.update(self.buffers.due(now_s))
        if self._due:
            self._is_due.set()

    async def due(self) -> list[str]:
        """Wait for symbols whose buffers are to be written, and give them."""
        await self._is_due.wait()
        self._is_due.clear()
        due, self._due = sorted(self._due), set()
        return due

    # To the stores

    async def flush_samples(self, symbols: Sequence[str] | None = None) -> None:
        """Write the buffers of these symbols, or of all, and cut the sample log behind them."""
        taken = self.buffers.take(None if symbols is None else list(symbols))
        if not taken:
            return
        for symbol in taken:
            self._in_flight[symbol] = self._first_segment.pop(symbol)
        await self._in_worker(self._told(self.stores.write_samples, _FROM_LOGS), taken)
        marks = {symbol: samples[-1].time_ms for symbol, samples in taken.items()}
        rotated = self._sample_log.rotate([(WRITTEN, self._clock.now_ns(), encode_json(marks))])
        self._sample_segment = await asyncio.wrap_future(rotated)
        for symbol in taken:
            del self._in_flight[symbol]
        waiting = [*self._first_segment.values(), *self._in_flight.values(), self._sample_segment]
        await asyncio.wrap_future(self._sample_log.cut(min(waiting)))
        self._counts["written_samples"] += sum(map(len, taken.values()))

    async def flush_raw(self, pipelines: Mapping[str, SymbolPipeline]) -> None:
        """Write the rows since the last time, and cut the journal behind them."""
        now_ns = self._clock.now_ns()
        rows = {symbol: pipeline.drain() for symbol, pipeline in pipelines.items()}
        messages, self._messages = self._messages, {}
        states = [(STATE, now_ns, encode_json(pipeline.checkpoint())) for pipeline in pipelines.values()]
        rotated = self._journal.rotate([(CONFIG, now_ns, self._config), *states])
        number = await asyncio.wrap_future(rotated)
        write = self._told(self.stores.write_rows, _FROM_LOGS)
        self._counts["raw_rows"] += await self._in_worker(write, rows, messages)
        await asyncio.wrap_future(self._journal.cut(number))

    async def save_states(self, now_ms: int, *, at_end: bool = False) -> None:
        """Write the windows of the raw book that are worth a file; at the end all, and count what that leaves."""
        windows, root = self._raw_lob, self.options.places.data / "raw_lob"
        if windows is None:
            return
        save = self._told(windows.save, _FROM_MEMORY)
        try:
            await self._in_worker(save, root, windows.due(at_end=at_end), now_ms)
        finally:
            if at_end and (n_lost := windows.give_up()):
                _log.error("%d states of the raw book are lost: the disk refused them to the end", n_lost)

    async def _in_worker(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in the thread that writes the stores."""
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, lambda: function(*args, **kwargs)
        )

    def _told(self, write: Callable[P, int], advice: str) -> Callable[P, int]:
        """`write`, with what the disk refuses as an error of earmark."""

        def told(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return write(*args, **kwargs)
            except OSError as error:
                raise JournalError(
                    f"`{self.options.places.data}` cannot be written: {error.strerror or error}. Expected room on the "
                    f"disk. {advice}"
                ) from error

        return told
