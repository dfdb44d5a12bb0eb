"""The pass that sums powers into pitch classes, 16 frames at a time.

It is the second pass over the signal, because the weights depend on the tuning of the whole clip; to
transform again is cheaper than to keep the spectrum.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from earmark.audio.simd import LANES, aligned, load, splat, store, transpose
from earmark.audio.tile_fft import (
    HOP,
    N_BINS,
    N_FFT,
    SPECTRUM_TILE,
    TIME_TILE,
    forward,
)

Array = NDArray[np.float32]

N_CLASSES = 12


@njit(cache=True)
def sum_pitch_classes(
    samples: Array, n_frames: int, window: Array, twiddle: Array, weights: Array, energy: Array
) -> None:
    """Fill ``energy``, flat (n_frames rounded up to 16, 16): columns 0-11 the pitch classes, the rest 0.

    ``weights`` is flat (n_bins, 12).
    """
    time, spare = aligned(TIME_TILE), aligned(TIME_TILE)
    spectrum = aligned(SPECTRUM_TILE)
    columns = aligned(LANES * LANES)
    columns[:] = 0.0
    for tile in range((n_frames + LANES - 1) // LANES):
        forward(samples, tile * LANES * HOP - N_FFT // 2, window, twiddle, time, spare, spectrum)
        for k in range(N_BINS):
            re, im = load(spectrum, 2 * k * LANES), load(spectrum, (2 * k + 1) * LANES)
            store(time, k * LANES, re * re + im * im)
        for half in range(0, N_CLASSES, N_CLASSES // 2):
            _sum_six(time, weights, half, columns)
        transpose(columns, 0, LANES, energy, tile * LANES * LANES, LANES)


@njit(cache=True)
def _sum_six(powers: Array, weights: Array, first: int, columns: Array) -> None:
    """Six pitch classes at once: six sums stay in registers."""
    zero = splat(np.float32(0.0))
    a, b, c, d, e, f = zero, zero, zero, zero, zero, zero
    for k in range(N_BINS):
        power, w = load(powers, k * LANES), k * N_CLASSES + first
        a = a + power * splat(weights[w])
        b = b + power * splat(weights[w + 1])
        c = c + power * splat(weights[w + 2])
        d = d + power * splat(weights[w + 3])
        e = e + power * splat(weights[w + 4])
        f = f + power * splat(weights[w + 5])
    store(columns, first * LANES, a)
    store(columns, (first + 1) * LANES, b)
    store(columns, (first + 2) * LANES, c)
    store(columns, (first + 3) * LANES, d)
    store(columns, (first + 4) * LANES, e)
    store(columns, (first + 5) * LANES, f)
