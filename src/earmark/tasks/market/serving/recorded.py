"""`earmark stream market`: a recording told to the collector's pipeline again, and what the model says of its samples.

A recording is a journal of a collector, rows of the raw store, or messages of a venue as lines of text. All three pass
the code that collects, so their samples are those that were stored, bit for bit.

A line is a message as the venue sent it, or a JSON object ``{"received_ns": ..., "text": "..."}``. A bare message
counts as received at the time that it names itself.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import InputError
from earmark.orderbook.state import MAX_BOOK_AGE_MS, STEP_MS
from earmark.tasks.market.collect.feature_clock import FeatureClock
from earmark.tasks.market.collect.pipeline import SymbolPipeline
from earmark.tasks.market.collect.replay import new_engine, replay_journal
from earmark.tasks.market.serving.answers import Answerer
from earmark.tasks.market.serving.series import Observed, Row
from earmark.tasks.market.serving.ticks import Ticks
from earmark.tasks.market.venues.base import Control, MessageError, Venue

if TYPE_CHECKING:
    from earmark.orderbook.state import BookState
    from earmark.store.raw import RawStore
    from earmark.tasks.market.serving.model import ServedModel

__all__ = ["stream_journal", "stream_lines", "stream_raw"]

WARM_UP_MS = 6 * 3_600_000
"""Rows before the range that the features look at: 200 closed candles and more."""

HISTORIES = 4
"""Rows before the range of a model's history that are told first, in lengths of it: some lie behind a gap."""

Record = dict[str, Any]


def stream_journal(answerer: Answerer, folder: str | Path) -> Iterator[Record]:
    """Records of the rows of a journal, in order of their ticks; its writer may be alive.

    Raises
    ------
    InputError
        The journal is damaged before its end, or there is none.
    """
    replayed = replay_journal(folder)
    if not replayed.n_records:
        raise InputError(
            f"`{folder}` holds no journal. Expected segments of one, such as data/collector/journal."
        )
    if not answerer.model.reads_levels:
        for _, samples in groupby(replayed.samples, attrgetter("time_ms")):
            yield from answerer.take(samples)
        return
    ticks = Ticks(answerer.model)
    by_symbol = [[(symbol, state) for state in rows.book_steps] for symbol, rows in replayed.rows.items()]
    merged = heapq.merge(*by_symbol, key=lambda one: one[1].time_ms)
    for _, states in groupby(merged, lambda one: one[1].time_ms):
        yield from answerer.take(ticks.observed((), states))


def stream_raw(
    answerer: Answerer,
    raw: RawStore,
    *,
    symbols: Sequence[str] = (),
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> Iterator[Record]:
    """Records of the samples that the raw rows give, by symbol and time.

    Raises
    ------
    InputError
        There are no books in the range.
    """
    names = list(symbols) or raw.symbols()
    found = False
    for symbol in names:
        for row in _raw_rows(raw, symbol, answerer.model, start_ms, end_ms):
            if end_ms is not None and row.book_ms > end_ms:
                break
            if start_ms is not None and row.book_ms < start_ms:
                answerer.push([row])
                continue
            found = True
            yield from answerer.take([row])
    if not found:
        raise InputError(
            f"No row of {', '.join(names) or 'any symbol'} comes of the raw rows in `{raw.root}`. Expected books, and "
            "for samples at least 50 closed candles. Run: earmark collect market"
        )


def stream_lines(
    answerer: Answerer, lines: Iterable[str], venue: Venue, *, depth: int = 200, symbols: Sequence[str] = ()
) -> Iterator[Record]:
    """Records of the samples that messages give, as soon as their ticks are due.

    Parameters
    ----------
    answerer : Answerer
    lines : iterable of str
        See the module; empty lines are left out.
    venue : Venue
        Which reads them.
    depth : int
        Levels of the subscription that they came of.
    symbols : sequence of str
        Empty: all.

    Raises
    ------
    InputError
        A line is no message of the venue; the message names it.
    """
    heard = _Hearing(answerer, venue, depth, frozenset(symbols))
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield from heard.take(*_message(line))
            except (MessageError, ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"Line {number} is no message of {venue.name} ({error}). Expected one message a line, or an object "
                    "with received_ns and text."
                ) from error
    yield from heard.finish()


class _Hearing:
    """Pipelines that are told messages; the clock is that of the receipts."""

    def __init__(self, answerer: Answerer, venue: Venue, depth: int, symbols: frozenset[str]) -> None:
        self._answerer, self._venue, self._depth, self._symbols = answerer, venue, depth, symbols
        self._pipelines: dict[str, SymbolPipeline] = {}
        self._clock = FeatureClock(answerer.model.interval_ms // STEP_MS)
        self._ticks = Ticks(answerer.model)
        self._last_ns = 0

    def take(self, received_ns: int, text: str) -> Iterator[Record]:
        """Close the ticks that were due before the message came, then tell it."""
        yield from self._close(received_ns)
        parsed = self._venue.parse(text, received_ns)
        if isinstance(parsed, Control):
            return
        for event in parsed:
            if not self._symbols or event.symbol in self._symbols:
                self._pipeline(event.symbol).push(event)

    def finish(self) -> Iterator[Record]:
        """Close the tick that the last message has reached."""
        if self._last_ns:
            yield from self._close(self._last_ns + self._clock.grace_ms * 1_000_000)

    def _close(self, now_ns: int) -> Iterator[Record]:
        self._last_ns = now_ns
        for tick, is_sample in self._clock.due(now_ns):
            samples, states = [], []
            for symbol, pipeline in self._pipelines.items():
                sample = pipeline.close_tick(tick, now_ns, is_sample=is_sample)
                samples += [] if sample is None else [sample]
                states += [(symbol, state) for state in pipeline.drain().book_steps]
            yield from self._answerer.take(self._ticks.observed(samples, states))

    def _pipeline(self, symbol: str) -> SymbolPipeline:
        if symbol not in self._pipelines:
            self._pipelines[symbol] = SymbolPipeline(symbol, depth=self._depth, engine=new_engine(symbol))
        return self._pipelines[symbol]


def _message(line: str) -> tuple[int, str]:
    """Time of receipt and text of a line."""
    found = json.loads(line)
    if "text" in found:
        return int(found["received_ns"]), str(found["text"])
    return int(found.get("ts", found.get("E", 0))) * 1_000_000, line


def _raw_rows(
    raw: RawStore, symbol: str, model: ServedModel, start_ms: int | None, end_ms: int | None
) -> Iterator[Observed]:
    """Rows of one symbol up to some after the range, those of the warm-up included."""
    if not model.reads_levels:
        yield from _raw_samples(raw, symbol, model.interval_ms, start_ms, end_ms)
        return
    ticks = Ticks(model)
    first = None if start_ms is None else start_ms - HISTORIES * model.history_rows * model.interval_ms
    for state in _states(raw, symbol, first, end_ms):
        yield from ticks.observed((), [(symbol, state)])


def _raw_samples(
    raw: RawStore, symbol: str, interval_ms: int, start_ms: int | None, end_ms: int | None
) -> Iterator[Row]:
    """Samples of one symbol, one of each book; a sample in the range may belong to a tick behind it."""
    from earmark.orderbook.replay import replay

    first = None if start_ms is None else start_ms - WARM_UP_MS
    last = None if end_ms is None else end_ms + MAX_BOOK_AGE_MS
    mids: dict[int, float] = {}
    replayed = replay(
        _noting_mids(_states(raw, symbol, first, last), interval_ms, mids),
        raw.read_rows("trades", symbol, first, last),
        raw.read_rows("candles", symbol, first, last),
        raw.read_rows("bbo", symbol, first, last),
        symbol=symbol,
        interval_ms=interval_ms,
    )
    ready = np.flatnonzero(replayed.ready)
    is_new = np.diff(replayed.event_ms[ready], prepend=-1) != 0
    for place in ready[is_new].tolist():
        yield Row(
            symbol,
            int(replayed.event_ms[place]),
            replayed.features[place],
            replayed.v2[place],
            mids[int(replayed.time_ms[place])],
        )


def _states(raw: RawStore, symbol: str, start_ms: int | None, end_ms: int | None) -> Iterator[BookState]:
    """Books in order, a day in memory at a time."""
    from earmark.store.times import range_ms

    for date in raw.dates("book_steps", symbol):
        first, last = range_ms(date, date)
        low = max(bound for bound in (first, start_ms) if bound is not None)
        high = min(bound for bound in (last, end_ms) if bound is not None)
        if low <= high:
            yield from raw.read_rows("book_steps", symbol, low, high)


def _noting_mids(
    states: Iterable[BookState], interval_ms: int, mids: dict[int, float]
) -> Iterator[BookState]:
    """The states, with the mid of each sample noted as the pipeline computes it."""
    for state in states:
        if state.time_ms % interval_ms == 0 and len(state.bids) and len(state.asks):
            mids[state.time_ms] = (float(state.bids[0, 0]) + float(state.asks[0, 0])) / 2
        yield state
