"""Autocorrelation of curves and the height of its peaks.

Conventions: lags in frames; the mean is removed; lag 0 is 1; in double precision. *Biased* divides every lag by the
same number, so that long lags, of which a clip holds few pairs, weigh less; *unbiased* divides by the number of pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float64 = NDArray[np.float64]
CONSTANT_SHARE = 1e-6  # of the largest value: a smaller standard deviation is what float32 rounding leaves
ROUNDING = 1e-6  # half a beat of an odd number of frames lies midway: rounding errors must not decide
PEAK_SHARE = 20  # a peak may lie 1/20 of its lag (5 %) to either side


def autocorrelation(x: ArrayLike, n_lags: int, *, unbiased: bool = False) -> Float64:
    """Autocorrelation of one curve or of several, scaled to 1 at lag 0.

    Parameters
    ----------
    x : array_like, shape (..., n)
        The last axis is time; may be empty.
    n_lags : int
        Number of lags, from 0 on.
    unbiased : bool
        Divide each lag by its number of pairs instead of by n.

    Returns
    -------
    np.ndarray, float64, shape (..., n_lags)
        0 at lags of n and more, and everywhere for a constant curve.

    Examples
    --------
    >>> autocorrelation([1, 0, 1, 0, 1, 0], 3).round(3).tolist()
    [1.0, -0.833, 0.667]
    >>> autocorrelation([1, 0, 1, 0, 1, 0], 3, unbiased=True).round(3).tolist()
    [1.0, -1.0, 1.0]
    """
    from scipy.fft import irfft, next_fast_len, rfft

    curves = np.asarray(x, dtype=np.float64)
    n = curves.shape[-1]
    result = np.zeros((*curves.shape[:-1], n_lags))
    n_kept = min(n, n_lags)
    if not n_kept:
        return result
    centred = curves - curves.mean(axis=-1, keepdims=True)
    size = next_fast_len(n + n_kept, real=True)
    spectrum = rfft(centred, n=size, axis=-1)
    products = irfft(spectrum.real**2 + spectrum.imag**2, n=size, axis=-1)[..., :n_kept]
    limit = n * (CONSTANT_SHARE * np.abs(curves).max(axis=-1, keepdims=True)) ** 2
    energy = products[..., :1].copy()
    result[..., :n_kept] = np.where(energy > limit, products, 0.0) / np.where(energy > limit, energy, 1.0)
    if unbiased:
        result[..., :n_kept] *= n / (n - np.arange(n_kept))
    return result


def lag_peaks(x: ArrayLike, lags: ArrayLike) -> Float64:
    """Largest value of a function of the lag within 5 %, and at least one lag, of each wanted lag.

    Parameters
    ----------
    x : array_like, shape (..., n)
        Values at lags 0 .. n - 1.
    lags : array_like, shape (k,)
        Wanted lags; rounded to the nearest whole lag, halves (within 1e-6) upwards.

    Returns
    -------
    np.ndarray, float64, shape (..., k)
        Lag 0 never counts; 0 where the rounded lag is below 1 or above n - 1.

    Examples
    --------
    >>> lag_peaks([1.0, 0.2, 0.5, 0.1, 0.0], [1, 2.5, 4, 9]).tolist()
    [0.5, 0.5, 0.1, 0.0]
    """
    values = np.asarray(x, dtype=np.float64)
    n = values.shape[-1]
    middle = np.floor(np.asarray(lags, dtype=np.float64) + 0.5 + ROUNDING).astype(np.int64)
    inside = (middle >= 1) & (middle <= n - 1)
    result = np.zeros((*values.shape[:-1], len(middle)))
    if not inside.any():
        return result
    reach = np.maximum(1, middle[inside] // PEAK_SHARE)
    first = np.maximum(middle[inside] - reach, 1)
    end = np.minimum(middle[inside] + reach, n - 1) + 1
    # reduceat takes the maximum of every stretch between two bounds: every other one is a wanted window
    bounds = np.stack([first, end], axis=1).ravel()
    padded = np.concatenate([values, np.full((*values.shape[:-1], 1), -np.inf)], axis=-1)
    result[..., inside] = np.maximum.reduceat(padded, bounds, axis=-1)[..., ::2]
    return result
