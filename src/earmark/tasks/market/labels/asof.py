"""Look-ups in time: the last, first or nearest row of a sorted series for each of many instants.

All functions take times in milliseconds, sorted ascending, and give int64 positions, -1 where there is no such row.
Instants that are sorted too, as those of one symbol at one horizon are, cost one walk over both arrays.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["first_after", "first_at_or_after", "last_at_or_before", "nearest_after", "rows_at"]

Int64 = npt.NDArray[np.int64]
Scalar = TypeVar("Scalar", bound=np.generic)

SPARSE = 100
"""Where a series has more rows per instant than this, bisecting it is as fast as walking over it."""


def last_at_or_before(times: Int64, instants: Int64) -> Int64:
    """Position of the last row with a time <= each instant, shape of `instants`.

    Of rows with equal times the last is taken: the state that the instant left behind.

    Examples
    --------
    >>> last_at_or_before(np.array([10, 20, 20, 30]), np.array([5, 20, 29]))
    array([-1,  2,  2])
    """
    return _count_until(times, instants, inclusive=True) - 1


def first_at_or_after(times: Int64, instants: Int64) -> Int64:
    """Position of the first row with a time >= each instant; -1 where all are earlier."""
    return _none_at_end(_count_until(times, instants, inclusive=False), len(times))


def first_after(times: Int64, instants: Int64) -> Int64:
    """Position of the first row with a time > each instant; -1 where there is none."""
    return _none_at_end(_count_until(times, instants, inclusive=True), len(times))


def nearest_after(times: Int64, instants: Int64, starts: Int64) -> Int64:
    """Position of the row nearest to each instant among those later than `starts`; of two as near, the earlier.

    Parameters
    ----------
    times : ndarray of int64, shape (m,)
    instants, starts : ndarray of int64, shape (n,)
        ``starts < instants``: the row at which one stands is no answer to where the price goes.

    Returns
    -------
    ndarray of int64, shape (n,)
        -1 where no row is later than the start.
    """
    after = first_at_or_after(times, instants)
    before = last_at_or_before(times, instants)
    before[(before >= 0) & (times[before] <= starts)] = -1
    late = np.where(after >= 0, times[after] - instants, np.iinfo(np.int64).max) if len(times) else after
    early = np.where(before >= 0, instants - times[before], np.iinfo(np.int64).max) if len(times) else before
    return np.where((before >= 0) & ((early <= late) | (after < 0)), before, after)


def rows_at(values: npt.NDArray[Scalar], positions: Int64) -> npt.NDArray[Scalar]:
    """The values at `positions`; where that is -1 any value, for the caller to mask."""
    return values[np.maximum(positions, 0)] if len(values) else np.zeros(len(positions), values.dtype)


def _none_at_end(positions: Int64, n: int) -> Int64:
    positions[positions == n] = -1
    return positions


def _count_until(times: Int64, instants: Int64, *, inclusive: bool) -> Int64:
    """How many rows lie before each instant, or at it with `inclusive`."""
    times = np.ascontiguousarray(times, dtype=np.int64)
    instants = np.ascontiguousarray(instants, dtype=np.int64)
    if len(times) > SPARSE * len(instants) or not _is_sorted(instants):
        found = np.searchsorted(times, instants, side="right" if inclusive else "left")
        return np.asarray(found, dtype=np.int64)
    return np.asarray(_walk(times, instants, inclusive))


@njit(cache=True)
def _is_sorted(values: Int64) -> bool:
    for i in range(1, len(values)):  # noqa: SIM110 - compiled; stops at the first that is not
        if values[i] < values[i - 1]:
            return False
    return True


@njit(cache=True)
def _walk(times: Int64, instants: Int64, inclusive: bool) -> Int64:
    counts = np.empty(len(instants), np.int64)
    at = 0
    for i in range(len(instants)):
        limit = instants[i] + 1 if inclusive else instants[i]
        while at < len(times) and times[at] < limit:
            at += 1
        counts[i] = at
    return counts
