"""Filters of the constant-Q transform as pieces of one long spectrum.

The transform by recursive halving of the rate correlates every octave, at its own rate, with the same 36 waveforms of
Hann shape. Halving the rate ideally is the same as looking at the lower part of the spectrum only. So an octave's
filters act on one spectrum of a long block at the full rate, each on a short stretch of it: a window function times a
phasor is narrow. The frequency response of a waveform follows from its few large Fourier coefficients, which is also
how the reference computes it: it drops the coefficients that hold the smallest 1 % of the magnitude.

References: C. Schoerkhuber, A. Klapuri, Constant-Q transform toolbox for music processing, SMC 2010; J. Brown,
Calculation of a constant Q spectral transform, J. Acoust. Soc. Am. 89(1), 1991.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LOWEST_HZ = 440.0 * 2.0 ** (-45 / 12)  # C1
BINS_PER_OCTAVE = 36
N_OCTAVES = 7
N_CLASSES = 12
HOP_LENGTH = 512
BLOCK_HOPS = 512
BLOCK = BLOCK_HOPS * HOP_LENGTH  # samples under one spectrum: 11.9 s at 22 050 Hz
DROPPED_SHARE = 0.01  # of the magnitude of a waveform's coefficients
NEGLIGIBLE = 5e-4  # of a filter's peak response
TAIL_BINS = 6  # of the response beyond the outermost coefficient, computed before it is cut
ROW = 16
TABLES_KEPT = 24  # 4 MB each, one for each tuning met; a new one costs three times a clip's transform

Complex = NDArray[np.complex64] | NDArray[np.complex128]


@dataclass(frozen=True)
class FilterTable:
    """Responses of all filters on the bins of a block's spectrum. Shared: do not write to them.

    Filters are in the order octave (highest first), third of a semitone, pitch class.

    Attributes
    ----------
    first : int64, shape (n_filters,)
        First bin of each filter, a multiple of 16.
    place : int64, shape (n_filters + 1,)
        Where its responses start in the two arrays that follow.
    real, imaginary : float32, shape (place[-1],)
    """

    first: NDArray[np.int64]
    place: NDArray[np.int64]
    real: NDArray[np.float32]
    imaginary: NDArray[np.float32]


@lru_cache(maxsize=TABLES_KEPT)
def filter_table(sample_rate: int, tuning: float) -> FilterTable:
    """Filters for a rate in Hz and a tuning in bins (thirds of a semitone)."""
    waveforms, scales = _waveforms(sample_rate, tuning)
    first_fine, responses = _responses(waveforms)
    extents = [_extent(response) for response in responses]
    first, pieces = [], []
    for octave in range(N_OCTAVES):
        step = 2**octave
        for third in range(3):
            for pitch_class in range(N_CLASSES):
                # class c gathers bins 3c - 1, 3c, 3c + 1 of an octave that starts at C; the last bin is again C's
                k = (3 * pitch_class + third - 1) % BINS_PER_OCTAVE
                start, piece = _stretch(int(first_fine[k]), extents[k], responses[k], step)
                first.append(start)
                pieces.append(piece * np.float32(scales[k] * 2.0 ** (octave / 2)))
    place = np.cumsum([0, *(len(piece) for piece in pieces)])
    values = np.concatenate(pieces)
    return FilterTable(np.array(first), place, values.real.astype(np.float32), values.imag.astype(np.float32))


def _waveforms(sample_rate: int, tuning: float) -> tuple[Complex, NDArray[np.float64]]:
    """Fourier coefficients of the waveforms of the highest octave, (36, n_fft), and the filters' scales."""
    k = np.arange(BINS_PER_OCTAVE) + (N_OCTAVES - 1) * BINS_PER_OCTAVE + tuning
    frequency_hz = LOWEST_HZ * 2.0 ** (k / BINS_PER_OCTAVE)
    ratio = 2.0 ** (2.0 / BINS_PER_OCTAVE)
    lengths = (ratio + 1) / (ratio - 1) * sample_rate / frequency_hz
    n_fft = int(2 ** np.ceil(np.log2(lengths.max())))
    basis = np.zeros((BINS_PER_OCTAVE, n_fft), dtype=np.complex128)
    for row, length, f in zip(basis, lengths, frequency_hz, strict=True):
        n = np.arange(-length // 2, length // 2)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(n)) / len(n))
        lead = (n_fft - len(n)) // 2
        row[lead : lead + len(n)] = window / window.sum() * np.exp(2j * np.pi * f / sample_rate * n)
    coefficients = np.fft.fft(basis, axis=1)
    coefficients[:, n_fft // 2 + 1 :] = 0.0
    scales = np.sqrt(lengths) / n_fft / (2 * BLOCK)  # the spectrum of a block comes doubled
    return _without_small(coefficients), scales


def _without_small(coefficients: Complex) -> Complex:
    """Without the smallest coefficients of each row that together hold 1 % of its magnitude."""
    magnitude = np.abs(coefficients)
    ascending = np.sort(magnitude, axis=1)
    share = np.cumsum(ascending, axis=1) / ascending.sum(axis=1, keepdims=True)
    threshold = np.take_along_axis(ascending, np.argmin(share < DROPPED_SHARE, axis=1)[:, None], axis=1)
    return np.where(magnitude >= threshold, coefficients, 0.0)


def _responses(coefficients: Complex) -> tuple[NDArray[np.int64], list[Complex]]:
    """Frequency responses of the waveforms on the bins of a block's spectrum, and the bin where each starts.

    A coefficient at bin k adds a copy of the rectangular window's transform around k.
    """
    n_fft = coefficients.shape[1]
    fine = BLOCK // n_fft
    first, responses = [], []
    reach = TAIL_BINS + max(int(np.ptp(np.flatnonzero(row))) for row in coefficients) + 1
    copy = _rectangle_transform(reach, n_fft, fine).ravel()
    for row in coefficients:
        kept = np.flatnonzero(row)
        start = int(kept[0]) - TAIL_BINS
        response = np.zeros((int(kept[-1]) + 1 + TAIL_BINS - start) * fine, dtype=np.complex64)
        for k in kept:
            shift = (reach + start - k) * fine
            response += np.complex64(row[k] * (-1.0) ** k) * copy[shift : shift + len(response)]
        responses.append(response)
        first.append(start * fine)
    return np.array(first), responses


@lru_cache(maxsize=8)
def _rectangle_transform(reach: int, n_fft: int, fine: int) -> Complex:
    """Transform of n_fft ones around time 0, at bins -reach .. reach in ``fine`` steps each."""
    x = np.arange(-reach * fine, (reach + 1) * fine).reshape(-1, fine) / fine
    with np.errstate(invalid="ignore"):
        values = np.sin(np.pi * x) / np.sin(np.pi * x / n_fft)
    values[x == 0] = n_fft
    result: Complex = (values * np.exp(-1j * np.pi * x / n_fft)).astype(np.complex64)
    return result


def _extent(response: Complex) -> tuple[int, int]:
    """First and last place where a response is not negligible."""
    size = response.real**2 + response.imag**2
    matters = np.flatnonzero(size > NEGLIGIBLE**2 * size.max())
    return int(matters[0]), int(matters[-1])


def _stretch(first: int, extent: tuple[int, int], response: Complex, step: int) -> tuple[int, Complex]:
    """First place and values of what matters of a response on every ``step``-th bin, in whole rows of 16."""
    low = (first + extent[0]) // step // ROW * ROW
    high = -(-((first + extent[1]) // step + 1) // ROW) * ROW
    piece = np.zeros(high - low, dtype=np.complex64)
    begin = max(low, -(-first // step))
    values = response[begin * step - first :: step][: high - begin]
    piece[begin - low : begin - low + len(values)] = values
    return low, piece
