"""Magnitudes of pitch classes from blocks of 512 hops of 512 samples.

For each block: its spectrum at 262 144 points, as 512 x 512 (columns, twiddle factors, rows), which needs transforms of
length 512 only, 16 at a time; each filter's products with its stretch of the spectrum, folded to 512 bins, which keeps
every 512th sample of the filter's output; the inverse transforms of 12 filters at a time, one for each pitch class,
whose magnitudes add up. Conventions of tiles as in `earmark.audio.tile_fft`; real and imaginary parts of the spectrum
lie in two arrays.

Reference: C. Van Loan, Computational Frameworks for the Fast Fourier Transform, SIAM 1992, section 3.3 (six-step).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from earmark.audio.simd import LANES, aligned, load, splat, square_root, store, transpose
from earmark.audio.tile_fft import radix4

Array = NDArray[np.float32]
Ints = NDArray[np.int64]

SIDE = 512  # hops in a block and samples in a hop
HALF = SIDE // 2
N_COLUMN_BINS = HALF + 1
N_PADDED_BINS = N_COLUMN_BINS - 1 + LANES
TILE = 2 * SIDE * LANES
N_CLASSES = 12


@lru_cache(maxsize=1)
def side_twiddles() -> Array:
    """exp(-2 pi i k / 1024) for k < 512, real and imaginary parts in turn, for transforms of length 512."""
    angle = -np.pi * np.arange(SIDE) / SIDE
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).ravel().astype(np.float32)


@lru_cache(maxsize=1)
def block_twiddles() -> tuple[Array, Array]:
    """exp(-2 pi i k r / 262144) for k <= 256, r < 512: real and imaginary parts, each flat (257 * 512,)."""
    angle = -2.0 * np.pi / SIDE**2 * np.outer(np.arange(N_COLUMN_BINS), np.arange(SIDE))
    return np.cos(angle).astype(np.float32).ravel(), np.sin(angle).astype(np.float32).ravel()


@njit(cache=True)
def sum_magnitudes(
    padded: Array,
    n_frames: int,
    margin: int,
    side_twiddle: Array,
    twiddle_real: Array,
    twiddle_imaginary: Array,
    first: Ints,
    place: Ints,
    real: Array,
    imaginary: Array,
    energy: Array,
) -> None:
    """Fill ``energy``, flat (n_frames, 16): columns 0-11 the pitch classes, the rest 0.

    Parameters
    ----------
    padded : float32
        The signal with ``margin`` hops of zeros before it, and zeros behind it to the end of the last block.
    n_frames, margin : int
        Frames of the signal; frames of a block at either end that are not used.
    side_twiddle, twiddle_real, twiddle_imaginary
        `side_twiddles` and `block_twiddles`.
    first, place, real, imaginary
        A `earmark.audio.cqt_filters.FilterTable`.
    """
    n_rows = 0
    for i in range(len(first)):
        n_rows = max(n_rows, (first[i] + place[i + 1] - place[i] + SIDE - 1) // SIDE)
    columns_real, columns_imaginary = aligned(N_PADDED_BINS * SIDE), aligned(N_PADDED_BINS * SIDE)
    columns_real[N_COLUMN_BINS * SIDE :] = 0.0
    columns_imaginary[N_COLUMN_BINS * SIDE :] = 0.0
    spectrum_real, spectrum_imaginary = aligned(n_rows * SIDE + LANES), aligned(n_rows * SIDE + LANES)
    folded = aligned(2 * LANES * SIDE)
    folded[:] = 0.0
    x, y = aligned(TILE), aligned(TILE)
    sums = aligned(SIDE * LANES)
    step = SIDE - 2 * margin
    for start in range(0, n_frames, step):
        for r in range(0, HALF, LANES):
            _column_pair(padded, start * SIDE + r, side_twiddle, x, y)
            _unpack(y, r, twiddle_real, twiddle_imaginary, columns_real, columns_imaginary)
        for group in range(N_PADDED_BINS // LANES - 1, -1, -1):
            _row_transforms(columns_real, columns_imaginary, group, side_twiddle, x, y)
            _place_rows(y, group, n_rows, spectrum_real, spectrum_imaginary)
        sums[:] = 0.0
        for filters in range(0, len(first), N_CLASSES):
            for i in range(N_CLASSES):
                a, b = place[filters + i], place[filters + i + 1]
                out = folded[2 * i * SIDE : 2 * (i + 1) * SIDE]
                _fold(spectrum_real, spectrum_imaginary, first[filters + i], real[a:b], imaginary[a:b], out)
            _inverse(folded, side_twiddle, x, y)
            _add_magnitudes(y, sums)
        n = min(step, n_frames - start)
        energy[start * LANES : (start + n) * LANES] = sums[margin * LANES : (margin + n) * LANES]


@njit(cache=True)
def _column_pair(padded: Array, start: int, twiddle: Array, x: Array, y: Array) -> None:
    """Transform along the hops of 16 columns of the block as real and the 16 columns 256 further as imaginary parts."""
    for m in range(SIDE):
        i = start + m * SIDE
        store(x, 2 * m * LANES, load(padded, i))
        store(x, (2 * m + 1) * LANES, load(padded, i + HALF))
    transform(x, y, twiddle)


@njit(cache=True)
def transform(x: Array, y: Array, twiddle: Array) -> None:
    """FFT of 512 complex rows of ``x`` into ``y``; ``x`` is overwritten."""
    radix4(x, y, 128, 1, twiddle)
    radix4(y, x, 32, 4, twiddle)
    radix4(x, y, 8, 16, twiddle)
    radix4(y, x, 2, 64, twiddle)
    for i in range(0, SIDE * LANES, LANES):
        a, b = load(x, i), load(x, i + SIDE * LANES)
        store(y, i, a + b)
        store(y, i + SIDE * LANES, a - b)


@njit(cache=True)
def _unpack(z: Array, r: int, w_real: Array, w_imaginary: Array, real: Array, imaginary: Array) -> None:
    """Twice the spectra of both sets of columns, times the twiddle factors, for bins 0 .. 256."""
    for k in range(N_COLUMN_BINS):
        i, j = 2 * LANES * k, 2 * LANES * ((SIDE - k) % SIDE)
        ar, ai, br, bi = load(z, i), load(z, i + LANES), load(z, j), load(z, j + LANES)
        sr, si, dr, di = ar + br, ai - bi, ai + bi, br - ar
        at = k * SIDE + r
        wr, wi = load(w_real, at), load(w_imaginary, at)
        store(real, at, sr * wr - si * wi)
        store(imaginary, at, sr * wi + si * wr)
        at += HALF
        wr, wi = load(w_real, at), load(w_imaginary, at)
        store(real, at, dr * wr - di * wi)
        store(imaginary, at, dr * wi + di * wr)


@njit(cache=True)
def _row_transforms(real: Array, imaginary: Array, group: int, twiddle: Array, x: Array, y: Array) -> None:
    """Transform along the samples of the hops, for 16 column bins."""
    first = group * LANES * SIDE
    for r in range(0, SIDE, LANES):
        transpose(real, first + r, SIDE, x, 2 * r * LANES, 2 * LANES)
        transpose(imaginary, first + r, SIDE, x, (2 * r + 1) * LANES, 2 * LANES)
    transform(x, y, twiddle)


@njit(cache=True)
def _place_rows(y: Array, group: int, n_rows: int, real: Array, imaginary: Array) -> None:
    """Lay 16 column bins of all rows at their places in the spectrum, and their conjugates at the mirrored ones.

    The last group has one bin of its own; what it lays beside it is overwritten by later groups' conjugates.
    """
    for row in range(n_rows):
        at = row * SIDE + group * LANES
        store(real, at, load(y, 2 * row * LANES))
        store(imaginary, at, load(y, (2 * row + 1) * LANES))
        mirrored = 2 * (SIDE - 1 - row) * LANES
        for lane in range(LANES):
            k = group * LANES + lane
            if 0 < k < HALF:
                real[row * SIDE + SIDE - k] = y[mirrored + lane]
                imaginary[row * SIDE + SIDE - k] = -y[mirrored + LANES + lane]


@njit(cache=True)
def _fold(
    spectrum_real: Array, spectrum_imaginary: Array, first: int, real: Array, imaginary: Array, out: Array
) -> None:
    """Products of a stretch of the spectrum and a filter, summed modulo 512: real parts, then imaginary ones."""
    zero = splat(np.float32(0.0))
    for i in range(0, 2 * SIDE, LANES):
        store(out, i, zero)
    for i in range(0, len(real), LANES):
        sr, si = load(spectrum_real, first + i), load(spectrum_imaginary, first + i)
        wr, wi = load(real, i), load(imaginary, i)
        k = (first + i) % SIDE
        store(out, k, load(out, k) + (sr * wr - si * wi))
        store(out, SIDE + k, load(out, SIDE + k) + (sr * wi + si * wr))


@njit(cache=True)
def _inverse(folded: Array, twiddle: Array, x: Array, y: Array) -> None:
    """Inverse transforms of 16 filters; with real and imaginary parts exchanged, before and after."""
    for k in range(0, SIDE, LANES):
        transpose(folded, k, 2 * SIDE, x, (2 * k + 1) * LANES, 2 * LANES)
        transpose(folded, SIDE + k, 2 * SIDE, x, 2 * k * LANES, 2 * LANES)
    transform(x, y, twiddle)


@njit(cache=True)
def _add_magnitudes(y: Array, sums: Array) -> None:
    for m in range(SIDE):
        a, b = load(y, 2 * m * LANES), load(y, (2 * m + 1) * LANES)
        store(sums, m * LANES, load(sums, m * LANES) + square_root(a * a + b * b))
