"""First row of a stretch whose price leaves a band: a tree of extremes, descended once per question.

Building costs O(m); each of n questions O(log m), however far away the touch is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["extreme_tree", "first_touches"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def extreme_tree(high: Float64, low: Float64) -> tuple[Float64, Float64]:
    """Maxima of `high` and minima of `low` over all aligned stretches of 1, 2, 4, ... rows.

    Returns
    -------
    (maxima, minima) : ndarray of float64, shape (2 * size,)
        `size` is the power of two that holds all rows; node k has children 2k and 2k + 1, leaves start at `size`.
        A row without a price (NaN) touches nothing.
    """
    size = 1 << max(len(high) - 1, 0).bit_length()
    maxima, minima = np.full(2 * size, -np.inf), np.full(2 * size, np.inf)
    maxima[size : size + len(high)] = np.where(np.isnan(high), -np.inf, high)
    minima[size : size + len(low)] = np.where(np.isnan(low), np.inf, low)
    level = size // 2
    while level:
        children = slice(2 * level, 4 * level)
        maxima[level : 2 * level] = maxima[children].reshape(-1, 2).max(axis=1)
        minima[level : 2 * level] = minima[children].reshape(-1, 2).min(axis=1)
        level //= 2
    return maxima, minima


@njit(cache=True)
def first_touches(
    maxima: Float64, minima: Float64, starts: Int64, stops: Int64, upper: Float64, lower: Float64
) -> Int64:
    """First row in [start, stop) at or above `upper` or at or below `lower`, -1 where there is none.

    Parameters
    ----------
    maxima, minima : ndarray of float64
        Of `extreme_tree`.
    starts, stops : ndarray of int64, shape (n,)
    upper, lower : ndarray of float64, shape (n,)

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    size = len(maxima) // 2
    found = np.full(len(starts), -1, np.int64)
    for i in range(len(starts)):
        if starts[i] >= stops[i]:
            continue
        node = size + starts[i]
        while node > 0 and maxima[node] < upper[i] and minima[node] > lower[i]:
            while node % 2 == 1:  # a right child: the next rows are those of an ancestor's sibling
                node //= 2
            if node > 0:
                node += 1
        if node == 0:
            continue
        while node < size:
            node *= 2
            if maxima[node] < upper[i] and minima[node] > lower[i]:
                node += 1
        if node - size < stops[i]:
            found[i] = node - size
    return found
