"""What becomes of the events of one symbol: the book at each tick, the price track, trades, candles and samples.

A pipeline is deterministic: it has no socket, no file and no clock, and is told everything by its methods, in the order
in which it happened. The same calls give the same rows, bit for bit; that is how a journal is replayed.

The book at a tick T holds every update up to T. A venue's updates come in the order of its matching engine, so the
book is copied when the first update later than T arrives, and the tick is closed a grace later with that copy. An
update whose tick has been copied before it came is late: it belongs to the next tick and is counted.

Times as in `earmark.orderbook.events`: ``*_ms`` is exchange time, ``*_ns`` this machine's.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.orderbook.book import Applied, OrderBook
from earmark.orderbook.candles import is_consistent
from earmark.orderbook.engine import FeatureEngine, NotReady
from earmark.orderbook.events import BestQuote, BookUpdate, Candle, Event, Levels, Trade
from earmark.orderbook.state import FEATURE_LEVELS, MAX_BOOK_AGE_MS, STEP_MS, BookState

__all__ = ["HEARTBEAT_MS", "Rows", "Sample", "SymbolPipeline", "price_facts"]

HEARTBEAT_MS = 500
"""The price track has a row at least so often while the book is healthy."""

_REMEMBERED_TRADES = 5_000
_REMEMBERED_CANDLES = 1_000
_FARTHEST_STEPS = 100  # an update so many ticks ahead does not make a copy for each of them
_BROKEN = (Applied.GAP, Applied.CROSSED, Applied.INVALID)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Features at a tick, and what a label stub needs.

    Attributes
    ----------
    time_ms : int
        The tick.
    closed_ns : int
    book_ms : int
        Time of the newest update in the book.
    features : ndarray of float32, shape (112,)
    features_v2 : ndarray of float32, shape (len(V2_NAMES),)
    mid, spread, imbalance : float
        Imbalance is bid / (bid + ask) of the feature book, 0..1.
    n_late : int
        Updates that came too late for their tick.
    follows_gap : bool
        Whether history began anew at this tick.
    """

    symbol: str
    time_ms: int
    closed_ns: int
    book_ms: int
    features: npt.NDArray[np.float32]
    features_v2: npt.NDArray[np.float32]
    mid: float
    spread: float
    imbalance: float
    n_late: int
    follows_gap: bool


@dataclass
class Rows:
    """Rows of one symbol that wait for the raw store, each stream in order of receipt."""

    book_steps: list[BookState] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    candles: list[Candle] = field(default_factory=list)
    bbo: list[BestQuote] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.book_steps) + len(self.trades) + len(self.candles) + len(self.bbo)

    def streams(self) -> dict[str, list[Any]]:
        """Stream of the raw store -> its rows, where there are any."""
        return {name: rows for name, rows in vars(self).items() if rows}

    def extend(self, other: Rows) -> None:
        """Append the rows of `other`."""
        for name, rows in vars(other).items():
            getattr(self, name).extend(rows)


@dataclass(frozen=True, slots=True)
class _Copy:
    """The feature book at a tick that is not closed yet."""

    time_ms: int
    bids: Levels
    asks: Levels
    event_ms: int
    n_updates: int
    n_late: int
    follows_gap: bool


class SymbolPipeline:
    """Rows and samples of one symbol.

    Parameters
    ----------
    symbol : str
    depth : int
        Levels per side of the subscription.
    track_ms : int
        The price track has no two rows closer than this; 0 keeps every change.
    engine : FeatureEngine, optional
        Without one there are rows and no samples.

    Attributes
    ----------
    rows : Rows
        What has come since the last `drain`.
    counts : Counter
        Events and what was refused: ``updates``, ``trades``, ``candles``, ``duplicate_trades``, ``bad_candles``,
        ``late``, ``gaps``; ``candles`` are closed ones.
    skipped : Counter
        Code of `earmark.orderbook.engine.NOT_READY` -> samples that were due and not taken.
    last_skip : NotReady or None
        Why the newest of these was not taken.
    """

    def __init__(
        self, symbol: str, *, depth: int = 200, track_ms: int = 0, engine: FeatureEngine | None = None
    ) -> None:
        self.symbol = symbol
        self.book = OrderBook(symbol, depth)
        self.track_ms = track_ms
        self.engine = engine
        self.rows = Rows()
        self.counts: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.last_skip: NotReady | None = None
        self._next_tick: int | None = None
        self._copies: deque[_Copy] = deque()
        self._n_updates = self._n_late = self._sequence = 0
        self._sampled_ms: int | None = None
        self._follows_gap = True  # what was before the start is not known
        self._quote: BestQuote | None = None
        self._trade_ids: dict[str, None] = {}  # a set that knows its oldest members
        self._minutes: dict[int, None] = {}

    def push(self, event: Event) -> Applied | None:
        """Take an event; for an update of the book, what became of it."""
        if isinstance(event, BookUpdate):
            return self._push_update(event)
        if isinstance(event, Trade):
            self._push_trade(event)
        else:
            self._push_candle(event)
        return None

    def mark_gap(self) -> None:
        """Something was lost: the book waits for a snapshot, and history begins anew behind it."""
        self.book.reset()
        self._note_gap()

    def beat(self, time_ms: int, received_ns: int) -> None:
        """Note in the price track that up to `time_ms` nothing else has come, while the book is healthy."""
        best = self.book.best()
        if best is None or self._quote is None or time_ms - self.book.event_ms >= MAX_BOOK_AGE_MS:
            return
        changed = best != _best_of(self._quote)
        time_ms = max(time_ms, self.book.event_ms) if changed else time_ms
        if time_ms >= self._quote.time_ms + (self.track_ms if changed else max(HEARTBEAT_MS, self.track_ms)):
            self._track(BestQuote(self.symbol, time_ms, *best, received_ns=received_ns))

    def close_tick(self, time_ms: int, closed_ns: int, *, is_sample: bool) -> Sample | None:
        """Close the tick `time_ms`: a row of the book, a step of the features, and the sample if one is due.

        No row is made while the book is unusable.
        """
        copied = self._copy_for(time_ms)
        if copied is None:
            if is_sample:
                self._skip(self._why_no_book())
            return None
        state = BookState(
            time_ms,
            closed_ns,
            copied.bids,
            copied.asks,
            copied.event_ms,
            copied.n_updates,
            copied.follows_gap,
            copied.n_late,
        )
        self.rows.book_steps.append(state)
        if self.engine is None:
            return None
        self.engine.step(state)
        return self._sample(state) if is_sample else None

    @property
    def newest_minute_ms(self) -> int | None:
        """Start of the newest closed candle."""
        return max(self._minutes, default=None)

    def drain(self) -> Rows:
        """The rows since the last time; they are the caller's now."""
        rows, self.rows = self.rows, Rows()
        return rows

    def _push_update(self, update: BookUpdate) -> Applied:
        self.counts["updates"] += 1
        self._copy_before(update.event_ms)
        had_book = self.book.problem is None
        applied = self.book.apply(update)
        if applied in _BROKEN or (applied is Applied.SNAPSHOT and had_book):
            self._note_gap()
        if applied in (Applied.APPLIED, Applied.SNAPSHOT):
            self._note_update(update)
            self._track_change(update)
        return applied

    def _note_update(self, update: BookUpdate) -> None:
        self._n_updates += 1
        self._sequence = update.sequence
        if self._next_tick is not None and update.event_ms <= self._next_tick - STEP_MS:
            self._n_late += 1
            self.counts["late"] += 1

    def _note_gap(self) -> None:
        self._follows_gap = True
        self.counts["gaps"] += 1

    def _track_change(self, update: BookUpdate) -> None:
        best = self.book.best()
        last = self._quote
        if best is None or (last is not None and best == _best_of(last)):
            return
        if last is None or update.event_ms >= last.time_ms + self.track_ms:
            time_ms = update.event_ms if last is None else max(update.event_ms, last.time_ms)
            self._track(BestQuote(self.symbol, time_ms, *best, received_ns=update.received_ns))

    def _track(self, quote: BestQuote) -> None:
        self._quote = quote
        self.rows.bbo.append(quote)
        if self.engine is not None:
            self.engine.add_quote(quote)

    def _push_trade(self, trade: Trade) -> None:
        if trade.trade_id in self._trade_ids:
            self.counts["duplicate_trades"] += 1
            return
        _remember(self._trade_ids, trade.trade_id, _REMEMBERED_TRADES)
        self.counts["trades"] += 1
        self.rows.trades.append(trade)
        if self.engine is not None:
            self.engine.add_trade(trade)

    def _push_candle(self, candle: Candle) -> None:
        if candle.start_ms in self._minutes:
            return  # a closed candle never changes
        if not is_consistent(candle):
            self.counts["bad_candles"] += 1
            return
        if candle.is_closed:
            _remember(self._minutes, candle.start_ms, _REMEMBERED_CANDLES)
            self.counts["candles"] += 1
        self.rows.candles.append(candle)
        if self.engine is not None:
            self.engine.add_candle(candle)

    def _copy_before(self, event_ms: int) -> None:
        """Copy the book for every open tick that ends before `event_ms`."""
        if self._next_tick is None or event_ms - self._next_tick > _FARTHEST_STEPS * STEP_MS:
            self._next_tick = -(-event_ms // STEP_MS) * STEP_MS
        while event_ms > self._next_tick:
            self._copy()

    def _copy(self) -> None:
        """Keep the book for the next tick; nothing is kept of an unusable one."""
        assert self._next_tick is not None
        if self.book.is_healthy:
            bids, asks = self.book.top(FEATURE_LEVELS)
            self._copies.append(
                _Copy(
                    self._next_tick,
                    bids,
                    asks,
                    self.book.event_ms,
                    self._n_updates,
                    self._n_late,
                    self._follows_gap,
                )
            )
            self._n_updates = self._n_late = 0
            self._follows_gap = False
        self._next_tick += STEP_MS

    def _copy_for(self, time_ms: int) -> _Copy | None:
        """The copy of the tick `time_ms`, made now if no later update has come."""
        if self._next_tick is None or self._next_tick < time_ms:
            self._next_tick = time_ms
        if self._next_tick == time_ms:
            self._copy()
        while self._copies and self._copies[0].time_ms < time_ms:
            self._copies.popleft()
        return self._copies.popleft() if self._copies and self._copies[0].time_ms == time_ms else None

    def _sample(self, state: BookState) -> Sample | None:
        assert self.engine is not None
        reason = self.engine.not_ready() or self._why_no_key(state)
        if reason is not None:
            self._skip(reason)
            return None
        self._sampled_ms = state.event_ms
        mid, spread, imbalance = price_facts(state)
        return Sample(
            symbol=self.symbol,
            time_ms=state.time_ms,
            closed_ns=state.closed_ns,
            book_ms=state.event_ms,
            features=self.engine.features(),
            features_v2=self.engine.features_v2(),
            mid=mid,
            spread=spread,
            imbalance=imbalance,
            n_late=state.n_late,
            follows_gap=state.follows_gap,
        )

    def _skip(self, reason: NotReady) -> None:
        self.skipped[reason.code] += 1
        self.last_skip = reason

    def _why_no_book(self) -> NotReady:
        if self.book.problem is not None:
            return NotReady("no_book", self.book.problem)
        return NotReady("no_mid", "a side of the book is empty, or it came after the tick")

    def _why_no_key(self, state: BookState) -> NotReady | None:
        """A sample is known by the time of its book, so that a silent book has one."""
        if state.event_ms != self._sampled_ms:
            return None
        age_s = (state.time_ms - state.event_ms) / 1000
        return NotReady("same_book", f"the last update came {age_s:g} s before, and was sampled")

    def checkpoint(self) -> dict[str, Any]:
        """What another pipeline needs to go on from here (`restore`), as JSON: the book, open ticks, counters."""
        bids, asks = self.book.top(self.book.depth)
        quote = self._quote
        return {
            "symbol": self.symbol,
            "next_tick": self._next_tick,
            "n_updates": self._n_updates,
            "n_late": self._n_late,
            "follows_gap": self._follows_gap,
            "quote": None if quote is None else [quote.time_ms, *_best_of(quote), quote.received_ns],
            "book": None
            if self.book.problem is not None
            else {
                "bids": bids.tolist(),
                "asks": asks.tolist(),
                "update_id": self.book.update_id,
                "event_ms": self.book.event_ms,
                "sequence": self._sequence,
            },
            "copies": [
                [
                    c.time_ms,
                    c.bids.tolist(),
                    c.asks.tolist(),
                    c.event_ms,
                    c.n_updates,
                    c.n_late,
                    c.follows_gap,
                ]
                for c in self._copies
            ],
            "minutes": list(self._minutes),
            "trade_ids": list(self._trade_ids)[-200:],
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from a `checkpoint` of this symbol."""
        self._next_tick = saved["next_tick"]
        self._n_updates, self._n_late = saved["n_updates"], saved["n_late"]
        self._follows_gap = saved["follows_gap"]
        self._copies = deque(
            _Copy(time_ms, _levels(bids), _levels(asks), *rest)
            for time_ms, bids, asks, *rest in saved["copies"]
        )
        if saved["quote"] is not None:
            self._quote = BestQuote(self.symbol, *saved["quote"])
        self._minutes = dict.fromkeys(saved["minutes"])
        self._trade_ids = dict.fromkeys(saved["trade_ids"])
        self.book.reset()
        if saved["book"] is not None:
            self._restore_book(saved["book"])

    def _restore_book(self, saved: Mapping[str, Any]) -> None:
        self._sequence = saved["sequence"]
        self.book.apply(
            BookUpdate(
                self.symbol,
                True,
                _levels(saved["bids"]),
                _levels(saved["asks"]),
                saved["update_id"],
                saved["sequence"],
                saved["event_ms"],
                saved["event_ms"],
                0,
            )
        )


def price_facts(state: BookState) -> tuple[float, float, float]:
    """Mid, spread and imbalance (0..1) of a healthy feature book, as a sample states them."""
    (bid, _), (ask, _) = state.bids[0].tolist(), state.asks[0].tolist()
    bid_sum, ask_sum = float(state.bids[:, 1].sum()), float(state.asks[:, 1].sum())
    return (bid + ask) / 2, ask - bid, bid_sum / (bid_sum + ask_sum)


def _best_of(quote: BestQuote) -> tuple[float, float, float, float]:
    return quote.bid, quote.bid_quantity, quote.ask, quote.ask_quantity


def _levels(rows: Iterable[Any]) -> Levels:
    return np.array(list(rows), dtype=np.float64).reshape(-1, 2)


def _remember(known: dict[Any, None], key: Any, limit: int) -> None:
    known[key] = None
    if len(known) > limit:
        del known[next(iter(known))]
