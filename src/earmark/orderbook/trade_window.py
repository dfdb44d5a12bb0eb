"""The public trades of the last ten minutes.

Conventions: a window of w seconds at a tick holds the trades with tick - w < time <= tick. Statistics of a window are
missing (NaN) while trades are known for less than its length, and when none of the last ten minutes is known, for
then there is no feed. At most 5,000 trades are kept: in a burst that fills them within a window, a rate is that of
the span they cover.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import numpy.typing as npt

from earmark.orderbook.catalog import TOXICITY_WINDOWS_S, TRADE_WINDOWS_S
from earmark.orderbook.events import Trade

__all__ = ["KEPT_MS", "RING", "TradeWindow", "trade_statistics"]

RING = 5_000
"""Trades kept."""

KEPT_MS = 600_000
"""Age at which a trade is dropped."""

NO_SELLS = 10.0
"""Ratio of buys to sells when nothing was sold."""

BUCKET_MS = 10_000
"""Span over which volume imbalance and price move are taken for toxicity."""


def by_time(trade: Trade) -> tuple[int, int, str]:
    """The order of trades, the same whatever the order of arrival."""
    return trade.time_ms, trade.received_ns, trade.trade_id


def follows(trade: Trade, other: Trade) -> bool:
    """Whether a trade comes after another; mostly the times tell."""
    return trade.time_ms > other.time_ms or by_time(trade) > by_time(other)


def time_of(trade: Trade) -> int:
    """Exchange time."""
    return trade.time_ms


class TradeWindow:
    """Trades of one symbol in order of exchange time, each once."""

    def __init__(self) -> None:
        self._trades: list[Trade] = []
        self._ids: set[str] = set()
        self._known_from_ms: int | None = None
        self._is_cut = False

    def restart(self, start_ms: int) -> None:
        """Forget what happened up to `start_ms`: from there on trades are known without a gap."""
        self._drop(bisect_right(self._trades, start_ms, key=time_of))
        self._known_from_ms, self._is_cut = start_ms, False

    def add(self, trade: Trade) -> bool:
        """Take a trade; False for one whose id is there or that happened before the known span."""
        known_from = self._known_from_ms
        if trade.trade_id in self._ids or (known_from is not None and trade.time_ms <= known_from):
            return False
        if not self._trades or follows(trade, self._trades[-1]):
            self._trades.append(trade)
        else:
            insort(self._trades, trade, key=by_time)
        self._ids.add(trade.trade_id)
        return True

    def trim(self, now_ms: int) -> None:
        """Drop what is too old or too much at a tick."""
        aged = bisect_right(self._trades, now_ms - KEPT_MS, key=time_of)
        surplus = len(self._trades) - RING
        self._is_cut = surplus > 0 or (self._is_cut and aged == 0)
        self._drop(max(aged, surplus))

    def _drop(self, n: int) -> None:
        if n > 0:
            self._ids.difference_update([trade.trade_id for trade in self._trades[:n]])
            del self._trades[:n]

    def covers(self, now_ms: int, window_s: int) -> bool:
        """Whether the trades of the window are known."""
        known_from = self._known_from_ms
        return bool(self._trades) and known_from is not None and known_from <= now_ms - 1000 * window_s

    def since(self, now_ms: int, window_s: int) -> Sequence[Trade]:
        """Trades of the window; all that are kept must be at or before `now_ms`."""
        return self._trades[bisect_right(self._trades, now_ms - 1000 * window_s, key=time_of) :]

    def rate(self, now_ms: int, window_s: int) -> float:
        """Trades per second, NaN where unknown."""
        if not self.covers(now_ms, window_s):
            return nan
        n = len(self.since(now_ms, window_s))
        if self._is_cut and n == len(self._trades):
            return n / max((now_ms - self._trades[0].time_ms) / 1000, 1e-3)
        return n / window_s


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Trades as arrays of shape (n,), in order of time; `side` is 1 for a buy, -1 for a sell, 0 where unknown."""

    time_ms: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    quantity: npt.NDArray[np.float64]
    side: npt.NDArray[np.int64]
    is_block: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, trades: Sequence[Trade]) -> Tape:
        """The tape of some trades."""
        return cls(
            np.array([trade.time_ms for trade in trades], np.int64),
            np.array([trade.price for trade in trades], np.float64),
            np.array([trade.quantity for trade in trades], np.float64),
            np.array([SIDES[trade.is_buy] for trade in trades], np.int64),
            np.array([trade.is_block for trade in trades], np.bool_),
        )

    def since(self, now_ms: int, window_s: int) -> Tape:
        """The trades of a window."""
        first = int(np.searchsorted(self.time_ms, now_ms - 1000 * window_s, side="right"))
        return Tape(
            self.time_ms[first:],
            self.price[first:],
            self.quantity[first:],
            self.side[first:],
            self.is_block[first:],
        )


SIDES = {True: 1, False: -1, None: 0}


def toxicity(tape: Tape, now_ms: int, window_s: int) -> float:
    """Correlation over 10-second spans of volume imbalance with the price's move; 0 where it is undefined."""
    n_spans = 1000 * window_s // BUCKET_MS
    span = n_spans - 1 - (now_ms - tape.time_ms) // BUCKET_MS
    signed = tape.side * tape.quantity
    net = np.bincount(span, signed, n_spans)
    total = np.bincount(span, np.abs(signed), n_spans)
    present = np.flatnonzero(total > 0)
    last = np.searchsorted(span, present, side="right") - 1
    moves = np.diff(tape.price[last])
    imbalance = (net[present] / total[present])[1:]
    if len(moves) < 2 or np.ptp(moves) == 0 or np.ptp(imbalance) == 0:
        return 0.0
    return float(np.corrcoef(imbalance, moves)[0, 1])


def window_statistics(
    tape: Tape, rate: float, now_ms: int, window_s: int, mid: float, depth: float
) -> list[float]:
    """Statistics of one covered window, in the order of the catalogue."""
    size, side = tape.quantity, tape.side
    bought, sold, total = size[side > 0].sum(), size[side < 0].sum(), size.sum()
    blocks = size[tape.is_block]
    sizes = (size.mean(), np.median(size), size.max()) if len(size) else (0.0, 0.0, 0.0)
    traded = (size * tape.price).sum() / total if total > 0 else mid
    volumes = np.array((bought, sold, *sizes, blocks.sum()))
    buys, sells, *typical, block_volume = (np.log1p(volumes / depth) if depth > 0 else 0 * volumes).tolist()
    values = [
        *(float(len(size)), rate, buys, sells, float(bought / sold) if sold > 0 else NO_SELLS),
        *(*typical, float(len(blocks)), block_volume, (traded / mid - 1) * 1e4 if mid > 0 else 0.0),
    ]
    if window_s in TOXICITY_WINDOWS_S:
        values.append(toxicity(tape, now_ms, window_s))
    return values


N_STATISTICS = 11
"""Of a window without toxicity."""


def trade_statistics(window: TradeWindow, now_ms: int, mid: float, depth: float) -> list[float]:
    """The trade columns of the view v2 at a tick, NaN for windows that are not covered.

    Parameters
    ----------
    mid : float
        Mid price of the book.
    depth : float
        Quantity to which volumes are compared: ln(1 + volume / depth).
    """
    tape = Tape.of(window.since(now_ms, max(TRADE_WINDOWS_S)))
    values: list[float] = []
    for window_s in TRADE_WINDOWS_S:
        if window.covers(now_ms, window_s):
            rate = window.rate(now_ms, window_s)
            values.extend(window_statistics(tape.since(now_ms, window_s), rate, now_ms, window_s, mid, depth))
        else:
            values.extend([nan] * (N_STATISTICS + (window_s in TOXICITY_WINDOWS_S)))
    return values
