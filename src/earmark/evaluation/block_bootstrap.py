"""Blocks of time as groups of the bootstrap: scores of neighbouring windows are not independent.

`earmark.evaluation.intervals` draws whole groups with replacement. Here a group is all that happened in one stretch of
time, over all symbols, since they move together: a day, or 60 intervals where the data span too few days for that [1]_.

References
----------
.. [1] Carlstein. The use of subseries values for estimating the variance of a general statistic from a stationary
   sequence. Annals of Statistics 14(3), 1986: blocks that do not overlap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import UsageError

__all__ = ["BLOCK_ROWS", "MIN_DAYS", "time_blocks"]

DAY_MS = 86_400_000
BLOCK_ROWS = 60
MIN_DAYS = 10
"""With fewer days blocks are 60 intervals: a bootstrap over a handful of groups says little."""


def time_blocks(time_ms: ArrayLike, interval_ms: int) -> NDArray[np.int64]:
    """Number of the block of each window, to be the ``groups`` of an interval.

    Parameters
    ----------
    time_ms : array of int, shape (n,)
        Times of the windows' last rows, in any order, of any number of symbols.
    interval_ms : int
        Distance of two rows of a symbol.

    Returns
    -------
    ndarray of int64, shape (n,)
        Days since 1970 (UTC) if at least `MIN_DAYS` of them occur, else stretches of `BLOCK_ROWS` intervals.
    """
    times = np.asarray(time_ms, dtype=np.int64)
    if interval_ms <= 0:
        raise UsageError(f"interval_ms is {interval_ms}; expected more than 0.")
    days = times // DAY_MS
    return days if len(np.unique(days)) >= MIN_DAYS else times // (BLOCK_ROWS * interval_ms)
