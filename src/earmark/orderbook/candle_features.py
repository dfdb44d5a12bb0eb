"""Features 51-75: the last closed candle, the one before, and the last twenty.

Conventions: a window is an array (5, n) with the rows open, high, low, close, volume, oldest candle first. Returns
are simple, deviations of population; a division by zero gives 0. Each group is a tuple in the order of the catalogue.

References
----------
Parkinson (1980) and Garman, Klass (1980) for features 65 and 66.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.orderbook.compiled import compiled

__all__ = ["CANDLE_WIDTH", "candle_features", "shape_of_candle"]

Window = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

CANDLE_WIDTH = 25

LAST = 20
"""Candles of the volatilities and means of volume."""


@compiled
def ratio(numerator: float, denominator: float) -> float:
    """The quotient, 0 where it is undefined."""
    return numerator / denominator if denominator != 0.0 else 0.0


@compiled
def shape_of_candle(o: float, h: float, low: float, c: float, v: float, before: float) -> tuple[float, ...]:
    """Features 51-63 of one candle; `before` is the close of the candle before, 0 where there is none."""
    change = ratio(c, before)
    return (
        o,
        h,
        low,
        c,
        v,
        (h + low + c) / 3,
        change - 1 if change > 0 else 0.0,
        np.log(change) if change > 0 else 0.0,
        ratio(h - low, c),
        ratio(c - o, o),
        ratio(h - max(o, c), h - low),
        ratio(min(o, c) - low, h - low),
        ratio(abs(c - o), h - low),
    )


@compiled
def volatilities(window: Window) -> tuple[float, ...]:
    """Features 64-66, over the given candles."""
    o, h, low, c = window[0], window[1], window[2], window[3]
    realized = (c[1:] / c[:-1] - 1).std() if len(c) > 1 else 0.0
    ranges = np.log(h / low) ** 2
    bodies = np.log(c / o) ** 2
    parkinson = np.sqrt(ranges.mean() / (4 * np.log(2.0)))
    garman_klass = np.sqrt((0.5 * ranges - (2 * np.log(2.0) - 1) * bodies).mean())
    return realized, parkinson, garman_klass


@compiled
def volumes(window: Window, last: int) -> tuple[float, ...]:
    """Features 67-71: of the window's last candles, and the running sum over all of it."""
    c, v = window[3], window[4]
    n = len(c)
    trend = 0.0
    for i in range(1, n):
        trend += (c[i] / c[i - 1] - 1) * v[i]
    recent = v[-last:]
    typical = (window[1] + window[2] + c) / 3
    before = v[-2] if n > 1 else 0.0
    return (
        ratio(v[-1], recent.mean()) if n >= last else 1.0,
        v[-1] / before - 1 if before > 0 else 0.0,
        trend,
        ratio((typical[-last:] * recent).sum(), recent.sum()),
        typical[-1] * v[-1],
    )


@compiled
def engulfing(window: Window) -> float:
    """Body over the body before when it covers that one in the other colour, negative when it falls; else 0."""
    if window.shape[1] < 2:
        return 0.0
    o, c, old_o, old_c = window[0, -1], window[3, -1], window[0, -2], window[3, -2]
    if old_c < old_o and o <= old_c and c >= old_o:
        return float((c - o) / (old_o - old_c))
    if old_c > old_o and o >= old_c and c <= old_o:
        return float((c - o) / (old_c - old_o))
    return 0.0


@compiled
def patterns(window: Window, lower_shadow: float, body: float) -> tuple[float, ...]:
    """Features 72-75."""
    before = window[3, -2] if window.shape[1] > 1 else 0.0
    return (
        1 - body,
        lower_shadow * (1 - body),
        engulfing(window),
        window[0, -1] / before - 1 if before > 0 else 0.0,
    )


@compiled
def candle_features(window: Window) -> Vector:
    """Features 51-75 of the closed candles at a tick.

    Parameters
    ----------
    window : ndarray, shape (5, n)
        Open, high, low, close, volume; at most 200 candles. Of fewer than 20, the twenty are all there are; of none,
        all is 0 but the volume ratio, which is 1.

    Returns
    -------
    ndarray of float64, shape (25,)
    """
    if window.shape[1] == 0:
        empty = np.zeros(CANDLE_WIDTH)
        empty[16] = 1.0
        return empty
    before = window[3, -2] if window.shape[1] > 1 else 0.0
    o, h, low, c, v = window[0, -1], window[1, -1], window[2, -1], window[3, -1], window[4, -1]
    shape = shape_of_candle(o, h, low, c, v, before)
    tail = np.ascontiguousarray(window[:, -LAST:])
    return np.array(
        shape + volatilities(tail) + volumes(window, LAST) + patterns(window, shape[11], shape[12])
    )
