"""A recording of the synthetic market, for checks where nothing was collected.

Messages arrive 40 to 900 ms after they happen and some trades after their tick was closed, as they do live: what had
not arrived must be as invisible as what had not happened.
"""

from __future__ import annotations

import random

import numpy as np

from earmark.orderbook.events import BestQuote, Candle, Levels, Trade
from earmark.orderbook.state import FEATURE_LEVELS, GRACE_MS, STEP_MS, BookState
from earmark.tasks.market.lookahead import Recording
from earmark.tasks.market.simulator.market import CandleRow, Fill, MarketParameters, SyntheticMarket

__all__ = ["generated_recording"]

START_MS = 1_750_000_020_000
NS_PER_MS = 1_000_000
_LATE = 0.1
"""Share of trades that arrive after their tick was closed."""


def generated_recording(n_ticks: int = 400, *, symbol: str = "BTCUSDT", seed: int = 42) -> Recording:
    """Ticks of a synthetic market with its trades, candles and price track; the same seed gives the same rows."""
    market = SyntheticMarket(
        symbol, seed, START_MS, MarketParameters(step_ms=500, levels=FEATURE_LEVELS + 10)
    )
    session = _Session(market, random.Random(f"{seed}:arrival"))
    while len(session.states) < n_ticks:
        session.advance()
    return Recording(symbol, session.states, session.trades, session.candles, session.quotes)


class _Session:
    """What a collector would have written down of the market."""

    def __init__(self, market: SyntheticMarket, arrival: random.Random) -> None:
        self.market, self.arrival = market, arrival
        self.price, self.quantity = 10.0**-market.price_decimals, 10.0**-market.quantity_decimals
        self.states: list[BookState] = []
        self.trades: list[Trade] = []
        self.quotes: list[BestQuote] = []
        self.candles = [self._candle(row, START_MS * NS_PER_MS, True) for row in market.candles]
        self._updates = 0

    def advance(self) -> None:
        """One step of the market."""
        step = self.market.step()
        self._updates += 1
        received = self._received(step.time_ms)
        if step.closed is not None:
            self.candles.append(self._candle(step.closed, received, True))
        self.candles.append(self._candle(self.market.forming, received, False))
        self.trades += [self._trade(fill) for fill in step.fills]
        self.quotes.append(self._quote(step.time_ms, received))
        if step.time_ms % STEP_MS == 0:
            self._tick(step.time_ms)

    def _tick(self, time_ms: int) -> None:
        closed = (time_ms + GRACE_MS) * NS_PER_MS
        bids, asks = (self._side(side) for side in (True, False))
        follows_gap = self.arrival.random() < 0.01
        self.states.append(BookState(time_ms, closed, bids, asks, time_ms, self._updates, follows_gap))
        self._updates = 0

    def _side(self, is_bid: bool) -> Levels:
        book = self.market.bids if is_bid else self.market.asks
        best = sorted(book.items(), reverse=is_bid)[:FEATURE_LEVELS]
        return np.array(best, dtype=np.float64) * [self.price, self.quantity]

    def _received(self, time_ms: int, *, late: bool = False) -> int:
        return (time_ms + self.arrival.randint(40, 900) + late * 2 * STEP_MS) * NS_PER_MS

    def _trade(self, fill: Fill) -> Trade:
        received = self._received(fill.time_ms, late=self.arrival.random() < _LATE)
        return Trade(
            self.market.symbol,
            fill.time_ms,
            fill.tick * self.price,
            fill.lots * self.quantity,
            fill.is_buy,
            str(fill.number),
            received,
            fill.tick_direction,
        )

    def _quote(self, time_ms: int, received_ns: int) -> BestQuote:
        bid, ask = self.market.touch
        sizes = self.market.bids[bid] * self.quantity, self.market.asks[ask] * self.quantity
        return BestQuote(
            self.market.symbol, time_ms, bid * self.price, sizes[0], ask * self.price, sizes[1], received_ns
        )

    def _candle(self, row: CandleRow, received_ns: int, is_closed: bool) -> Candle:
        first, high, low, last = (value * self.price for value in (row.open, row.high, row.low, row.close))
        volume, turnover = row.volume * self.quantity, row.turnover * self.price * self.quantity
        symbol, start = self.market.symbol, row.start_ms
        return Candle(symbol, start, first, high, low, last, volume, turnover, is_closed, received_ns)
