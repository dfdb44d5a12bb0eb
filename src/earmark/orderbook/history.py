"""Features 1-48 and 50: the book and its history on the feature clock.

The history holds the last 20 states, newest included, and starts anew after a gap. Lives of levels are in seconds,
measured from tick to tick, so a multiple of the step.

References
----------
Kyle (1985), Amihud (2002), Roll (1984) for features 40-42.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from earmark.orderbook.compiled import compiled
from earmark.orderbook.events import Levels
from earmark.orderbook.lob import best_prices, book_features, lives, top_quantity
from earmark.orderbook.state import FEATURE_LEVELS, STEP_MS, BookState

__all__ = ["BOOK_WIDTH", "RECENT", "BookHistory"]

Vector = npt.NDArray[np.float64]

HISTORY = 20
"""States in the history."""

RECENT = 10
"""States for the price impact and the rate of updates."""

VANISHED = 50
"""Vanished levels whose lives are averaged."""

BOOK_WIDTH = 50
"""Features of the book; the 49th is the trades' and stays missing here."""


@compiled
def impact(mid: Vector, spread: Vector, depth: Vector, recent: int) -> tuple[float, float]:
    """Kyle's lambda over the last `recent` states and Amihud's illiquidity over all; spread over depth when short."""
    n = len(mid)
    if n < recent:
        return (spread[-1] / depth[-1] if depth[-1] > 0 else 0.0), spread[-1] / max(depth[-1], 1.0)
    slopes = np.empty(recent - 1)
    count = 0
    for i in range(n - recent + 1, n):
        if depth[i] != depth[i - 1]:
            slopes[count] = abs(mid[i] - mid[i - 1]) / abs(depth[i] - depth[i - 1])
            count += 1
    kyle = float(np.median(slopes[:count])) if count else 0.0
    moves = np.abs(mid[1:] / mid[:-1] - 1)
    mean_depth = depth.mean()
    return kyle, (moves.mean() / mean_depth if mean_depth > 0 else 0.0)


@compiled
def roll_spread(mid: Vector, spread: Vector, history: int) -> float:
    """Twice the root of the negative covariance of successive moves; the quoted spread until the history is full."""
    if len(mid) < history:
        return float(spread[-1])
    moves = np.diff(mid)
    later, earlier = moves[1:], moves[:-1]
    covariance = ((later - later.mean()) * (earlier - earlier.mean())).mean()
    return 2 * np.sqrt(-covariance) if covariance < 0 else 0.0


@compiled
def history_features(states: npt.NDArray[np.float64], recent: int, history: int, step_s: float) -> Vector:
    """kyle_lambda, amihud_illiquidity, roll_spread, orderbook_volatility, update_frequency, spread_volatility.

    `states` has the rows mid, spread, depth of the top five, number of updates; oldest state first.
    """
    mid, spread, depth, updates = states[0], states[1], states[2], states[3]
    kyle, amihud = impact(mid, spread, depth, recent)
    volatility = (mid[1:] / mid[:-1] - 1).std() if len(mid) > 1 else 0.0
    last = updates[-recent:]
    frequency = last.sum() / (len(last) * step_s)
    return np.array(
        (kyle, amihud, roll_spread(mid, spread, history), volatility, frequency, spread.std()),
    )


@compiled
def mean_and_deviation(x: Vector) -> tuple[float, float]:
    """Mean and population deviation."""
    return x.mean(), x.std()


@dataclass(eq=False)
class BookHistory:
    """The book of one symbol at the last ticks; a new one begins after a gap."""

    bids: Levels = field(default_factory=lambda: np.empty((0, 2)))
    asks: Levels = field(default_factory=lambda: np.empty((0, 2)))
    length: int = 0
    _states: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((4, HISTORY)))
    _bids_seen: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _asks_seen: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _lives: deque[float] = field(default_factory=lambda: deque(maxlen=VANISHED))

    def push(self, state: BookState) -> Vector:
        """Take the next state; its features in the order of the catalogue.

        Returns
        -------
        ndarray of float64, shape (50,)
            Number 49, the rate of trades, is NaN.
        """
        bids = np.ascontiguousarray(state.bids[:FEATURE_LEVELS], np.float64)
        asks = np.ascontiguousarray(state.asks[:FEATURE_LEVELS], np.float64)
        book = book_features(bids, asks, self.bids, self.asks, self.length > 0)
        self._follow_levels(bids, asks, state.time_ms)
        self._remember(bids, asks, state.n_updates)
        return self._assembled(book)

    def _follow_levels(self, bids: Levels, asks: Levels, now_ms: int) -> None:
        self._bids_seen, gone_bids = lives(self.bids, self._bids_seen, bids, -1.0, now_ms)
        self._asks_seen, gone_asks = lives(self.asks, self._asks_seen, asks, 1.0, now_ms)
        self._lives.extend(gone_bids.tolist())
        self._lives.extend(gone_asks.tolist())

    def _remember(self, bids: Levels, asks: Levels, n_updates: int) -> None:
        bid, ask = best_prices(bids, asks)
        depth = top_quantity(bids, 5) + top_quantity(asks, 5)
        self._states[:, :-1] = self._states[:, 1:]
        self._states[:, -1] = (bid + ask) / 2, ask - bid, depth, n_updates
        self.length = min(self.length + 1, HISTORY)
        self.bids, self.asks = bids, asks

    def _assembled(self, book: Vector) -> Vector:
        states = np.ascontiguousarray(self._states[:, HISTORY - self.length :])
        kyle, amihud, roll, volatility, frequency, spread_volatility = history_features(
            states, RECENT, HISTORY, STEP_MS / 1000
        )
        bid_5, ask_5, spread_share = book[8], book[9], book[1] / 100
        life_mean, life_std = mean_and_deviation(np.array(self._lives or (0.0,)))
        out = np.empty(BOOK_WIDTH)
        out[:35] = book
        out[35:43] = (
            bid_5,
            ask_5,
            bid_5 / ask_5 if ask_5 > 0 else 0.0,
            spread_share,
            kyle,
            amihud,
            roll,
            book[15],
        )
        out[43:] = life_mean, life_std, volatility, frequency, frequency, np.nan, spread_volatility
        return out
