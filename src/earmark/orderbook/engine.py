"""The features of one symbol, step by step of the feature clock: one engine, live and over records.

What a step may use is fixed by recorded numbers: trades and candles with an exchange time up to the tick (a candle's
is its end) that were received up to the state's `closed_ns`. A candle still open has no time of its own: its rows
count when received before the tick and a grace before the closing. Rows may come earlier than that; they wait.

After a gap nothing from before it is remembered but closed candles, which are a record of the exchange: the state
that follows a gap gives the same features in a process that has just begun. A gap is a state that says so, a tick
that is missing, and a tick whose book had no healthy mid.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import nan
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.orderbook.candle_features import candle_features, shape_of_candle
from earmark.orderbook.candles import CANDLE_MS, CandleSeries, is_consistent
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.orderbook.events import BestQuote, Candle, Trade
from earmark.orderbook.history import RECENT, BookHistory
from earmark.orderbook.indicators import MIN_CANDLES, default_indicators, indicators, running_changes
from earmark.orderbook.quote_flow import QuoteFlow
from earmark.orderbook.state import GRACE_MS, MAX_BOOK_AGE_MS, STEP_MS, BookState
from earmark.orderbook.stationary import RUNNING_CANDLES, Stationary
from earmark.orderbook.trade_window import TradeWindow, trade_statistics

__all__ = [
    "MAX_CANDLE_AGE_MS",
    "NOT_READY",
    "RATE_WINDOW_S",
    "FeatureEngine",
    "NotReady",
    "book_problem",
    "prepare_kernels",
]

MAX_CANDLE_AGE_MS = 180_000
"""A newest closed candle that ended so long before a tick is stale."""

RATE_WINDOW_S = 60
"""Window of trade_arrival_rate."""

NS_PER_MS = 1_000_000

MAX_WAITING = 20_000
"""Rows of a kind that wait for a tick. While ticks come few do; when none come, what is dropped here is of before the
gap and would be forgotten with it."""

Row = TypeVar("Row", Trade, Candle, BestQuote)

MID, FREQUENCY, RATE = (
    FEATURE_NAMES.index(name) for name in ("mid_price", "update_frequency", "trade_arrival_rate")
)
BOOK_VOLUME = [FEATURE_NAMES.index(name) for name in ("total_bid_volume", "total_ask_volume")]


class NotReady(NamedTuple):
    """Why there is no sample: one of `NOT_READY`, and the numbers of this case apart."""

    code: str
    detail: str


NOT_READY: dict[str, str] = {
    "no_book": "no state of the book, or none since a gap",
    "no_mid": "a side of the book is empty, or its best prices cross",
    "stale_book": "the last update lies too far back",
    "few_candles": f"fewer than {MIN_CANDLES} closed candles without a missing minute",
    "stale_candles": "the newest closed candle lies too far back",
    "same_book": "no update since the sample before, whose key it would have: where samples are less than 12 s apart",
}
"""Code -> what it means."""


def book_problem(state: BookState) -> NotReady | None:
    """Why a state has no healthy mid; None if it has."""
    if not len(state.bids) or not len(state.asks):
        return NotReady("no_mid", f"the book has {len(state.bids)} bids and {len(state.asks)} asks")
    bid, ask = state.bids[0, 0], state.asks[0, 0]
    if not bid < ask:
        return NotReady("no_mid", f"the best bid {bid:g} is not below the best ask {ask:g}")
    if state.time_ms - state.event_ms > MAX_BOOK_AGE_MS:
        age_s = (state.time_ms - state.event_ms) / 1000
        return NotReady("stale_book", f"the book was last updated {age_s:g} s before")
    return None


def admitted(rows: deque[Row], is_usable: Callable[[Row], bool]) -> list[Row]:
    """The usable rows, in order; the others stay."""
    taken: list[Row] = []
    left: list[Row] = []
    for row in rows:
        (taken if is_usable(row) else left).append(row)
    rows.clear()
    rows.extend(left)
    return taken


class FeatureEngine:
    """Features of one symbol.

    Add rows in order of receipt, then step; ask for `features` after each step or only where a sample is due.

    Parameters
    ----------
    symbol : str
    trade_rate_proxy : bool, default False
        Where no trades are known, estimate their rate from the book's updates and its change of volume, as earlier
        files did, instead of leaving it missing.
    """

    def __init__(self, symbol: str, *, trade_rate_proxy: bool = False) -> None:
        self.symbol = symbol
        self._uses_proxy = trade_rate_proxy
        self._state: BookState | None = None
        self._book_volume = 0.0
        self._waiting_trades: deque[Trade] = deque(maxlen=MAX_WAITING)
        self._waiting_quotes: deque[BestQuote] = deque(maxlen=MAX_WAITING)
        self._waiting_open: deque[Candle] = deque(maxlen=MAX_WAITING)
        self._waiting_candles: deque[Candle] = deque()
        self._open_candle: Candle | None = None
        self._candles = CandleSeries()
        self._trades = TradeWindow()
        self._forget()
        self._use_candles()

    def add_trade(self, trade: Trade) -> None:
        """Take a trade; of several with one id the first counts."""
        self._waiting_trades.append(trade)

    def add_candle(self, candle: Candle) -> None:
        """Take a candle, closed or still open; a closed one is never changed by a later row."""
        (self._waiting_candles if candle.is_closed else self._waiting_open).append(candle)

    def add_quote(self, quote: BestQuote) -> None:
        """Take a row of the price track; used by the view v2 only."""
        self._waiting_quotes.append(quote)

    def step(self, state: BookState) -> None:
        """Advance to the tick of a state, which must be later than the one before.

        Raises
        ------
        UsageError
            The tick is not later.
        """
        if self._state is not None and state.time_ms <= self._state.time_ms:
            raise UsageError(
                f"The state of {self.symbol} at {state.time_ms} ms does not follow the one at {self._state.time_ms} "
                "ms; expected states in order of time, each once. Sort them, or start another engine."
            )
        if self._starts_anew(state):
            self._restart(state.time_ms - STEP_MS)
        self._state = state
        self._take_trades(state)
        self._take_candles(state)
        self._take_open_candle(state)
        self._take_quotes(state)
        self._update(state)

    def features(self) -> npt.NDArray[np.float32]:
        """The 112 features at the last tick, in the order of the catalogue; float32, shape (112,).

        With fewer than 50 closed candles the indicators have their defaults; `not_ready` tells.
        """
        self._require_step()
        return self._values.astype(np.float32)

    def features_v2(self) -> npt.NDArray[np.float32]:
        """The dimensionless set at the last tick, in the order of `V2_NAMES`; NaN where unknown."""
        state = self._require_step()
        mid = float(self._values[MID])
        short = self._book.length < RECENT
        mapped = self._stationary.features(self._values, mid, self._running, short_history=short)
        trades = trade_statistics(self._trades, state.time_ms, mid, self._stationary.depth)
        rest = [*self._forming(state, mid), *self._flow.features(), *trades]
        return np.concatenate((mapped, rest)).astype(np.float32)

    def not_ready(self) -> NotReady | None:
        """Why there is no sample at the last tick; None if there is one."""
        if self._state is None:
            return NotReady("no_book", "no state of the book yet")
        problem = book_problem(self._state)
        if problem is not None:
            return problem
        n = self._candles.window().shape[1]
        if n < MIN_CANDLES:
            return NotReady(
                "few_candles", f"{n} closed candles without a missing minute, {MIN_CANDLES} are needed"
            )
        age_ms = self._state.time_ms - (self._candles.newest_end_ms or 0)
        if age_ms > MAX_CANDLE_AGE_MS:
            return NotReady("stale_candles", f"the newest closed candle ended {age_ms / 1000:g} s before")
        return None

    def _require_step(self) -> BookState:
        if self._state is None:
            raise UsageError(
                f"The engine of {self.symbol} has had no step; expected at least one. Call step() before features()."
            )
        return self._state

    def _starts_anew(self, state: BookState) -> bool:
        before = self._state
        return (
            before is None
            or state.follows_gap
            or state.time_ms != before.time_ms + STEP_MS
            or book_problem(before) is not None
        )

    def _forget(self) -> None:
        self._book = BookHistory()
        self._flow = QuoteFlow()
        self._stationary = Stationary()

    def _restart(self, start_ms: int) -> None:
        self._forget()
        self._trades.restart(start_ms)
        admitted(self._waiting_quotes, lambda quote: quote.time_ms <= start_ms)
        admitted(self._waiting_open, lambda candle: candle.received_ns <= start_ms * NS_PER_MS)
        if self._open_candle is not None and self._open_candle.received_ns <= start_ms * NS_PER_MS:
            self._open_candle = None

    def _take_trades(self, state: BookState) -> None:
        usable = admitted(
            self._waiting_trades, lambda t: t.time_ms <= state.time_ms and t.received_ns <= state.closed_ns
        )
        for trade in usable:
            self._trades.add(trade)
        self._trades.trim(state.time_ms)

    def _take_candles(self, state: BookState) -> None:
        usable = admitted(
            self._waiting_candles,
            lambda c: c.start_ms + CANDLE_MS <= state.time_ms and c.received_ns <= state.closed_ns,
        )
        n_new = sum(self._candles.add(candle) for candle in usable)
        if n_new:
            self._use_candles()

    def _take_open_candle(self, state: BookState) -> None:
        """Hold the newest usable row of the current minute."""
        minute_ms = state.time_ms // CANDLE_MS * CANDLE_MS
        limit_ns = min(state.time_ms * NS_PER_MS, state.closed_ns - GRACE_MS * NS_PER_MS)
        usable = admitted(self._waiting_open, lambda candle: candle.received_ns <= limit_ns)
        if self._open_candle is not None:
            usable.append(self._open_candle)
        current = [candle for candle in usable if candle.start_ms == minute_ms and is_consistent(candle)]
        self._open_candle = max(current, key=lambda candle: (candle.received_ns, candle.volume), default=None)

    def _use_candles(self) -> None:
        """Recompute what depends on closed candles alone."""
        window = self._candles.window()
        enough = window.shape[1] >= MIN_CANDLES
        close = float(window[3, -1]) if window.shape[1] else 0.0
        tail = indicators(window) if enough else default_indicators(close)
        self._candle_part = np.concatenate((candle_features(window), tail))
        self._running = running_changes(window, RUNNING_CANDLES)

    def _take_quotes(self, state: BookState) -> None:
        usable = admitted(
            self._waiting_quotes, lambda q: q.time_ms <= state.time_ms and q.received_ns <= state.closed_ns
        )
        self._flow.push(sorted(usable, key=lambda quote: (quote.time_ms, quote.received_ns)))

    def _update(self, state: BookState) -> None:
        self._values = np.concatenate((self._book.push(state), self._candle_part))
        rate = self._trades.rate(state.time_ms, RATE_WINDOW_S)
        volume = float(self._values[BOOK_VOLUME].sum())
        if self._uses_proxy and np.isnan(rate):
            change = abs(volume - self._book_volume) / volume if volume > 0 and self._book.length > 1 else 0.0
            rate = self._values[FREQUENCY] * (1 + min(change, 1.0))
        self._values[RATE] = rate
        self._book_volume = volume
        self._stationary.push(self._values)

    def _forming(self, state: BookState, mid: float) -> list[float]:
        """Shape of the candle still open at the tick, and its age in seconds; NaN where it is not known."""
        candle = self._open_candle
        if candle is None:
            return [nan] * 14
        window = self._candles.window()
        follows = self._candles.newest_end_ms == candle.start_ms
        before = float(window[3, -1]) if follows else 0.0
        shape = shape_of_candle(candle.open, candle.high, candle.low, candle.close, candle.volume, before)
        age_s = (state.time_ms - candle.start_ms) / 1000
        return [*self._stationary.candle(np.array(shape), mid).tolist(), age_s]


def prepare_kernels() -> None:
    """Compile, or load, all that a step needs: seconds that a live process spends before it connects."""
    engine = FeatureEngine("prepared")
    end_ms = MIN_CANDLES * CANDLE_MS
    for start_ms in range(0, end_ms, CANDLE_MS):
        engine.add_candle(Candle(engine.symbol, start_ms, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, True, 0))
    engine.add_candle(Candle(engine.symbol, end_ms, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, False, 0))
    for time_ms in (end_ms, end_ms + STEP_MS):
        closed_ns = (time_ms + GRACE_MS) * NS_PER_MS
        engine.step(BookState(time_ms, closed_ns, np.array([[1.0, 1.0]]), np.array([[2.0, 1.0]]), time_ms, 1))
        engine.features_v2()
