"""Sums over short blocks of samples, from which frame RMS and zero crossings follow by addition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from earmark.audio.simd import LANES, aligned, load, splat, store, where_less

Array = NDArray[np.float32]
ZERO_BAND = np.float32(1e-10)  # samples this close to zero count as positive


@njit(cache=True)
def block_energies(samples: Array, block: int) -> NDArray[np.float64]:
    """Sum of squares of each block of ``block`` samples; the last one may be shorter."""
    n_blocks = (len(samples) + block - 1) // block
    energies = np.empty(n_blocks)
    lanes = aligned(LANES)
    for b in range(n_blocks):
        first, end = b * block, min(len(samples), (b + 1) * block)
        end_rows = first + (end - first) // LANES * LANES
        total = splat(np.float32(0.0))
        for i in range(first, end_rows, LANES):
            row = load(samples, i)
            total = total + row * row
        energies[b] = _sum_lanes(total, lanes)
        for i in range(end_rows, end):
            energies[b] += samples[i] * samples[i]
    return energies


@njit(cache=True)
def block_crossings(samples: Array, block: int) -> NDArray[np.int64]:
    """Number of sign changes from the sample before, in each block; none at the very first sample."""
    n_blocks = (len(samples) + block - 1) // block
    crossings = np.empty(n_blocks, dtype=np.int64)
    lanes = aligned(LANES)
    edge, zero, one = splat(-ZERO_BAND), splat(np.float32(0.0)), splat(np.float32(1.0))
    for b in range(n_blocks):
        first, end = max(1, b * block), min(len(samples), (b + 1) * block)
        end_rows = first + (end - first) // LANES * LANES
        total = zero
        for i in range(first, end_rows, LANES):
            here = where_less(load(samples, i), edge, one, zero)
            change = here - where_less(load(samples, i - 1), edge, one, zero)
            total = total + change * change
        count = np.int64(_sum_lanes(total, lanes))
        for i in range(end_rows, end):
            count += np.int64((samples[i] < -ZERO_BAND) != (samples[i - 1] < -ZERO_BAND))
        crossings[b] = count
    return crossings


@njit(cache=True)
def _sum_lanes(row: Any, lanes: Array) -> float:
    """Sum of the lanes of a row, in double precision."""
    store(lanes, 0, row)
    total = 0.0
    for j in range(LANES):
        total += lanes[j]
    return total
