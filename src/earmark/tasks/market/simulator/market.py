"""A market that is made up: order book, trades and candles of one symbol, the same for the same seed.

The model
---------
Time runs in steps of `step_ms`. A fair price follows a random walk whose volatility clusters (the logarithm of it is
an Ornstein-Uhlenbeck process with a time constant of five minutes) and that is pulled back to its start over six
hours, so that a long run stays within reason. A hidden signal s (Ornstein-Uhlenbeck, 30 s, unit variance) tilts the
walk: the expected return over the next 10 s is about ``signal_strength * volatility * s``. The same signal tilts the
book (quantities near the touch are multiplied by ``exp(+-imbalance_strength * s)``) and the side of takers. So
imbalance and order flow tell something of the next move and no more than `signal_strength` allows: at 0.35 the
signal itself explains about a tenth of the variance of 10-second returns.

The book is a grid of ticks, about `levels` a side; prices are counted in ticks and quantities in lots, both int.
Every step moves the touch with the fair price, requotes or cancels levels (more often near the touch) and lets takers
trade at the touch. Best bid < best ask always.
"""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass, field

__all__ = ["CandleRow", "Fill", "MarketParameters", "Step", "SyntheticMarket"]

MINUTE_MS = 60_000

_SIGNAL_S, _VOLATILITY_S, _PULL_S = 30.0, 300.0, 21_600.0
"""Time constants of the signal, of volatility and of the pull to the first price."""

_STARTING_PRICES = {"BTCUSDT": 60_000.0, "ETHUSDT": 3_000.0, "SOLUSDT": 150.0}

_MEAN_NOTIONAL = 20_000.0
"""Mean value of a level next to the touch in quote currency."""

_KEPT_TRADES, _KEPT_CANDLES = 1_000, 3_000


@dataclass(frozen=True, slots=True)
class MarketParameters:
    """What a synthetic market is like.

    Attributes
    ----------
    step_ms : int
        Distance of two book messages.
    levels : int
        Levels per side.
    volatility : float
        Standard deviation of the return over 10 s; 0.0012 gives labels at 0.1 % over 10, 30 and 60 s all classes.
    volatility_spread : float
        Standard deviation of its logarithm.
    signal_strength : float
        Expected 10-second return per unit of the hidden signal, in units of `volatility`; 0: nothing to learn.
    imbalance_strength : float
        How strongly quantities near the touch follow the signal.
    trades_per_s : float
    requotes : int
        Levels that change per step besides those that a move of the price changes.
    history_minutes : int
        Closed candles before the start.
    """

    step_ms: int = 100
    levels: int = 200
    volatility: float = 0.0012
    volatility_spread: float = 0.4
    signal_strength: float = 0.35
    imbalance_strength: float = 0.7
    trades_per_s: float = 2.0
    requotes: int = 10
    history_minutes: int = 1_000


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade; `number` counts from 1 without a hole."""

    number: int
    time_ms: int
    tick: int
    lots: int
    is_buy: bool
    tick_direction: str


@dataclass(slots=True)
class CandleRow:
    """A one-minute candle in ticks and lots; `turnover` in ticks times lots."""

    start_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    turnover: int = 0

    def add(self, fill: Fill) -> None:
        """One trade more."""
        self.high, self.low, self.close = max(self.high, fill.tick), min(self.low, fill.tick), fill.tick
        self.volume += fill.lots
        self.turnover += fill.lots * fill.tick


@dataclass(slots=True)
class Step:
    """What one step changed: tick -> lots (0: gone), trades, and a candle where a minute ended."""

    time_ms: int
    bids: dict[int, int] = field(default_factory=dict)
    asks: dict[int, int] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    closed: CandleRow | None = None


class SyntheticMarket:
    """One symbol.

    Parameters
    ----------
    symbol : str
    seed : int
    start_ms : int
        Exchange time of the book before the first step.
    parameters : MarketParameters

    Attributes
    ----------
    bids, asks : dict
        Tick -> lots: the book after the last step.
    price_decimals, quantity_decimals : int
        A tick is ``10 ** -price_decimals``, a lot ``10 ** -quantity_decimals``.
    candles : deque of CandleRow
        Closed, oldest first.
    forming : CandleRow
    fills : deque of Fill
        The newest thousand.
    """

    def __init__(self, symbol: str, seed: int, start_ms: int, parameters: MarketParameters) -> None:
        self.symbol, self.parameters, self.time_ms = symbol, parameters, start_ms
        self._random = random.Random(f"{seed}:{symbol}")
        price = _STARTING_PRICES.get(symbol) or 10 ** self._random.uniform(-1.3, 3.0)
        self.price_decimals = max(0, 4 - math.floor(math.log10(price)))
        mean_quantity = _MEAN_NOTIONAL / price
        self.quantity_decimals = max(0, 3 - math.floor(math.log10(mean_quantity)))
        self._mean_lots = mean_quantity * 10**self.quantity_decimals
        self._start = self._fair = price * 10**self.price_decimals
        self._signal = self._log_volatility = 0.0
        self.n_fills, self.fills = 0, deque[Fill](maxlen=_KEPT_TRADES)
        self._last_tick, self._last_direction = round(self._start), "PlusTick"
        self.candles = deque(self._history(), maxlen=max(_KEPT_CANDLES, parameters.history_minutes))
        self.forming = self._next_candle(start_ms)
        self._bid, self._ask = self._touch()
        self.bids = {tick: self._draw_lots(self._bid - tick, 1) for tick in self._bid_range(self._bid)}
        self.asks = {tick: self._draw_lots(tick - self._ask, -1) for tick in self._ask_range(self._ask)}

    def step(self) -> Step:
        """Advance by `step_ms`."""
        self.time_ms += self.parameters.step_ms
        step = Step(self.time_ms)
        self._drift()
        self._move(step)
        self._requote(step)
        if self.time_ms // MINUTE_MS * MINUTE_MS > self.forming.start_ms:
            step.closed = self.forming
            self.candles.append(self.forming)
            self.forming = self._next_candle(self.time_ms)
        self._trade(step)
        return step

    @property
    def signal(self) -> float:
        """The hidden signal, for tests of the market itself."""
        return self._signal

    @property
    def touch(self) -> tuple[int, int]:
        """Best bid and best ask in ticks."""
        return self._bid, self._ask

    def _drift(self) -> None:
        given, draw = self.parameters, self._random.gauss
        step_s = given.step_ms / 1_000
        self._signal += -self._signal * step_s / _SIGNAL_S + math.sqrt(2 * step_s / _SIGNAL_S) * draw(0, 1)
        self._log_volatility += (
            -self._log_volatility * step_s / _VOLATILITY_S
            + given.volatility_spread * math.sqrt(2 * step_s / _VOLATILITY_S) * draw(0, 1)
        )
        volatility = given.volatility * math.exp(self._log_volatility - given.volatility_spread**2)
        tilt = given.signal_strength * volatility * self._signal * step_s / 10
        pull = math.log(self._start / self._fair) * step_s / _PULL_S
        self._fair *= math.exp(tilt + pull + volatility * math.sqrt(step_s / 10) * draw(0, 1))

    def _touch(self) -> tuple[int, int]:
        """Best bid and ask around the fair price: one tick apart, now and then more."""
        spread = 1 + min(4, int(self._random.expovariate(1.5)))
        bid = max(self.parameters.levels + 1, math.floor(self._fair - (spread - 1) / 2))
        return bid, bid + spread

    def _move(self, step: Step) -> None:
        """Shift both sides to the new touch: what it has passed goes, what it has opened is quoted."""
        old_bid, old_ask = self._bid, self._ask
        self._bid, self._ask = self._touch()
        _reframe(self.bids, step.bids, self._bid_range(old_bid), self._bid_range(self._bid))
        _reframe(self.asks, step.asks, self._ask_range(old_ask), self._ask_range(self._ask))
        for tick in _opened(self._bid_range(old_bid), self._bid_range(self._bid)):
            self.bids[tick] = step.bids[tick] = self._draw_lots(self._bid - tick, 1)
        for tick in _opened(self._ask_range(old_ask), self._ask_range(self._ask)):
            self.asks[tick] = step.asks[tick] = self._draw_lots(tick - self._ask, -1)

    def _requote(self, step: Step) -> None:
        draw, last = self._random, self.parameters.levels - 1
        for _ in range(self.parameters.requotes):
            depth = min(last, int(draw.expovariate(0.1)))
            is_bid = draw.random() < 0.5
            lots = 0 if depth and draw.random() < 0.1 else self._draw_lots(depth, 1 if is_bid else -1)
            if is_bid:
                _set(self.bids, step.bids, self._bid - depth, lots)
            else:
                _set(self.asks, step.asks, self._ask + depth, lots)
        _set(self.bids, step.bids, self._bid, self._draw_lots(0, 1))
        _set(self.asks, step.asks, self._ask, self._draw_lots(0, -1))

    def _trade(self, step: Step) -> None:
        draw = self._random
        rate = self.parameters.trades_per_s * self.parameters.step_ms / 1_000 * math.exp(self._log_volatility)
        reached = draw.expovariate(1.0)
        while reached < rate:
            reached += draw.expovariate(1.0)
            is_buy = draw.random() < 1 / (1 + math.exp(-self._signal))
            self._fill(step, is_buy, 1 + int(0.2 * self._mean_lots * draw.lognormvariate(0, 1)))

    def _fill(self, step: Step, is_buy: bool, wanted: int) -> None:
        """A taker meets the best level, which keeps at least one lot."""
        book, changes, tick = (
            (self.asks, step.asks, self._ask) if is_buy else (self.bids, step.bids, self._bid)
        )
        lots = min(wanted, book[tick] - 1)
        if lots < 1:
            return
        _set(book, changes, tick, book[tick] - lots)
        self.n_fills += 1
        fill = Fill(self.n_fills, step.time_ms, tick, lots, is_buy, self._direction(tick))
        self.fills.append(fill)
        self.forming.add(fill)
        step.fills.append(fill)

    def _direction(self, tick: int) -> str:
        """`L` of the venue: against the trade before, where equal with the direction before it."""
        if tick != self._last_tick:
            self._last_direction = "PlusTick" if tick > self._last_tick else "MinusTick"
            self._last_tick = tick
            return self._last_direction
        return "Zero" + self._last_direction

    def _draw_lots(self, depth: int, side: int) -> int:
        tilt = side * self.parameters.imbalance_strength * self._signal * math.exp(-depth / 20)
        size = self._random.lognormvariate(-0.3, 0.8) * (0.5 + min(depth, 40) / 40)
        return 1 + int(self._mean_lots * size * math.exp(max(-3.0, min(3.0, tilt))))

    def _bid_range(self, best: int) -> range:
        return range(best - self.parameters.levels + 1, best + 1)

    def _ask_range(self, best: int) -> range:
        return range(best, best + self.parameters.levels)

    def _next_candle(self, time_ms: int) -> CandleRow:
        close = self.candles[-1].close if self.candles else round(self._start)
        return CandleRow(time_ms // MINUTE_MS * MINUTE_MS, close, close, close, close)

    def _history(self) -> list[CandleRow]:
        """Candles that end at the first price: a walk of a minute's volatility, drawn backwards."""
        draw, sigma = self._random, self.parameters.volatility * math.sqrt(6)
        first_ms = self.time_ms // MINUTE_MS * MINUTE_MS
        rows: list[CandleRow] = []
        close = round(self._start)
        for back in range(1, self.parameters.history_minutes + 1):
            opened = max(1, round(close * math.exp(sigma * draw.gauss(0, 1))))
            high = max(opened, close) + int(close * sigma * draw.expovariate(2))
            low = max(1, min(opened, close) - int(close * sigma * draw.expovariate(2)))
            volume = 1 + int(
                60 * self.parameters.trades_per_s * 0.3 * self._mean_lots * draw.lognormvariate(0, 0.3)
            )
            rows.append(
                CandleRow(
                    first_ms - back * MINUTE_MS, opened, high, low, close, volume, volume * (high + low) // 2
                )
            )
            close = opened
        return rows[::-1]


def _set(book: dict[int, int], changes: dict[int, int], tick: int, lots: int) -> None:
    """Put a level, or take it away; a level that was not there leaves no change."""
    if lots:
        book[tick] = changes[tick] = lots
    elif book.pop(tick, None) is not None:
        changes[tick] = 0


def _reframe(book: dict[int, int], changes: dict[int, int], old: range, new: range) -> None:
    """Take away the levels of `old` that `new` leaves."""
    for tick in _opened(new, old):
        if book.pop(tick, None) is not None:
            changes[tick] = 0


def _opened(old: range, new: range) -> list[int]:
    """Ticks of `new` that are not in `old`; both of one length."""
    return [*range(new.start, min(new.stop, old.start)), *range(max(new.start, old.stop), new.stop)]
