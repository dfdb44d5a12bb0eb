"""Features 76-112: technical indicators over the last closed candles.

All smoothing and running sums start at the oldest candle of the window (at most the last 200 closed ones), so values
depend on the candles alone, never on when a process began. Smoothing of Wilder (n): the mean, or sum, of the first n
values, then x += (value - x) / n. Population deviations; bars are one minute. At least 50 candles are needed.

References
----------
Wilder (1978), New Concepts in Technical Trading Systems: 85-89, true range. Lambert (1980): 93. Chande (1995): 111.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.orderbook.compiled import compiled

__all__ = ["INDICATOR_WIDTH", "MIN_CANDLES", "default_indicators", "indicators", "running_changes"]

Window = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]

INDICATOR_WIDTH = 37

MIN_CANDLES = 50
"""Closed candles without which there is no sample."""


@compiled
def ratio(numerator: float, denominator: float) -> float:
    """The quotient, 0 where it is undefined."""
    return numerator / denominator if denominator != 0.0 else 0.0


@compiled
def ema(x: Vector, n: int) -> Vector:
    """Exponential means from the n-th value on, started with the mean of the first n; shape (len(x) - n + 1,)."""
    out = np.empty(len(x) - n + 1)
    out[0] = x[:n].mean()
    alpha = 2.0 / (n + 1)
    for i in range(1, len(out)):
        out[i] = out[i - 1] + alpha * (x[n - 1 + i] - out[i - 1])
    return out


@compiled
def true_ranges(h: Vector, low: Vector, c: Vector) -> Vector:
    """Largest of today's range and its reach beyond the close before; from the second candle on."""
    before = c[:-1]
    return np.maximum(h[1:], before) - np.minimum(low[1:], before)


@compiled
def macd(c: Vector) -> tuple[float, float, float]:
    """MACD (12, 26), its signal (9) and their difference."""
    lines = ema(c, 12)[14:] - ema(c, 26)
    signal = ema(lines, 9)[-1]
    return lines[-1], signal, lines[-1] - signal


@compiled
def directional(h: Vector, low: Vector, c: Vector, n: int) -> tuple[float, float, float]:
    """Average directional index and the plus and minus indicators."""
    ranges = true_ranges(h, low, c)
    smooth_range = smooth_plus = smooth_minus = adx = plus_di = minus_di = 0.0
    for i in range(len(ranges)):
        up, down = h[i + 1] - h[i], low[i] - low[i + 1]
        decay = 1.0 / n if i >= n else 0.0
        smooth_range += ranges[i] - decay * smooth_range
        smooth_plus += (up if up > down and up > 0 else 0.0) - decay * smooth_plus
        smooth_minus += (down if down > up and down > 0 else 0.0) - decay * smooth_minus
        if i < n - 1:
            continue
        plus_di = 100 * ratio(smooth_plus, smooth_range)
        minus_di = 100 * ratio(smooth_minus, smooth_range)
        dx = 100 * ratio(abs(plus_di - minus_di), plus_di + minus_di)
        # The mean of the first n, then Wilder's smoothing.
        adx += dx / n if i < 2 * n - 1 else (dx - adx) / n
    return adx, plus_di, minus_di


@compiled
def rsi(c: Vector, n: int) -> float:
    """Relative strength; 100 without a loss."""
    gain = loss = 0.0
    for i in range(1, len(c)):
        move = c[i] - c[i - 1]
        up, down = max(move, 0.0), max(-move, 0.0)
        if i <= n:
            gain += up / n
            loss += down / n
        else:
            gain += (up - gain) / n
            loss += (down - loss) / n
    return 100.0 if loss == 0.0 else 100.0 * gain / (gain + loss)


@compiled
def stochastic(h: Vector, low: Vector, c: Vector, n: int, back: int) -> float:
    """Place of the close `back` bars ago in the range of the n candles up to it, 0-100; 50 when flat."""
    end = len(c) - back
    highest, lowest = h[end - n : end].max(), low[end - n : end].min()
    return 100 * (c[end - 1] - lowest) / (highest - lowest) if highest > lowest else 50.0


@compiled
def cci(typical: Vector) -> float:
    """Commodity channel index over the given typical prices."""
    mean = typical.mean()
    return ratio(typical[-1] - mean, 0.015 * np.abs(typical - mean).mean())


@compiled
def money_flow_index(typical: Vector, v: Vector, n: int) -> float:
    """Share of rising money flow in the last n moves x 100; 50 without any flow."""
    rising = falling = 0.0
    for i in range(len(v) - n, len(v)):
        if typical[i] > typical[i - 1]:
            rising += typical[i] * v[i]
        elif typical[i] < typical[i - 1]:
            falling += typical[i] * v[i]
    return 100 * rising / (rising + falling) if rising + falling > 0 else 50.0


@compiled
def trend(h: Vector, low: Vector, c: Vector) -> tuple[float, ...]:
    """Features 76-87."""
    means = (c[-10:].mean(), c[-20:].mean(), c[-50:].mean())
    return (*means, ema(c, 10)[-1], ema(c, 20)[-1], ema(c, 50)[-1], *macd(c), *directional(h, low, c, 14))


@compiled
def momentum(h: Vector, low: Vector, c: Vector, v: Vector) -> tuple[float, ...]:
    """Features 88-96."""
    typical = (h + low + c) / 3
    k = stochastic(h, low, c, 14, 0)
    d = (k + stochastic(h, low, c, 14, 1) + stochastic(h, low, c, 14, 2)) / 3
    return (
        rsi(c, 14),
        rsi(c, 28),
        k,
        d,
        k - 100,
        cci(typical[-20:]),
        c[-1] / c[-10] - 1,
        (c[-1] / c[-12] - 1) * 100,
        money_flow_index(typical, v, 14),
    )


@compiled
def bands(h: Vector, low: Vector, c: Vector) -> tuple[float, ...]:
    """Features 97-104."""
    recent = c[-20:]
    middle = recent.mean()
    # Rounding would leave a tiny deviation of equal prices, and with it an arbitrary place in the band.
    sigma = recent.std() if recent.max() > recent.min() else 0.0
    upper, lower = middle + 2 * sigma, middle - 2 * sigma
    place = (c[-1] - lower) / (upper - lower) if upper > lower else 0.5
    atr = true_ranges(h, low, c)[-14:].mean()
    centre = ema(c, 20)[-1]
    return (
        upper,
        middle,
        lower,
        (upper - lower) / middle,
        place,
        atr,
        centre + 2 * atr,
        centre - 2 * atr,
    )


@compiled
def running(h: Vector, low: Vector, c: Vector, v: Vector, start: int) -> tuple[float, float, float, float]:
    """OBV, accumulation line and volume-price trend summed, and NVI multiplied, from candle `start` on."""
    obv = line = vpt = 0.0
    nvi = 1000.0
    for i in range(start, len(c)):
        line += ratio((c[i] - low[i]) - (h[i] - c[i]), h[i] - low[i]) * v[i]
        if i == 0:
            continue
        obv += np.sign(c[i] - c[i - 1]) * v[i]
        vpt += (c[i] / c[i - 1] - 1) * v[i]
        if v[i] < v[i - 1]:
            nvi *= c[i] / c[i - 1]
    return obv, line, vpt, nvi


@compiled
def volume(h: Vector, low: Vector, c: Vector, v: Vector) -> tuple[float, ...]:
    """Features 105-110."""
    obv, line, vpt, nvi = running(h, low, c, v, 0)
    recent = v[-20:]
    vwap = ratio((((h + low + c) / 3)[-20:] * recent).sum(), recent.sum())
    recent_line = running(h, low, c, v, len(c) - 20)[1]
    return obv, vwap, line, ratio(recent_line, recent.sum()), vpt, nvi


@compiled
def aroon(h: Vector, low: Vector) -> tuple[float, float]:
    """Features 111-112, over 25 candles and the current one; the latest of equal extremes counts."""
    n = 25
    since_high = since_low = 0
    for back in range(1, n + 1):
        if h[-1 - back] > h[-1 - since_high]:
            since_high = back
        if low[-1 - back] < low[-1 - since_low]:
            since_low = back
    return 100.0 * (n - since_high) / n, 100.0 * (n - since_low) / n


@compiled
def indicators(window: Window) -> Vector:
    """Features 76-112 of the closed candles at a tick.

    Parameters
    ----------
    window : ndarray, shape (5, n)
        Open, high, low, close, volume, oldest first; n >= 50, for fewer there is `default_indicators`.

    Returns
    -------
    ndarray of float64, shape (37,)
    """
    h, low, c, v = window[1], window[2], window[3], window[4]
    return np.array(
        trend(h, low, c) + momentum(h, low, c, v) + bands(h, low, c) + volume(h, low, c, v) + aroon(h, low)
    )


@compiled
def running_changes(window: Window, n: int) -> Vector:
    """What the running features gained in the last n candles: sums by the volume of those candles, NVI relatively.

    Returns
    -------
    ndarray of float64, shape (4,)
        Of OBV, accumulation line, volume-price trend and NVI; zeros with n candles or fewer.
    """
    if window.shape[1] <= n:
        return np.zeros(4)
    h, low, c, v = window[1], window[2], window[3], window[4]
    obv, line, vpt, nvi = running(h, low, c, v, len(c) - n)
    total = v[-n:].sum()
    return np.array((ratio(obv, total), ratio(line, total), ratio(vpt, total), nvi / 1000 - 1))


def default_indicators(close: float) -> Vector:
    """Features 76-112 of fewer than 50 candles: prices are the close, oscillators in their middle, the rest 0.

    For rows made from files only; the collector takes no sample then.
    """
    averages, middle = [close] * 6, [50.0] * 4
    trend = [*averages, 0.0, 0.0, 0.0, 25.0, 25.0, 25.0]
    momentum = [*middle, -50.0, 0.0, 0.0, 0.0, 50.0]
    volatility = [close, close, close, 0.0, 0.5, 0.0, close, close]
    volume = [0.0, close, 0.0, 0.0, 0.0, 1000.0]
    return np.array([*trend, *momentum, *volatility, *volume, 50.0, 50.0])
