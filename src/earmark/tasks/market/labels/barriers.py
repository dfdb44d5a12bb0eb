"""Triple barrier: which of a price above, a price below and a time limit is met first.

After López de Prado, *Advances in Financial Machine Learning* (2018), chapter 3.4. A sample has a label only where the
price is on record from the sample to the time limit, also where a barrier is touched before a gap or before the end
of the record: otherwise quick touches would be kept there and all others lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from earmark.tasks.market.labels.asof import first_after, first_at_or_after, last_at_or_before, rows_at
from earmark.tasks.market.labels.series import (
    AMBIGUOUS,
    BAD_PRICE,
    DOWN,
    GAP,
    NEUTRAL,
    NOT_REACHED,
    OK,
    UNKNOWN,
    UP,
    Float64,
    Int64,
    Outcome,
    PricePath,
    Samples,
)
from earmark.tasks.market.labels.touch_kernel import extreme_tree, first_touches

__all__ = ["Barriers", "Tie", "first_barrier"]

Tie = Literal["tp", "sl"]

UPPER, LOWER, VERTICAL = 1, -1, 0
"""Types of a hit, as stored."""


@dataclass(frozen=True, eq=False)
class Barriers:
    """The three barriers of each sample, shape (n,).

    Parameters
    ----------
    upper, lower : ndarray of float64
        Prices; a touch counts as a hit.
    hold_ms : ndarray of int64
        Time until the vertical barrier.
    """

    upper: Float64
    lower: Float64
    hold_ms: Int64


@dataclass(frozen=True, eq=False)
class _Span:
    """Rows [start, stop) of the path that belong to each sample, until when, and whether all of it is on record."""

    start: Int64
    stop: Int64
    until_ms: Int64
    status: npt.NDArray[np.int8]


def first_barrier(
    samples: Samples, path: PricePath, barriers: Barriers, *, tie: Tie | None = None
) -> Outcome:
    """The barrier that each sample's price meets first.

    Parameters
    ----------
    samples : Samples
    path : PricePath
        The price track; or candles, counted from the first that opens at or after the sample.
    barriers : Barriers
    tie : {"tp", "sl"}, optional
        What counts where one candle touches both; default: such a sample is ``ambiguous``.

    Returns
    -------
    Outcome
        Movement is that to the barrier, or to the price at the time limit. Extra columns: ``barrier_hit`` (1 upper, -1
        lower, 0 time limit), ``barrier_hit_ms``, ``barrier_upper``, ``barrier_lower``.
    """
    span = (
        _candle_span(samples, path, barriers)
        if path.opened_ms is not None
        else _track_span(samples, path, barriers)
    )
    high = path.price if path.high is None else path.high
    low = path.price if path.low is None else path.low
    row = first_touches(*extreme_tree(high, low), span.start, span.stop, barriers.upper, barriers.lower)
    is_hit = row >= 0
    up = is_hit & (rows_at(high, row) >= barriers.upper)
    down = is_hit & (rows_at(low, row) <= barriers.lower)
    both = up & down
    if tie is not None:
        up, down = up & ~(both & (tie == "sl")), down & ~(both & (tie == "tp"))
        both = np.zeros_like(both)
    return _outcome(samples, path, barriers, span, row, up, down, both)


def _outcome(
    samples: Samples,
    path: PricePath,
    barriers: Barriers,
    span: _Span,
    row: Int64,
    up: npt.NDArray[np.bool_],
    down: npt.NDArray[np.bool_],
    both: npt.NDArray[np.bool_],
) -> Outcome:
    last = span.stop - 1
    close = rows_at(path.price, last)
    status = span.status.copy()
    is_timeout = ~up & ~down
    status[(status == OK) & is_timeout & ~(np.isfinite(close) & (close > 0))] = BAD_PRICE
    status[(status == OK) & both] = AMBIGUOUS
    bounded = np.isfinite(barriers.upper) & np.isfinite(barriers.lower)
    status[~samples.has_price | ~bounded] = BAD_PRICE
    ok = status == OK
    price = np.where(up, barriers.upper, np.where(down, barriers.lower, close))
    movement = np.full(len(samples), np.nan)
    movement[ok] = price[ok] / samples.price[ok] - 1
    end_ms = np.where(is_timeout, span.until_ms, rows_at(path.time_ms, row))
    hit = np.where(up, UPPER, np.where(down, LOWER, VERTICAL)).astype(np.int8)
    return Outcome(
        np.where(ok, np.where(up, UP, np.where(down, DOWN, NEUTRAL)), UNKNOWN).astype(np.int8),
        movement,
        status,
        np.where(ok & is_timeout, span.until_ms - rows_at(path.time_ms, last), 0),
        np.where(ok, end_ms, 0),
        {
            "barrier_hit": hit,
            "barrier_hit_ms": end_ms,
            "barrier_upper": barriers.upper,
            "barrier_lower": barriers.lower,
        },
    )


def _track_span(samples: Samples, path: PricePath, barriers: Barriers) -> _Span:
    """Rows after the sample, and the row that is the price at the sample must be fresh too."""
    entry = last_at_or_before(path.time_ms, samples.time_ms)
    start = first_after(path.time_ms, samples.time_ms)
    until = samples.time_ms + barriers.hold_ms
    stop = last_at_or_before(path.time_ms, until) + 1
    is_fresh = (entry >= 0) & (samples.time_ms - rows_at(path.time_ms, entry) <= path.max_gap_ms)
    return _checked(path, entry, np.where(start >= 0, start, len(path)), stop, until, is_fresh)


def _candle_span(samples: Samples, path: PricePath, barriers: Barriers) -> _Span:
    """Candles from the first that opens at or after the sample; the limit counts from its opening."""
    opened = np.asarray(path.opened_ms)
    start = first_at_or_after(opened, samples.time_ms)
    begin = rows_at(opened, start)
    until = begin + barriers.hold_ms
    stop = last_at_or_before(path.time_ms, until) + 1
    length = rows_at(path.time_ms, start) - begin
    is_fresh = (start >= 0) & (begin - samples.time_ms < np.maximum(length, 1))
    is_coming = start < 0
    span = _checked(path, start, np.where(start >= 0, start, len(path)), stop, until, is_fresh)
    span.status[is_coming] = NOT_REACHED
    return span


def _checked(
    path: PricePath, entry: Int64, start: Int64, stop: Int64, until: Int64, is_fresh: npt.NDArray[np.bool_]
) -> _Span:
    breaks = np.flatnonzero(np.diff(path.time_ms) > path.max_gap_ms)  # the rows before gaps
    closing = np.append(breaks, len(path) - 1)
    last_known = (
        closing[np.searchsorted(breaks, np.maximum(entry, 0))] if len(path) else np.full(len(until), -1)
    )
    status = np.full(len(until), OK, np.int8)
    status[~is_fresh | (until > rows_at(path.time_ms, last_known) + path.max_gap_ms)] = GAP
    status[until > path.last_ms] = NOT_REACHED
    return _Span(start, stop, until, status)
