"""Features of the best quotes and trades alone, for recorded markets without depth: the set `quotes`.

Where a source has one level of the book, most of the 112 features repeat one another or are constant. This set holds
what such a source tells about the next seconds: the queues at the best prices, what was added to and taken from them,
and where the price has just been. All columns are free of the unit of price and quantity: prices count in ticks,
quantities relative to their own recent mean, time in seconds.

Causality: rows are instants at a constant distance within one session, each with what was known by then
(`quotes_at`); a column at a row depends on that row and earlier ones, and history begins with the first row.

Means are exponentially weighted: x seconds ago counts exp(-x / window), and the first value stands for all before it.

References
----------
Cont, Kukanov, Stoikov (2014), The price impact of order book events: flow. Gould, Bonart (2016), Queue imbalance as a
one-tick-ahead price predictor in a limit order book. Lee, Ready (1991), Inferring trade direction from intraday data:
a trade above the mid before it was bought.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.orderbook.quote_flow import flow_contributions

__all__ = ["QUOTE_FEATURES", "QUOTE_NAMES", "QuoteSeries", "quote_features", "quotes_at"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

QUOTE_FEATURES: dict[str, str] = {
    "imbalance": "(B - A) / (B + A) of the best quantities B of the bid and A of the ask",
    "imbalance_3s": "its mean over 3 s",
    "imbalance_10s": "its mean over 10 s",
    "imbalance_30s": "its mean over 30 s",
    "bid_size": "ln(B / mean of (B + A) / 2 over 600 s)",
    "ask_size": "ln(A / mean of (B + A) / 2 over 600 s)",
    "flow_3s": "order-flow imbalance / mean of (B + A) / 2 over 600 s, summed with weights over 3 s",
    "flow_10s": "the same over 10 s",
    "move_1s": "mid - mid 1 s ago, in ticks",
    "move_3s": "the same over 3 s",
    "move_10s": "the same over 10 s",
    "move_30s": "the same over 30 s",
    "above_mean_20s": "mid - mean of the mid over 20 s, in ticks",
    "above_mean_60s": "mid - mean of the mid over 60 s, in ticks",
    "spread": "ln(spread in ticks)",
    "volatility": "ln(0.1 + root of the mean square over 60 s of the mid's changes, in ticks)",
    "last_direction": "sign of the mid's last change",
    "fresh_direction": "last_direction x exp(-seconds since that change / 5)",
    "last_trade": "(price of the last trade - mid) in ticks, within -3..3, x exp(-its age in s / 3)",
    "trade_sign_3s": "mean over 3 s of the sign of a trade against the mid a row before; 0 without trade",
    "trade_sign_10s": "the same over 10 s",
}
"""Name -> formula, in order."""

QUOTE_NAMES = tuple(QUOTE_FEATURES)

FAR_TICKS = 3.0
"""A trade farther from the mid than this was of another moment."""


@dataclass(frozen=True, eq=False)
class QuoteSeries:
    """Best quotes and last trades at instants of one session.

    Attributes
    ----------
    time_ms : ndarray of int64, shape (n,)
        At a constant distance.
    bid, bid_quantity, ask, ask_quantity : ndarray of float64, shape (n,)
        Known by then.
    trade_price : ndarray of float64, shape (n,)
        Of the last trade; NaN before the first.
    trade_age_s : ndarray of float64, shape (n,)
        How long ago it was; infinite before the first.
    quote_age_s : ndarray of float64, shape (n,)
        How long ago the quote was last confirmed.
    """

    time_ms: Int64
    bid: Float64
    bid_quantity: Float64
    ask: Float64
    ask_quantity: Float64
    trade_price: Float64
    trade_age_s: Float64
    quote_age_s: Float64

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def mid(self) -> Float64:
        """Mean of the best prices."""
        return (self.bid + self.ask) / 2


def quotes_at(
    instants: Int64, quote_ms: Int64, quotes: Float64, trade_ms: Int64, trade_price: Float64
) -> QuoteSeries:
    """What was known at each instant.

    Parameters
    ----------
    instants : ndarray of int64, shape (n,)
        Milliseconds since 1970 UTC, ascending.
    quote_ms : ndarray of int64, shape (m,)
        Ascending; of equal times the last row counts.
    quotes : ndarray of float64, shape (m, 4)
        Bid, its quantity, ask, its quantity.
    trade_ms : ndarray of int64, shape (k,)
        Ascending; k may be 0.
    trade_price : ndarray of float64, shape (k,)

    Raises
    ------
    UsageError
        An instant lies before the first quote.
    """
    at = np.searchsorted(quote_ms, instants, side="right") - 1
    if len(instants) and at[0] < 0:
        raise UsageError(
            f"The first instant {instants[0]} ms lies before the first quote; expected quotes from there on. Start at "
            f"{quote_ms[0] if len(quote_ms) else 'a time with quotes'} or later."
        )
    last = np.searchsorted(trade_ms, instants, side="right") - 1
    has_trade = last >= 0
    price, age_s = np.full(len(instants), np.nan), np.full(len(instants), np.inf)
    price[has_trade] = trade_price[last[has_trade]]
    age_s[has_trade] = (instants[has_trade] - trade_ms[last[has_trade]]) / 1000
    bid, bid_quantity, ask, ask_quantity = quotes[at].T.copy()
    quote_age_s = (instants - quote_ms[at]) / 1000
    return QuoteSeries(instants, bid, bid_quantity, ask, ask_quantity, price, age_s, quote_age_s)


def quote_features(series: QuoteSeries, *, tick: float) -> npt.NDArray[np.float32]:
    """The set `quotes` at each row of one session.

    Parameters
    ----------
    series : QuoteSeries
        At least one row; every quote with positive quantities and bid < ask.
    tick : float
        Smallest step of the price.

    Returns
    -------
    ndarray of float32, shape (n, len(QUOTE_NAMES))
        Finite.

    Raises
    ------
    UsageError
        The rows are not equally distant, a quote is not usable, or the tick is not positive.
    """
    step_s = _checked_step_s(series, tick)
    bid, ask = series.bid_quantity, series.ask_quantity
    imbalance = (bid - ask) / (bid + ask)
    depth = _mean((bid + ask) / 2, 600, step_s)
    flow = flow_contributions(series.bid, bid, series.ask, ask)
    flow = np.concatenate([[0.0], flow]) / depth
    mid = series.mid / tick
    change = np.diff(mid, prepend=mid[0])
    direction, since_s = _last_direction(change, step_s)
    trade = np.nan_to_num(series.trade_price / tick - mid)
    sign = _trade_sign(series, mid, tick, step_s)
    columns = [
        imbalance,
        *(_mean(imbalance, window_s, step_s) for window_s in (3, 10, 30)),
        *(np.log(side / depth) for side in (bid, ask)),
        *(_mean(flow, window_s, step_s) * window_s / step_s for window_s in (3, 10)),
        *(mid - _before(mid, window_s, step_s) for window_s in (1, 3, 10, 30)),
        *(mid - _mean(mid, window_s, step_s) for window_s in (20, 60)),
        np.log((series.ask - series.bid) / tick),
        np.log(0.1 + np.sqrt(_mean(change**2, 60, step_s))),
        direction,
        direction * np.exp(-since_s / 5),
        np.clip(trade, -FAR_TICKS, FAR_TICKS) * np.exp(-series.trade_age_s / 3),
        *(_mean(sign, window_s, step_s) for window_s in (3, 10)),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _checked_step_s(series: QuoteSeries, tick: float) -> float:
    steps = np.unique(np.diff(series.time_ms))
    if len(series) == 0 or len(steps) > 1 or (len(steps) and steps[0] <= 0):
        raise UsageError(
            f"A series has {len(series)} rows at distances of {steps[:4].tolist()} ms; expected at least one row, all "
            "equally far from the next. Give each session on its own."
        )
    usable = (series.bid < series.ask) & (series.bid_quantity > 0) & (series.ask_quantity > 0)
    if not usable.all() or not tick > 0:
        row = int(np.argmin(usable))
        raise UsageError(
            f"Row {row} quotes {series.bid[row]:g} x {series.bid_quantity[row]:g} against {series.ask[row]:g} x "
            f"{series.ask_quantity[row]:g} at a tick of {tick:g}; expected bid < ask, and quantities and a tick "
            "above 0. Leave such rows out."
        )
    return float(steps[0]) / 1000 if len(steps) else 1.0


def _mean(values: Float64, window_s: float, step_s: float) -> Float64:
    """Exponentially weighted mean of each row and those before."""
    from scipy.signal import lfilter

    keep = np.exp(-step_s / window_s)
    mean, _ = lfilter([1 - keep], [1, -keep], values, zi=[keep * values[0]])
    return np.asarray(mean, dtype=np.float64)


def _before(values: Float64, window_s: float, step_s: float) -> Float64:
    """The value so long ago; the first one where the history is shorter."""
    rows = np.arange(len(values)) - max(1, round(window_s / step_s))
    return np.asarray(values[np.maximum(rows, 0)])


def _last_direction(change: Float64, step_s: float) -> tuple[Float64, Float64]:
    """Sign of the last change up to each row, 0 before the first, and how many seconds ago it was."""
    rows = np.arange(len(change))
    last = np.maximum.accumulate(np.where(np.abs(change) > 1e-6, rows, 0))
    sign = np.sign(np.where(np.abs(change[last]) > 1e-6, change[last], 0.0))
    return sign, ((rows - last) * step_s).astype(np.float64)


def _trade_sign(series: QuoteSeries, mid: Float64, tick: float, step_s: float) -> Float64:
    """Sign of the trade within a row's step against the mid a row before; 0 without one."""
    is_new = series.trade_age_s < step_s
    distance = np.where(is_new, series.trade_price / tick, 0.0) - np.concatenate([mid[:1], mid[:-1]])
    return np.where(is_new & (np.abs(distance) > 1e-6), np.sign(distance), 0.0)
