"""Order-flow imbalance at the best prices.

A change of the best quote contributes what it adds to the bid, or takes from it, less the same for the ask; the sum
over a span explains the move of the price nearly linearly. It is given relative to the mean quantity at the best
prices in the span, and thereby without a unit.

References
----------
Cont, Kukanov, Stoikov (2014), The price impact of order book events, equation (4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import nan

import numpy as np
import numpy.typing as npt

from earmark.orderbook.events import BestQuote

__all__ = ["FLOW_STEPS", "QuoteFlow", "contributions", "flow_contributions"]

FLOW_STEPS = (1, 10)
"""Spans in steps of the feature clock."""


def contributions(quotes: Sequence[BestQuote]) -> npt.NDArray[np.float64]:
    """What each quote but the first contributes, shape (n - 1,): positive where buyers press."""
    rows = [(quote.bid, quote.bid_quantity, quote.ask, quote.ask_quantity) for quote in quotes]
    return flow_contributions(*np.array(rows, np.float64).T)


def flow_contributions(
    bid: npt.NDArray[np.float64],
    bid_quantity: npt.NDArray[np.float64],
    ask: npt.NDArray[np.float64],
    ask_quantity: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The same of columns, each of shape (n,)."""
    bought = (bid[1:] >= bid[:-1]) * bid_quantity[1:] - (bid[1:] <= bid[:-1]) * bid_quantity[:-1]
    sold = (ask[1:] <= ask[:-1]) * ask_quantity[1:] - (ask[1:] >= ask[:-1]) * ask_quantity[:-1]
    return np.asarray(bought - sold)


class QuoteFlow:
    """Flow of one symbol over the last steps; a new one begins after a gap."""

    def __init__(self) -> None:
        self._last: BestQuote | None = None
        self._steps: deque[tuple[float, float, int]] = deque(maxlen=max(FLOW_STEPS))

    def push(self, quotes: Sequence[BestQuote]) -> None:
        """Take the quotes of one step, in order of time."""
        known = [*([] if self._last is None else [self._last]), *quotes]
        flow = float(contributions(known).sum()) if len(known) > 1 else 0.0
        depth = float(sum((quote.bid_quantity + quote.ask_quantity) / 2 for quote in quotes))
        self._steps.append((flow, depth, len(quotes)))
        self._last = known[-1] if known else None

    def features(self) -> list[float]:
        """Imbalance per span; NaN while the history is shorter than the span or holds no quote."""
        steps = list(self._steps)
        return [relative_flow(steps[-n:]) if len(steps) >= n else nan for n in FLOW_STEPS]


def relative_flow(steps: Sequence[tuple[float, float, int]]) -> float:
    """Summed flow over the mean quantity at the best prices."""
    flow, depth, n = (sum(column) for column in zip(*steps, strict=True))
    if n == 0:
        return nan
    return flow / (depth / n) if depth > 0 else 0.0
