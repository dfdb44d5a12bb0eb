"""Sums over short blocks of samples, from which frame RMS and zero crossings follow by addition."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.float32]
ZERO_BAND = np.float32(1e-10)  # samples this close to zero count as positive


@njit(cache=True, fastmath=True)
def block_energies(samples: Array, block: int) -> NDArray[np.float64]:
    """Sum of squares of each block of ``block`` samples; the last one may be shorter."""
    n_blocks = (len(samples) + block - 1) // block
    energies = np.empty(n_blocks)
    for b in range(n_blocks):
        total = np.float32(0.0)
        for i in range(b * block, min(len(samples), (b + 1) * block)):
            total += samples[i] * samples[i]
        energies[b] = total
    return energies


@njit(cache=True)
def block_crossings(samples: Array, block: int) -> NDArray[np.int64]:
    """Number of sign changes from the sample before, in each block; none at the very first sample."""
    n_blocks = (len(samples) + block - 1) // block
    crossings = np.empty(n_blocks, dtype=np.int64)
    for b in range(n_blocks):
        count = np.int32(0)
        for i in range(max(1, b * block), min(len(samples), (b + 1) * block)):
            count += np.int32((samples[i] < -ZERO_BAND) != (samples[i - 1] < -ZERO_BAND))
        crossings[b] = count
    return crossings
