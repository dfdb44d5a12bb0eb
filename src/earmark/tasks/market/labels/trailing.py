"""Statistics over the rows up to each row, never after it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["day_median", "trailing_sigma"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

DAY_MS = 86_400_000


@njit(cache=True)
def trailing_sigma(price: Float64, segment: Int64, window: int) -> Float64:
    """Standard deviation (ddof 0) of the last `window` one-row returns of a segment, shape (n,).

    NaN where fewer than two returns are there; a row without a price starts anew.
    """
    sigma = np.full(len(price), np.nan)
    ring = np.empty(window)
    count = 0
    for i in range(len(price)):
        known = i > 0 and segment[i] == segment[i - 1] and price[i] > 0 and price[i - 1] > 0
        if not known:
            count = 0
            continue
        ring[count % window] = price[i] / price[i - 1] - 1
        count += 1
        if count >= 2:
            sigma[i] = np.std(ring[: min(count, window)])
    return sigma


def day_median(time_ms: Int64, values: Float64) -> Float64:
    """Median of `values` over the 24 hours up to and with each row, shape (n,); NaN where all are NaN."""
    import polars as pl

    frame = pl.DataFrame({"time": time_ms, "value": values}).with_columns(pl.col("value").fill_nan(None))
    rolled = frame.select(pl.col("value").rolling_median_by("time", window_size=f"{DAY_MS}i", closed="right"))
    return rolled["value"].cast(pl.Float64).fill_null(np.nan).to_numpy()
