"""Numbers out of a venue's messages: strings in, checked float64 out.

Every function raises ValueError, TypeError or KeyError for what does not fit; the parsers turn these into a
`MessageError` or `ResponseError` that quotes the message.
"""

from __future__ import annotations

import math
from itertools import chain
from typing import Any

import numpy as np

from earmark.orderbook.events import Candle, Levels

__all__ = ["FIELD_ERRORS", "check_candle", "levels", "non_negative", "positive"]

FIELD_ERRORS = (KeyError, IndexError, TypeError, ValueError, OverflowError, AttributeError)
"""What reading a field of a malformed message may raise."""


def levels(rows: Any) -> Levels:
    """``[["price", "quantity"], ...]`` as an array of shape (n, 2), finite, prices > 0, quantities >= 0."""
    if not isinstance(rows, list) or not set(map(len, rows)) <= {2}:
        raise ValueError("levels are pairs of price and quantity")
    flat = np.fromiter(map(float, chain.from_iterable(rows)), np.float64, 2 * len(rows)).reshape(-1, 2)
    if len(rows) and not (np.isfinite(flat).all() and flat[:, 0].min() > 0 and flat[:, 1].min() >= 0):
        raise ValueError("a level has a price that is not above 0 or a quantity below 0")
    return flat


def positive(text: Any) -> float:
    """A finite number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(f"{text!r} is not above 0")
    return value


def non_negative(text: Any) -> float:
    """A finite number, 0 or above."""
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(f"{text!r} is below 0 or not finite")
    return value


def check_candle(candle: Candle) -> Candle:
    """`candle` if low <= open, close <= high, and it starts on a full minute."""
    if not candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high:
        raise ValueError(f"open or close of the candle at {candle.start_ms} lies outside its low and high")
    if candle.start_ms % 60_000:
        raise ValueError(f"the candle at {candle.start_ms} does not start on a minute")
    return candle
