"""The trade window, its statistics, and flow at the best prices."""

from __future__ import annotations

import math
import random as python_random
from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.orderbook.catalog import TRADE_WINDOWS_S, V2_NAMES
from earmark.orderbook.events import BestQuote, Trade
from earmark.orderbook.quote_flow import QuoteFlow, contributions
from earmark.orderbook.trade_window import RING, TradeWindow, trade_statistics

NOW = 1_700_000_100_000


def trade(
    age_ms: int, quantity: float = 1.0, price: float = 100.0, is_buy: bool | None = True, **rest: object
) -> Trade:
    return Trade(
        "X", NOW - age_ms, price, quantity, is_buy, rest.pop("trade_id", f"{age_ms}"), NOW * 10**6, **rest
    )


def filled(*trades: Trade, since_ms: int = 600_000) -> TradeWindow:
    window = TradeWindow()
    window.restart(NOW - since_ms)
    for one in trades:
        window.add(one)
    window.trim(NOW)
    return window


def statistics(window: TradeWindow, mid: float = 100.0, depth: float = 1.0) -> dict[str, float]:
    names = [name for name in V2_NAMES if name.startswith("trades_")]
    return dict(zip(names, trade_statistics(window, NOW, mid, depth), strict=True))


def test_statistics_by_hand() -> None:
    row = statistics(
        filled(
            trade(60_000, 50.0),
            trade(59_999, 2.0, 101.0),
            trade(9_000, 3.0, 99.0, is_buy=False, is_block=True),
            trade(0, 7.0, 100.0, is_buy=None),
        ),
        depth=2.0,
    )
    assert [row[f"trades_count_{w}s"] for w in TRADE_WINDOWS_S] == [2, 2, 3, 4]
    assert row["trades_rate_60s"] == 3 / 60
    assert row["trades_buy_volume_60s"] == pytest.approx(math.log1p(2 / 2))
    assert row["trades_sell_volume_60s"] == pytest.approx(math.log1p(3 / 2))
    assert row["trades_buy_sell_ratio_60s"] == pytest.approx(2 / 3)
    assert row["trades_mean_size_60s"] == pytest.approx(math.log1p(4 / 2))
    assert row["trades_median_size_60s"] == pytest.approx(math.log1p(3 / 2))
    assert row["trades_max_size_60s"] == pytest.approx(math.log1p(7 / 2))
    assert (row["trades_block_count_60s"], row["trades_block_volume_60s"]) == (
        1,
        pytest.approx(math.log1p(3 / 2)),
    )
    assert row["trades_vwap_60s"] == pytest.approx(((2 * 101 + 3 * 99 + 7 * 100) / 12 / 100 - 1) * 1e4)
    assert statistics(filled(trade(1)))["trades_buy_sell_ratio_10s"] == 10


def test_toxicity_is_the_correlation_of_flow_and_moves() -> None:
    informed = [trade(10_000 * k + 5_000, 1.0, 100 + (k % 2), is_buy=k % 2 == 1) for k in range(30)]
    assert statistics(filled(*informed))["trades_toxicity_300s"] == pytest.approx(1)
    against = [replace(one, is_buy=not one.is_buy) for one in informed]
    assert statistics(filled(*against))["trades_toxicity_300s"] == pytest.approx(-1)
    assert statistics(filled(trade(5_000)))["trades_toxicity_300s"] == 0


def test_a_quiet_window_is_known_and_a_missing_feed_is_not() -> None:
    row = statistics(filled(trade(200_000)))
    assert (row["trades_count_60s"], row["trades_rate_60s"], row["trades_vwap_60s"]) == (0, 0, 0)
    assert all(np.isnan(list(statistics(filled()).values())))
    assert all(np.isnan(list(statistics(filled(trade(600_000), since_ms=900_000)).values())))
    short = statistics(filled(trade(5_000), since_ms=45_000))
    assert [math.isnan(short[f"trades_count_{w}s"]) for w in TRADE_WINDOWS_S] == [False, False, True, True]


def test_trades_of_before_a_gap_are_forgotten() -> None:
    window = filled(trade(50_000), trade(10_000))
    window.restart(NOW - 20_000)
    assert not window.add(trade(30_000))
    assert window.add(trade(15_000))
    assert [one.time_ms for one in window.since(NOW, 60)] == [NOW - 15_000, NOW - 10_000]
    assert math.isnan(window.rate(NOW, 60))
    assert window.rate(NOW, 10) == 0


def test_a_burst_that_fills_the_ring_has_the_rate_of_what_is_kept() -> None:
    window = filled(*(trade(age, trade_id=str(age)) for age in range(2 * RING, 0, -1)))
    assert len(window.since(NOW, 600)) == RING
    assert window.rate(NOW, 60) == pytest.approx(1000, rel=1e-3)
    assert window.rate(NOW, 1) == pytest.approx(1000, rel=2e-3)


@settings(max_examples=40, deadline=None)
@given(
    ages=st.lists(st.integers(0, 700_000), max_size=80),
    cuts=st.lists(st.integers(0, 700_000), max_size=4),
    seed=st.integers(0, 99),
)
def test_the_window_does_not_depend_on_the_order_of_arrival(
    ages: list[int], cuts: list[int], seed: int
) -> None:
    trades = [trade(age, trade_id=str(number % 50)) for number, age in enumerate(ages)]
    trades = [replace(one, time_ms=trades[int(one.trade_id)].time_ms) for one in trades]
    window = TradeWindow()
    window.restart(NOW - 650_000)
    shuffled = list(trades)
    python_random.Random(seed).shuffle(shuffled)
    for one in shuffled:
        window.add(one)
    for cut in sorted(cuts, reverse=True):
        window.trim(NOW - cut)
    window.trim(NOW)
    expected = {one.trade_id: one.time_ms for one in trades if 0 <= NOW - one.time_ms < 600_000}
    assert [one.time_ms for one in window.since(NOW, 600)] == sorted(expected.values())
    assert len(window._ids) == len(window._trades)


def quote(bid: float, bid_quantity: float, ask: float, ask_quantity: float) -> BestQuote:
    return BestQuote("X", NOW, bid, bid_quantity, ask, ask_quantity, NOW * 10**6)


def test_flow_by_hand() -> None:
    quotes = [
        quote(100, 5, 101, 7),
        quote(100, 8, 101, 7),  # three more bid
        quote(101, 2, 102, 4),  # a higher bid of two, the ask of seven gone
        quote(100, 6, 102, 4),  # the bid of two gone
        quote(100, 6, 101, 9),  # nine more offered
        quote(100, 6, 101, 9),
    ]
    assert contributions(quotes).tolist() == [3, 2 + 7, -2, -9, 0]
    flow = QuoteFlow()
    flow.push(quotes[:3])
    flow.push(quotes[3:])
    depth = (5 + 15 / 2 + 15 / 2) / 3
    assert flow.features()[0] == pytest.approx(-11 / depth)
    assert math.isnan(flow.features()[1])
    for _ in range(8):
        flow.push([])
    assert flow.features() == [
        pytest.approx(math.nan, nan_ok=True),
        pytest.approx(1 / ((12 + 15 + 6 + 10 + 15 + 15) / 12)),
    ]


def test_flow_of_steps_is_the_flow_of_all() -> None:
    random = np.random.default_rng(0)
    quotes = [quote(*row) for row in random.integers(1, 9, (60, 4)).astype(float)]
    flow = QuoteFlow()
    waiting = deque(quotes)
    for _ in range(10):
        flow.push([waiting.popleft() for _ in range(6)])
    depth = np.mean([(one.bid_quantity + one.ask_quantity) / 2 for one in quotes])
    assert flow.features()[1] == pytest.approx(contributions(quotes).sum() / depth)
