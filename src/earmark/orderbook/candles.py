"""Closed one-minute candles in order of time, whatever the order in which they arrived.

Conventions: a candle is named by its start (ms since 1970 UTC) and lasts a minute. A closed candle never changes: of
several rows the first one received stays. The window of a tick is the unbroken run of minutes up to the newest closed
candle, at most 200 of them, so a missing minute shortens it until the back-fill brings the minute.
"""

from __future__ import annotations

from bisect import insort
from math import isfinite

import numpy as np
import numpy.typing as npt

from earmark.orderbook.events import Candle

__all__ = ["CANDLE_MS", "WINDOW", "CandleSeries", "is_consistent"]

CANDLE_MS = 60_000

WINDOW = 200
"""Closed candles kept."""


def is_consistent(candle: Candle) -> bool:
    """Whether 0 < low <= open, close <= high and the volume is not negative, all finite."""
    values = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    low, high = candle.low, candle.high
    return (
        all(map(isfinite, values))
        and 0 < low <= min(candle.open, candle.close)
        and max(candle.open, candle.close) <= high
        and candle.volume >= 0
    )


class CandleSeries:
    """The newest closed candles of one symbol.

    Attributes
    ----------
    n_refused : int
        Candles that contradicted themselves.
    """

    def __init__(self) -> None:
        self.n_refused = 0
        self._closed: dict[int, Candle] = {}
        self._starts: list[int] = []
        self._window: npt.NDArray[np.float64] | None = None

    def add(self, candle: Candle) -> bool:
        """Take a closed candle; whether it changed anything.

        A candle whose minute is there, that is older than all 200 kept, that is still open or that contradicts itself
        changes nothing.
        """
        if not candle.is_closed or candle.start_ms in self._closed:
            return False
        if not is_consistent(candle):
            self.n_refused += 1
            return False
        insort(self._starts, candle.start_ms)
        self._closed[candle.start_ms] = candle
        if len(self._starts) > WINDOW:
            oldest = self._starts.pop(0)
            del self._closed[oldest]
            if oldest == candle.start_ms:
                return False
        self._window = None
        return True

    @property
    def newest_end_ms(self) -> int | None:
        """End of the newest closed candle."""
        return self._starts[-1] + CANDLE_MS if self._starts else None

    def window(self) -> npt.NDArray[np.float64]:
        """Open, high, low, close and volume of the unbroken run up to the newest candle, shape (5, n <= 200)."""
        if self._window is None:
            rows = [self._closed[start] for start in self._starts[self._run_start() :]]
            self._window = (
                np.array([(row.open, row.high, row.low, row.close, row.volume) for row in rows], np.float64)
                .reshape(-1, 5)
                .T.copy()
            )
        return self._window

    def _run_start(self) -> int:
        position = len(self._starts) - 1
        while position > 0 and self._starts[position] - self._starts[position - 1] == CANDLE_MS:
            position -= 1
        return max(position, 0)
