"""A seeded synthetic market: states of the book, trades, candles and quotes of one symbol, as if recorded.

Books move on a tick grid, so that levels persist between states; rows arrive late, some later than the closing of
the tick that they belong to; candles of an hour before are back-filled newest first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from earmark.orderbook.events import BestQuote, Candle, Trade
from earmark.orderbook.state import GRACE_MS, STEP_MS, BookState

START_MS = 1_700_000_100_000 // 60_000 * 60_000 + 24_000
TICK = 0.01
SYMBOL = "4USDT"


@dataclass(frozen=True)
class Session:
    """Rows in order of receipt."""

    states: list[BookState]
    trades: list[Trade]
    candles: list[Candle]
    quotes: list[BestQuote]


def make_session(
    seed: int = 0, n_states: int = 120, n_candles: int = 230, gap_at: int | None = None
) -> Session:
    """A session of `n_states` ticks after `n_candles` closed minutes."""
    random = np.random.default_rng(seed)
    end_ms = START_MS + n_states * STEP_MS
    mids = 100 + TICK * np.cumsum(random.integers(-2, 3, n_states))
    states = make_states(random, mids, gap_at)
    trades = make_trades(random, end_ms)
    candles = make_candles(random, n_candles, end_ms)
    quotes = make_quotes(random, end_ms)
    return Session(
        states, *(sorted(rows, key=lambda row: row.received_ns) for rows in (trades, candles, quotes))
    )


def make_states(random: np.random.Generator, mids: np.ndarray, gap_at: int | None) -> list[BookState]:
    """Sixty levels a side around each mid, of which some are taken away; a pause of ten ticks at `gap_at`."""
    resting = {side: np.round(random.gamma(1.0, 3.0, 40_000), 3) for side in "ba"}
    states = []
    for k, mid in enumerate(mids):
        best = round(mid / TICK)
        bids = best - 1 - np.flatnonzero(random.random(90) < 0.7)[:50]
        asks = best + 1 + np.flatnonzero(random.random(90) < 0.7)[:50]
        for side, prices in (("b", bids), ("a", asks)):
            changed = prices[random.random(len(prices)) < 0.3]
            resting[side][changed] = np.round(random.gamma(1.0, 3.0, len(changed)), 3)
        paused = 0 if gap_at is None or k < gap_at else 10
        time_ms = START_MS + (k + paused) * STEP_MS
        states.append(
            BookState(
                time_ms=time_ms,
                closed_ns=(time_ms + GRACE_MS + int(random.integers(0, 400))) * 1_000_000,
                bids=np.column_stack((bids * TICK, resting["b"][bids])),
                asks=np.column_stack((asks * TICK, resting["a"][asks])),
                event_ms=time_ms - int(random.integers(0, 90)),
                n_updates=int(random.integers(5, 31)),
                follows_gap=k == 0 or k == gap_at,
            )
        )
    return states


def received(random: np.random.Generator, time_ms: int) -> int:
    """Mostly within a tenth of a second, now and then seconds late."""
    late_ms = random.exponential(4_000) if random.random() < 0.03 else 20 + random.exponential(40)
    return int((time_ms + late_ms) * 1e6)


def make_trades(random: np.random.Generator, end_ms: int) -> list[Trade]:
    """About four a second, each tenth sent twice."""
    times = np.sort(random.integers(START_MS - 400_000, end_ms, 4 * (end_ms - START_MS + 400_000) // 1000))
    trades = []
    for number, time_ms in enumerate(times.tolist()):
        trade = Trade(
            SYMBOL,
            time_ms,
            100 + TICK * int(random.integers(-30, 31)),
            round(float(random.gamma(1.0)), 3),
            [True, False, None][int(random.choice(3, p=[0.48, 0.48, 0.04]))],
            f"t{number}",
            received(random, time_ms),
            is_block=bool(random.random() < 0.02),
        )
        trades.append(trade)
        if random.random() < 0.1:
            trades.append(replace(trade, received_ns=trade.received_ns + int(1e9)))
    return trades


def make_candles(random: np.random.Generator, n_closed: int, end_ms: int) -> list[Candle]:
    """Closed ones before the start by back-fill, newest first; from then on open ones every second, then the close."""
    first_ms = START_MS // 60_000 * 60_000 - n_closed * 60_000
    candles, close = [], 100.0
    for start_ms in range(first_ms, end_ms, 60_000):
        candle = random_candle(random, start_ms, close)
        close = candle.close
        if start_ms + 60_000 <= START_MS:
            position = (START_MS - start_ms) // 60_000
            candles.append(replace(candle, received_ns=(START_MS - 20_000) * 1_000_000 + position))
            continue
        for age_ms in range(1_000, 60_000, 1_000):
            share = age_ms / 60_000
            open_candle = replace(candle, volume=candle.volume * share, is_closed=False)
            candles.append(replace(open_candle, received_ns=received(random, start_ms + age_ms)))
        candles.append(replace(candle, received_ns=received(random, start_ms + 60_000)))
    return candles


def random_candle(random: np.random.Generator, start_ms: int, open_price: float) -> Candle:
    """A closed candle that opens near a price; one in thirty is flat, one in thirty without volume."""
    if random.random() < 1 / 30:
        low = high = open_price = close = round(open_price, 2)
    else:
        open_price = round(open_price + TICK * int(random.integers(-2, 3)), 2)
        close = round(open_price * float(np.exp(random.normal(0, 8e-4))), 2)
        high = round(max(open_price, close) + TICK * int(random.integers(0, 8)), 2)
        low = round(min(open_price, close) - TICK * int(random.integers(0, 8)), 2)
    volume = 0.0 if random.random() < 1 / 30 else round(float(random.gamma(2.0, 50.0)), 3)
    return Candle(
        SYMBOL, start_ms, open_price, high, low, close, volume, volume * close, True, start_ms * 1_000_000
    )


def make_quotes(random: np.random.Generator, end_ms: int) -> list[BestQuote]:
    """Best prices every 200 ms or so."""
    quotes, best = [], 10_000
    for time_ms in range(START_MS - 2_000, end_ms, 200):
        best += int(random.integers(-1, 2))
        bid_quantity, ask_quantity = (round(float(size), 3) for size in random.gamma(2.0, 2.0, 2))
        quotes.append(
            BestQuote(
                SYMBOL,
                time_ms,
                best * TICK,
                bid_quantity,
                (best + 1) * TICK,
                ask_quantity,
                received(random, time_ms),
            )
        )
    return quotes


def candle_window(seed: int, n: int = 200) -> np.ndarray:
    """Open, high, low, close, volume of a walk, shape (5, n)."""
    random = np.random.default_rng(seed)
    rows, close = [], 100.0
    for minute in range(n):
        candle = random_candle(random, minute * 60_000, close)
        close = candle.close
        rows.append((candle.open, candle.high, candle.low, candle.close, candle.volume))
    return np.array(rows).T.copy()
