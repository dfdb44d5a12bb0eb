"""The fused pass of harmonic-percussive separation: spectrum, two running medians, masks, inverse transform,
energies.

Sixteen frames at a time, one tile behind the newest, because the median in time looks 15 frames ahead.
Nothing longer than three tiles is held. Layouts: magnitudes of the last 48 frames frame-major (``history``,
for the median in time, 16 bins in the lanes), everything else in tiles (16 frames in the lanes).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from earmark.audio.running_median import running_median, running_median_transposed
from earmark.audio.simd import LANES, aligned, load, splat, square_root, store, transpose, where_less
from earmark.audio.tile_fft import (
    CHUNK,
    HOP,
    N_BINS,
    N_FFT,
    SPECTRUM_TILE,
    TIME_TILE,
    forward,
    inverse,
)

Array = NDArray[np.float32]

REACH = 15  # half the kernel of 31
PITCH = 1040  # bins of a frame, padded to whole rows; not a power of two
N_BLOCKS = PITCH // LANES
MARGIN = REACH * LANES  # floats of a tile before its first bin
MAGNITUDE_TILE = (PITCH + 2 * REACH) * LANES
TILE_SAMPLES = LANES * HOP
TINY = np.float32(1e-37)
INNER_NORM = 1.5  # sum of the squared Hann windows over a sample, hop a quarter


@njit(cache=True)
def separate(
    samples: Array, n_frames: int, window: Array, twiddle: Array, harmonic: Array, sums: Array
) -> tuple[float, float]:
    """Energies of the harmonic and percussive signals.

    Parameters
    ----------
    samples : np.ndarray, float32, shape (n,)
    n_frames : int
        ``1 + n // 512``.
    window, twiddle : np.ndarray
        Hann window and twiddle factors.
    harmonic : np.ndarray, shape (n,) or (0,)
        Receives the harmonic signal unless empty.
    sums : np.ndarray, shape (n_frames, 2) or (0, 2)
        Receives the sums over bins of the harmonic and percussive magnitudes unless empty.
    """
    time, spare = aligned(TIME_TILE), aligned(TIME_TILE)
    spectra, medians = aligned(2 * SPECTRUM_TILE), aligned(2 * PITCH * LANES)
    history, overlap = aligned(3 * LANES * PITCH), aligned(CHUNK)
    history[:] = 0.0
    overlap[:] = 0.0
    work = (aligned(MAGNITUDE_TILE), time, spare)
    n_tiles = (n_frames + LANES - 1) // LANES
    harmonic_energy, percussive_energy = 0.0, 0.0
    for tile in range(-1, n_tiles):
        odd = (tile + 1) & 1
        newest_spectrum = spectra[odd * SPECTRUM_TILE : (odd + 1) * SPECTRUM_TILE]
        newest_median = medians[odd * PITCH * LANES : (odd + 1) * PITCH * LANES]
        spectrum = spectra[(1 - odd) * SPECTRUM_TILE : (2 - odd) * SPECTRUM_TILE]
        median = medians[(1 - odd) * PITCH * LANES : (2 - odd) * PITCH * LANES]
        _shift(history, LANES * PITCH)
        if tile + 1 < n_tiles:
            _advance(samples, tile + 1, window, twiddle, work, newest_spectrum, newest_median, history)
        _reflect_history(history, tile, n_frames)
        if tile < 0:
            continue
        _apply_mask(history, median, spectrum, sums, tile * LANES)
        inverse(spectrum, twiddle, time, spare)
        _overlap_add(spare, window, overlap, min(LANES, n_frames - tile * LANES))
        first = tile * TILE_SAMPLES
        n_final = TILE_SAMPLES if tile + 1 < n_tiles else CHUNK
        h, p = _finish(overlap, n_final, first, samples, n_frames, window, harmonic)
        harmonic_energy += h
        percussive_energy += p
        _shift(overlap, TILE_SAMPLES)
        overlap[CHUNK - TILE_SAMPLES :] = 0.0
    return harmonic_energy, percussive_energy


@njit(cache=True)
def _shift(array: Array, by: int) -> None:
    """Move the array's content to the front; the end keeps its old values."""
    for i in range(0, len(array) - by, LANES):
        store(array, i, load(array, i + by))


@njit(cache=True)
def _advance(
    samples: Array,
    tile: int,
    window: Array,
    twiddle: Array,
    work: tuple[Array, Array, Array],
    spectrum: Array,
    percussive: Array,
    history: Array,
) -> None:
    """Spectrum, median over frequency, and newest third of the history for one more tile."""
    magnitudes, time, spare = work
    forward(samples, tile * TILE_SAMPLES - N_FFT // 2, window, twiddle, time, spare, spectrum)
    for k in range(N_BINS):
        re, im = load(spectrum, 2 * k * LANES), load(spectrum, (2 * k + 1) * LANES)
        store(magnitudes, MARGIN + k * LANES, square_root(re * re + im * im))
    for i in range(REACH):
        store(magnitudes, MARGIN - (i + 1) * LANES, load(magnitudes, MARGIN + i * LANES))
        end = MARGIN + N_BINS * LANES
        store(magnitudes, end + i * LANES, load(magnitudes, end - (i + 1) * LANES))
    for i in range((MARGIN + (N_BINS + REACH) * LANES), MAGNITUDE_TILE):
        magnitudes[i] = 0.0
    for block in range(N_BLOCKS):
        running_median(magnitudes, block * LANES * LANES, LANES, percussive, block * LANES * LANES)
        transpose(
            magnitudes,
            MARGIN + block * LANES * LANES,
            LANES,
            history,
            2 * LANES * PITCH + block * LANES,
            PITCH,
        )


@njit(cache=True)
def _reflect_history(history: Array, tile: int, n_frames: int) -> None:
    """Fill the frames outside the clip by reflection about its edges (the edge frame is repeated)."""
    base = (tile - 1) * LANES
    if base >= 0 and base + 3 * LANES <= n_frames:
        return
    for place in range(3 * LANES):
        frame = base + place
        if 0 <= frame < n_frames:
            continue
        source = frame % (2 * n_frames)
        source = min(source, 2 * n_frames - 1 - source) - base
        if 0 <= source < 3 * LANES:
            history[place * PITCH : (place + 1) * PITCH] = history[source * PITCH : (source + 1) * PITCH]


@njit(cache=True)
def _apply_mask(history: Array, percussive: Array, spectrum: Array, sums: Array, first_frame: int) -> None:
    """Multiply a spectrum by the share h^2 / (h^2 + p^2) of the harmonic median h; one half where both vanish."""
    harmonic = aligned(LANES * LANES)
    half, tiny = splat(np.float32(0.5)), splat(TINY)
    h_sum, total = splat(np.float32(0.0)), splat(np.float32(0.0))
    with_sums = len(sums) > 0
    for block in range(N_BLOCKS):
        running_median_transposed(history, PITCH + block * LANES, PITCH, harmonic, 0)
        for k in range(block * LANES, min(N_BINS, (block + 1) * LANES)):
            h, p = load(harmonic, (k - block * LANES) * LANES), load(percussive, k * LANES)
            h, p = h * h, p * p
            mask = where_less(tiny, h + p, h / (h + p), half)
            re, im = load(spectrum, 2 * k * LANES), load(spectrum, (2 * k + 1) * LANES)
            if with_sums:
                size = square_root(re * re + im * im)
                h_sum, total = h_sum + size * mask, total + size
            store(spectrum, 2 * k * LANES, re * mask)
            store(spectrum, (2 * k + 1) * LANES, im * mask)
    if with_sums:
        lanes = aligned(2 * LANES)
        store(lanes, 0, h_sum)
        store(lanes, LANES, total)
        for j in range(min(LANES, len(sums) - first_frame)):
            sums[first_frame + j, 0] = lanes[j]
            sums[first_frame + j, 1] = max(np.float32(0.0), lanes[LANES + j] - lanes[j])


@njit(cache=True)
def _overlap_add(tile: Array, window: Array, overlap: Array, n_valid: int) -> None:
    """Add the windowed frames of a time tile (times 2048, samples exchanged in pairs) to the overlap buffer."""
    scale = splat(np.float32(1.0 / N_FFT))
    block, turned = aligned(LANES * LANES), aligned(LANES * LANES)
    for n in range(0, N_FFT, LANES):
        for i in range(LANES):
            weight = splat(window[n + i]) * scale
            store(block, i * LANES, load(tile, (n + (i ^ 1)) * LANES) * weight)
        transpose(block, 0, LANES, turned, 0, LANES)
        for j in range(n_valid):
            place = HOP * j + n
            store(overlap, place, load(overlap, place) + load(turned, j * LANES))


@njit(cache=True, fastmath=True)
def _finish(
    overlap: Array,
    n_final: int,
    first: int,
    samples: Array,
    n_frames: int,
    window: Array,
    harmonic: Array,
) -> tuple[float, float]:
    """Energies of the finished part of the signal; ``first`` counts samples from half a window before the clip."""
    h_energy, p_energy = 0.0, 0.0
    for start in range(0, n_final, HOP):
        block = (first + start) // HOP
        offset = first + start - N_FFT // 2
        low, high = max(0, -offset), min(HOP, len(samples) - offset)
        if block < 3 or block >= n_frames:
            _normalise_edge(overlap, start, block, n_frames, window)
        else:
            for i in range(HOP):
                overlap[start + i] *= np.float32(1.0 / INNER_NORM)
        h_sum, p_sum = np.float32(0.0), np.float32(0.0)
        for i in range(low, high):
            h = overlap[start + i]
            p = samples[offset + i] - h
            h_sum += h * h
            p_sum += p * p
        h_energy += float(h_sum)
        p_energy += float(p_sum)
        if len(harmonic):
            for i in range(low, high):
                harmonic[offset + i] = overlap[start + i]
    return h_energy, p_energy


@njit(cache=True)
def _normalise_edge(overlap: Array, start: int, block: int, n_frames: int, window: Array) -> None:
    """Divide 512 samples near an end by the sum of those squared windows that cover them."""
    for i in range(HOP):
        norm = np.float32(0.0)
        for back in range(4):
            if 0 <= block - back < n_frames:
                norm += window[back * HOP + i] ** 2
        overlap[start + i] = overlap[start + i] / norm if norm > TINY else np.float32(0.0)
