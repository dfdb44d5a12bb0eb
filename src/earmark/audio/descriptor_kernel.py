"""The fused pass of spectral descriptors, 16 frames at a time.

For each tile: spectrum, magnitudes and powers; one loop over the bins for sums, moments, flux and flatness;
one for the two roll-offs; the extremes of the contrast bands by chains of minima and maxima; the mel bands as
sparse sums; the spectral peaks that tell the tuning. What needs logarithms of few numbers is left to numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from earmark.audio.simd import (
    LANES,
    aligned,
    delayed,
    exponent,
    less_bits,
    load,
    mantissa,
    maximum,
    minimum,
    splat,
    square_root,
    store,
    transpose,
    where_less,
)
from earmark.audio.tile_fft import (
    HOP,
    N_BINS,
    N_FFT,
    SPECTRUM_TILE,
    TIME_TILE,
    forward,
)

Array = NDArray[np.float32]
Ints = NDArray[np.int64]

TILE = N_BINS * LANES
FLATNESS_FLOOR = np.float32(1e-10)  # of the power
# columns of the table of sums
TOTAL, MOMENT1, MOMENT2, HIGH, ROLL85, ROLL90, LOG2_POWER, FLUX2, POWER, PEAK = range(10)
PEAK_SHARE = np.float32(
    0.1
)  # of a frame's largest power or magnitude: lower local maxima do not count as pitches
PRODUCT_ROWS = 64  # mantissas below 2 multiplied before a float32 could overflow


@njit(cache=True)
def describe(
    samples: Array,
    n_frames: int,
    window: Array,
    twiddle: Array,
    bands: Ints,
    mel_bands: Ints,
    mel_weights: Array,
    settings: tuple[int, int, int, float],
    sums: Array,
    extremes: Array,
    mel_power: Array,
    peak_bin: Array,
    peak_power: Array,
    peak_size_bin: Array,
    peak_size: Array,
) -> tuple[int, int]:
    """Fill the tables of a clip; returns the numbers of peaks of the power and of the magnitude spectrum.

    Parameters
    ----------
    samples, n_frames, window, twiddle
        The signal; ``1 + n // 512``; Hann window; twiddle factors.
    bands : int64, shape (7, 3)
        First bin, end and number of extreme bins of the contrast bands.
    mel_bands : int64, shape (n_mels, 3)
        First bin, number of bins, and place of the weights of each mel band.
    mel_weights : float32
        Weights, band after band.
    settings : (int, int, int, float)
        First bin above 3000 Hz; first and end bin of pitches; floor of the contrast relative to a frame's
        largest magnitude.
    sums : float32, flat (n_padded * 16,)
        Receives the columns TOTAL ... PEAK; n_padded is n_frames rounded up to 16.
    extremes : float32, flat (n_padded * 16,)
        Receives sums of the largest (columns 0-6) and smallest magnitudes (7-13) of the bands.
    mel_power : float32, flat (n_padded * n_mels,)
    peak_bin, peak_power : float32
        Receive the interpolated places (bins) and heights of peaks; at most every second bin of a frame is one.
    peak_size_bin, peak_size : float32
        The same of magnitudes.
    """
    time, spare = aligned(TIME_TILE), aligned(TIME_TILE)
    spectrum = aligned(SPECTRUM_TILE)
    powers, sizes, columns = aligned(TILE), aligned(2 * TILE), aligned(LANES * LANES)
    columns[:] = 0.0
    mel_tile = aligned(len(mel_bands) * LANES)
    high_bin, low_pitch, end_pitch, floor_share = settings
    n_peaks, n_peaks_of_size = 0, 0
    for tile in range((n_frames + LANES - 1) // LANES):
        odd = tile & 1
        now, before = sizes[odd * TILE : (odd + 1) * TILE], sizes[(1 - odd) * TILE : (2 - odd) * TILE]
        forward(samples, tile * LANES * HOP - N_FFT // 2, window, twiddle, time, spare, spectrum)
        _powers_and_sizes(spectrum, powers, now)
        if not tile:
            _repeat_first_lane(now, before)
        _sum_bins(now, before, powers, high_bin, columns)
        _roll_off(now, columns)
        transpose(columns, 0, LANES, sums, tile * LANES * LANES, LANES)
        floor = load(columns, PEAK * LANES) * splat(np.float32(floor_share))
        _contrast(now, bands, floor, spare, time)
        transpose(time, 0, LANES, extremes, tile * LANES * LANES, LANES)
        _mel_tile(powers, mel_bands, mel_weights, mel_tile)
        for b in range(0, len(mel_bands), LANES):
            place = tile * LANES * len(mel_bands) + b
            transpose(mel_tile, b * LANES, LANES, mel_power, place, len(mel_bands))
        n_valid = min(LANES, n_frames - tile * LANES)
        largest, share = load(columns, PEAK * LANES), splat(PEAK_SHARE)
        pitches = (low_pitch, end_pitch, n_valid)
        n_peaks = _find_peaks(powers, largest * largest * share, pitches, peak_bin, peak_power, n_peaks)
        n_peaks_of_size = _find_peaks(
            now, largest * share, pitches, peak_size_bin, peak_size, n_peaks_of_size
        )
    return n_peaks, n_peaks_of_size


@njit(cache=True)
def _powers_and_sizes(spectrum: Array, powers: Array, sizes: Array) -> None:
    for k in range(N_BINS):
        re, im = load(spectrum, 2 * k * LANES), load(spectrum, (2 * k + 1) * LANES)
        power = re * re + im * im
        store(powers, k * LANES, power)
        store(sizes, k * LANES, square_root(power))


@njit(cache=True)
def _repeat_first_lane(now: Array, before: Array) -> None:
    """The frame before the first is taken as equal to it: no flux."""
    for k in range(N_BINS):
        before[k * LANES + LANES - 1] = now[k * LANES]


@njit(cache=True)
def _sum_bins(sizes: Array, before: Array, powers: Array, high_bin: int, columns: Array) -> None:
    """Sums over the bins: magnitude, its moments, the part above 3000 Hz, flux, power, log power, maximum."""
    zero, one = splat(np.float32(0.0)), splat(np.float32(1.0))
    total, high, moment1, moment2 = zero, zero, zero, zero
    flux2, power_sum, log2, product, peak = zero, zero, zero, one, zero
    floor = splat(FLATNESS_FLOOR)
    for k in range(N_BINS):
        if k == high_bin:
            high = total
        if k % PRODUCT_ROWS == 0:
            log2 = log2 + exponent(product)
            product = mantissa(product)
        size, power = load(sizes, k * LANES), maximum(load(powers, k * LANES), floor)
        place = splat(np.float32(k))
        total = total + size
        weighted = size * place
        moment1 = moment1 + weighted
        moment2 = moment2 + weighted * place
        change = size - delayed(load(before, k * LANES), size)
        flux2 = flux2 + change * change
        power_sum = power_sum + power
        log2 = log2 + exponent(power)
        product = product * mantissa(power)
        peak = maximum(peak, size)
    store(columns, TOTAL * LANES, total)
    store(columns, MOMENT1 * LANES, moment1)
    store(columns, MOMENT2 * LANES, moment2)
    store(columns, HIGH * LANES, total - high)
    store(columns, FLUX2 * LANES, flux2)
    store(columns, POWER * LANES, power_sum)
    store(columns, PEAK * LANES, peak)
    store(columns, LOG2_POWER * LANES, log2 + exponent(product))
    for j in range(LANES):  # the last fraction of the logarithm, one number for each frame
        store(columns, (LANES - 1) * LANES, mantissa(product))
        columns[LOG2_POWER * LANES + j] += np.log2(columns[(LANES - 1) * LANES + j])


@njit(cache=True)
def _roll_off(sizes: Array, columns: Array) -> None:
    """Number of bins whose cumulated magnitude stays below 85 and 90 % of the whole."""
    zero, one = splat(np.float32(0.0)), splat(np.float32(1.0))
    total = load(columns, TOTAL * LANES)
    limit85, limit90 = total * splat(np.float32(0.85)), total * splat(np.float32(0.90))
    cumulated, count85, count90 = zero, zero, zero
    for k in range(N_BINS):
        cumulated = cumulated + load(sizes, k * LANES)
        count85 = count85 + where_less(cumulated, limit85, one, zero)
        count90 = count90 + where_less(cumulated, limit90, one, zero)
    store(columns, ROLL85 * LANES, count85)
    store(columns, ROLL90 * LANES, count90)


@njit(cache=True)
def _contrast(sizes: Array, bands: Ints, floor: Array, scratch: Array, out: Array) -> None:
    """Sums of the largest and smallest magnitudes of each band, in rows 0-6 and 7-13; rows 14 and 15 are set to 0."""
    for row in range(2 * len(bands), LANES):
        store(out, row * LANES, splat(np.float32(0.0)))
    for band in range(len(bands)):
        first, end, count = bands[band]
        if end <= first:
            store(out, band * LANES, splat(np.float32(0.0)))
            store(out, (len(bands) + band) * LANES, splat(np.float32(0.0)))
            continue
        for side in range(2):
            sign = splat(np.float32(1.0 - 2.0 * side))
            total = _extreme_sum(sizes, first, end - first, count, sign, floor, scratch)
            store(out, (side * len(bands) + band) * LANES, total)


@njit(cache=True)
def _extreme_sum(sizes: Array, first: int, n: int, count: int, sign: Any, floor: Any, scratch: Array) -> Any:
    """Sum of the ``count`` largest values times ``sign`` of a band, each at least ``floor``.

    Four are found in one sweep, by a chain of maxima; what falls out at its end is kept for the next sweep.
    """
    total = splat(np.float32(0.0))
    least = splat(np.float32(-np.inf))
    for sweep in range(0, count, 4):
        a, b, c, d = least, least, least, least
        for i in range(n):
            v = load(scratch, i * LANES) if sweep else load(sizes, (first + i) * LANES) * sign
            a, v = maximum(a, v), minimum(a, v)
            b, v = maximum(b, v), minimum(b, v)
            c, v = maximum(c, v), minimum(c, v)
            d, v = maximum(d, v), minimum(d, v)
            store(scratch, i * LANES, v)
        left = count - sweep
        total = total + maximum(a * sign, floor)
        if left > 1:
            total = total + maximum(b * sign, floor)
        if left > 2:
            total = total + maximum(c * sign, floor)
        if left > 3:
            total = total + maximum(d * sign, floor)
    return total


@njit(cache=True)
def _mel_tile(powers: Array, bands: Ints, weights: Array, out: Array) -> None:
    """Weighted sums of the bins under each triangle."""
    for b in range(len(bands)):
        first, n, place = bands[b]
        total = splat(np.float32(0.0))
        for i in range(n):
            total = total + load(powers, (first + i) * LANES) * splat(weights[place + i])
        store(out, b * LANES, total)


@njit(cache=True)
def _find_peaks(
    heights: Array, reference: Any, pitches: tuple[int, int, int], peak_bin: Array, peak: Array, n_peaks: int
) -> int:
    """Append place and height of local maxima above each frame's ``reference``, by parabola.

    ``pitches`` are the first and end bin that are looked at and the number of frames in the tile.
    """
    first, end, n_valid = pitches
    valid = (1 << n_valid) - 1
    for k in range(first, end):
        centre = load(heights, k * LANES)
        left, right = load(heights, (k - 1) * LANES), load(heights, (k + 1) * LANES)
        bits = less_bits(maximum(reference, left), centre) & ~less_bits(centre, right) & valid
        lane = 0
        while bits:
            if bits & 1:
                i = k * LANES + lane
                a = heights[i + LANES] + heights[i - LANES] - np.float32(2.0) * heights[i]
                b = (heights[i + LANES] - heights[i - LANES]) * np.float32(0.5)
                shift = -b / a if abs(b) < abs(a) else np.float32(0.0)
                peak_bin[n_peaks] = k + shift
                peak[n_peaks] = heights[i] + np.float32(0.5) * b * shift
                n_peaks += 1
            bits >>= 1
            lane += 1
    return n_peaks
