"""Features of the book: counted by hand on small books, and finite on degenerate ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.orderbook.engine import FeatureEngine
from earmark.orderbook.state import STEP_MS, BookState

T0 = 1_700_000_100_000


def state(
    k: int, bids: list[tuple[float, float]], asks: list[tuple[float, float]], n_updates: int = 6
) -> BookState:
    time_ms = T0 + k * STEP_MS
    sides = (np.array(side, np.float64).reshape(-1, 2) for side in (bids, asks))
    return BookState(time_ms, (time_ms + 1000) * 1_000_000, *sides, time_ms, n_updates)


def after(*states: BookState) -> dict[str, float]:
    engine = FeatureEngine("X")
    for one in states:
        engine.step(one)
    return dict(zip(FEATURE_NAMES, engine.features().tolist(), strict=True))


def test_a_small_book_by_hand() -> None:
    first = state(0, [(100, 2), (99.95, 3)], [(101, 1), (101.05, 4), (103, 5)])
    second = state(1, [(100, 5), (99.9, 3)], [(101, 1), (102, 2)], n_updates=9)
    row = after(first)
    assert row["micro_price"] == pytest.approx((100 * 1 + 101 * 2) / 3)
    assert row["imbalance_5"] == pytest.approx((5 - 10) / 15)
    assert row["price_pressure"] == pytest.approx((5 * 101 - 10 * 100) / 15, rel=1e-6)
    assert (row["volume_delta_5"], row["order_flow_imbalance"]) == (0, 0)
    assert row["bid_intensity"] == pytest.approx(2 / 2.5)
    # Five sizes 1..5: the 90th percentile is 4.6, one level reaches it.
    assert row["smart_money_index"] == pytest.approx(5 / 15)
    # 99.95 lies within 0.1 % of 100; the two asks' clusters hold five each, the nearer one counts.
    assert (row["largest_bid_cluster_price"], row["num_bid_clusters"]) == (100, 1)
    assert (row["largest_ask_cluster_price"], row["largest_ask_cluster_volume"]) == (101, 5)
    assert row["roll_spread"] == 1
    assert row["kyle_lambda"] == pytest.approx(1 / 15)
    row = after(first, second)
    assert row["volume_delta_5"] == (8 - 3) - (5 - 10)
    mid = 100.5

    def weight(price: float) -> float:
        return 1 / (1 + abs(price - mid) / mid)

    expected = 3 * weight(100) + 3 * weight(99.9) - (0 * weight(101) + 2 * weight(102))
    assert row["order_flow_imbalance"] == pytest.approx(expected, rel=1e-6)
    # 99.95 and 101.05 are gone within reach; 103 is beyond the last ask.
    assert (row["level_ttl_avg"], row["level_ttl_std"]) == (3, 0)
    assert row["update_frequency"] == pytest.approx((6 + 9) / 6)


def test_a_best_price_that_was_taken_has_vanished() -> None:
    row = after(
        state(0, [(100, 1), (99, 1)], [(101, 1)]),
        state(1, [(100, 1), (99, 1)], [(101, 1)]),
        state(2, [(99, 1)], [(101, 1)]),
        state(3, [(100, 1), (99, 1)], [(101, 1)]),
        state(4, [(99, 1)], [(101, 1)]),
    )
    assert row["level_ttl_avg"] == pytest.approx((6 + 3) / 2)
    assert row["level_ttl_std"] == pytest.approx(1.5)


def test_roll_needs_twenty_states_and_a_bounce() -> None:
    def book(k: int, mid: float) -> BookState:
        return state(k, [(mid - 1, 1)], [(mid + 1, 1)])

    bounce = [book(k, 100 + k % 2) for k in range(20)]
    assert after(*bounce[:19])["roll_spread"] == 2
    moves = np.array([1.0 if k % 2 == 0 else -1.0 for k in range(19)])
    covariance = np.cov(moves[1:], moves[:-1], ddof=0)[0, 1]
    assert after(*bounce)["roll_spread"] == pytest.approx(2 * math.sqrt(-covariance), rel=1e-6)
    assert after(*[book(k, 100 + k * k) for k in range(20)])["roll_spread"] == 0


def test_impact_skips_states_without_a_change_of_volume() -> None:
    quantities = [1, 1, 2, 2, 4, 4, 4, 3, 3, 3]
    mids = [100, 101, 103, 103, 104, 104, 104, 105, 106, 106]
    states = [
        state(k, [(mid - 1, quantity)], [(mid + 1, 1)])
        for k, (mid, quantity) in enumerate(zip(mids, quantities, strict=True))
    ]
    assert after(*states)["kyle_lambda"] == 1.0  # of 2/1, 1/2, 1/1
    still = [state(k, [(99, 1)], [(101, 1)]) for k in range(10)]
    assert after(*still)["kyle_lambda"] == 0
    assert after(*still[:9])["kyle_lambda"] == 1


def test_a_gap_clears_the_history() -> None:
    states = [state(k, [(100 + k, 1 + k)], [(102 + k, 2)]) for k in range(12)]
    fresh = [replace(states[-1], follows_gap=True)]
    assert after(*states[:-1], *fresh) == pytest.approx(after(*fresh), nan_ok=True)


def test_an_empty_book_has_the_stated_values() -> None:
    row = after(state(0, [], [], 0))
    assert row["book_depth_ratio"] == 1
    assert row["buy_sell_ratio"] == 1
    assert (row["mid_price"], row["imbalance_5"], row["num_bid_clusters"]) == (0, 0, 0)
    row = after(state(0, [(100, 4)], []))
    assert (row["mid_price"], row["micro_price"], row["resistance_level_1"]) == (100, 100, 100)
    assert row["buy_sell_ratio"] == 200
    assert row["imbalance_total"] == 1


levels = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from([1e-8, 0.001, 1.0, 3.5, 1e7])),
    max_size=60,
    unique_by=lambda x: x[0],
)
steps = st.lists(st.tuples(levels, levels, st.integers(0, 500)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(steps=steps, tick=st.sampled_from([1e-7, 0.5]))
def test_features_are_finite_on_any_book(steps: list, tick: float) -> None:
    engine = FeatureEngine("X")
    for k, (bids, asks, n_updates) in enumerate(steps):
        below = sorted(((1000 - p) * tick, q) for p, q in bids)[::-1]
        above = sorted(((1001 + p) * tick, q) for p, q in asks)
        engine.step(state(k, below, above, n_updates))
        row = engine.features()
        assert np.isfinite(np.delete(row, FEATURE_NAMES.index("trade_arrival_rate"))).all()
        assert np.isfinite(engine.features_v2()[:112][~np.isnan(row)]).all()
        assert (np.abs(row[15:18]) <= 1).all()
