"""Where the price is a horizon after each sample, and how that is known.

`on_track` reads the recorded price at exactly that instant; `among_samples` takes another sample near to it, where no
track was recorded; `states_ahead` counts rows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from earmark.orderbook.state import MAX_GAP
from earmark.tasks.market.labels.asof import first_at_or_after, last_at_or_before, nearest_after, rows_at
from earmark.tasks.market.labels.series import (
    BAD_PRICE,
    GAP,
    NOT_REACHED,
    OK,
    UNKNOWN,
    Float64,
    Int64,
    Outcome,
    PricePath,
    Samples,
)

__all__ = ["Match", "among_samples", "on_track", "row_segments", "states_ahead"]

Match = Literal["nearest", "first"]


def on_track(samples: Samples, track: PricePath, horizon_ms: int) -> Outcome:
    """The price on record at exactly the horizon: the last row at or before it, if that is fresh enough.

    Returns
    -------
    Outcome
        Without directions. ``horizon_not_reached`` where the record ends before the horizon, ``gap`` where the last
        row is older than `track.max_gap_ms`, ``bad_price`` where either price is no number above zero.
    """
    instants = samples.time_ms + horizon_ms
    at = last_at_or_before(track.time_ms, instants)
    later = rows_at(track.price, at)
    lag = instants - rows_at(track.time_ms, at)
    status = np.full(len(samples), OK, np.int8)
    status[~_is_price(later)] = BAD_PRICE
    status[(at < 0) | (lag > track.max_gap_ms)] = GAP
    status[instants > track.last_ms] = NOT_REACHED
    return _moved(samples, later, status, lag, end_ms=instants)


def among_samples(samples: Samples, horizon_ms: int, tolerance_ms: int, match: Match = "nearest") -> Outcome:
    """The price of another sample near the horizon.

    Parameters
    ----------
    samples : Samples
    horizon_ms : int
    tolerance_ms : int
        How far from the horizon that sample may be.
    match : {"nearest", "first"}
        The nearest later sample, or the first at or after the horizon, as earlier programs did.

    Returns
    -------
    Outcome
        Without directions. ``horizon_not_reached`` at the end of the samples, ``gap`` where none is near enough.
    """
    times, instants = samples.time_ms, samples.time_ms + horizon_ms
    find = nearest_after(times, instants, times) if match == "nearest" else first_at_or_after(times, instants)
    later, lag = rows_at(samples.price, find), instants - rows_at(times, find)
    status = np.full(len(samples), OK, np.int8)
    status[~_is_price(later)] = BAD_PRICE
    status[(find < 0) | (np.abs(lag) > tolerance_ms)] = GAP
    if len(times):
        status[instants > times[-1]] = NOT_REACHED  # a sample still to come may be the nearer one
    return _moved(samples, later, status, lag, end_ms=np.maximum(instants, instants - lag))


def states_ahead(samples: Samples, rows: int) -> Outcome:
    """The price `rows` samples later, without a gap in between.

    Returns
    -------
    Outcome
        Without directions; the lag is 0, as the horizon is that row.
    """
    n = len(samples)
    ahead = np.arange(n) + rows
    at = np.where(ahead < n, ahead, -1)
    segment = row_segments(samples.time_ms)
    later = rows_at(samples.price, at)
    status = np.full(n, OK, np.int8)
    status[~_is_price(later)] = BAD_PRICE
    status[rows_at(segment, at) != segment] = GAP
    if n:
        status[(at < 0) & (segment == segment[-1])] = NOT_REACHED
    return _moved(samples, later, status, np.zeros(n, np.int64), end_ms=rows_at(samples.time_ms, at))


def row_segments(time_ms: Int64) -> Int64:
    """Number of the gap-free stretch of each row, shape (n,); a gap is more than 1.5 median intervals."""
    if len(time_ms) < 2:
        return np.zeros(len(time_ms), np.int64)
    steps = np.diff(time_ms)
    return np.concatenate([[0], np.cumsum(steps > MAX_GAP * np.median(steps))]).astype(np.int64)


def _moved(
    samples: Samples, later: Float64, status: npt.NDArray[np.int8], lag: Int64, *, end_ms: Int64
) -> Outcome:
    status[~samples.has_price] = BAD_PRICE
    ok = status == OK
    movement = np.full(len(samples), np.nan)
    movement[ok] = (later[ok] - samples.price[ok]) / samples.price[ok]
    return Outcome(
        np.full(len(samples), UNKNOWN, np.int8),
        movement,
        status,
        np.where(ok, lag, 0),
        np.where(ok, end_ms, 0),
    )


def _is_price(price: Float64) -> npt.NDArray[np.bool_]:
    return np.isfinite(price) & (price > 0)
