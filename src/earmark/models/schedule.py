"""Learning rates by epoch.

References: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017.
"""

from __future__ import annotations

import math

__all__ = ["cosine_rate"]


def cosine_rate(epoch: int, *, rate: float, floor: float, period: int, factor: int) -> float:
    """Rate of an epoch, from 0: half a cosine from `rate` to `floor` over `period` epochs, then again over `factor`
    times as many, and so on.
    """
    while epoch >= period:
        epoch, period = epoch - period, period * factor
    return floor + (rate - floor) * (1 + math.cos(math.pi * epoch / period)) / 2
