"""The synthetic market: valid, repeatable, and as predictable as it says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from earmark.errors import UsageError
from earmark.tasks.market.simulator.channel import BookChannel
from earmark.tasks.market.simulator.dialect import decimal_text, scaled_text
from earmark.tasks.market.simulator.faults import Fault, FaultPlan
from earmark.tasks.market.simulator.ledger import NumberRanges
from earmark.tasks.market.simulator.market import MarketParameters, SyntheticMarket

START_MS = 1_700_000_000_000


def _market(seed: int = 1, **parameters) -> SyntheticMarket:
    return SyntheticMarket("BTCUSDT", seed, START_MS, MarketParameters(**parameters))


def test_steps_tell_all_that_changed_and_never_cross():
    market = _market()
    bids, asks, number, last = dict(market.bids), dict(market.asks), 0, market.forming
    for _ in range(1_500):
        step = market.step()
        for side, changes in ((bids, step.bids), (asks, step.asks)):
            side.update(changes)
            for tick in [tick for tick, lots in changes.items() if not lots]:
                del side[tick]
        assert (bids, asks) == (market.bids, market.asks)
        assert max(bids) < min(asks) and (max(bids), min(asks)) == market.touch
        assert [fill.number for fill in step.fills] == list(range(number + 1, number + 1 + len(step.fills)))
        number += len(step.fills)
        if step.closed is not None:
            assert step.closed is last and market.forming.start_ms == last.start_ms + 60_000
            assert market.forming.open == last.close
            last = market.forming
    assert len(bids) > 150 and number > 100


def test_the_same_seed_gives_the_same_market_and_another_does_not():
    walks = [[_step_of(market) for _ in range(50)] for market in (_market(3), _market(3), _market(4))]
    assert walks[0] == walks[1] != walks[2]


def _step_of(market: SyntheticMarket) -> tuple[object, ...]:
    step = market.step()
    return step.bids, step.asks, step.fills


def test_history_is_gapless_and_valid():
    rows = list(_market(history_minutes=300).candles)
    assert len(rows) == 300 and np.all(np.diff([row.start_ms for row in rows]) == 60_000)
    assert all(row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high for row in rows)
    assert all(one.close == two.open for one, two in pairwise(rows))


@pytest.mark.parametrize("strength", [0.0, 0.8])
def test_imbalance_predicts_the_next_move_as_strongly_as_asked(strength):
    correlations, shares = [], []
    for seed in range(3):
        market = _market(seed, levels=20, signal_strength=strength, history_minutes=60)
        rows = np.array([_mid_and_imbalance(market) for _ in range(6_000)])
        returns = rows[100:, 0] / rows[:-100, 0] - 1
        correlations.append(np.corrcoef(returns, rows[:-100, 1])[0, 1])
        shares.append([np.mean(returns < -0.001), np.mean(returns > 0.001)])
    assert np.mean(correlations) > 0.3 if strength else abs(np.mean(correlations)) < 0.15
    assert 0.05 < np.mean(shares) < 0.45  # of 10-second labels, each side


def _mid_and_imbalance(market: SyntheticMarket) -> tuple[float, float]:
    market.step()
    bid, ask = market.touch
    bids = sum(market.bids.get(bid - level, 0) for level in range(5))
    asks = sum(market.asks.get(ask + level, 0) for level in range(5))
    return (bid + ask) / 2, (bids - asks) / (bids + asks)


@pytest.mark.parametrize("depth", [1, 50, 200])
def test_a_channel_of_any_depth_rebuilds_its_levels(depth):
    market = _market()
    channel = BookChannel(market, depth, 100)
    first = channel.snapshot()
    bids, asks, update_id = dict(first.bids), dict(first.asks), first.update_id
    for _ in range(300):
        for message in channel.advance(market.step()).messages:
            assert message.update_id == update_id + 1
            update_id = message.update_id
            for side, changes in ((bids, message.bids), (asks, message.asks)):
                side.update(changes)
                for tick in [tick for tick, lots in changes.items() if not lots]:
                    del side[tick]
    assert bids == {tick: market.bids[tick] for tick in sorted(market.bids, reverse=True)[:depth]}
    assert asks == {tick: market.asks[tick] for tick in sorted(market.asks)[:depth]}


def test_faults_are_read_and_come_in_order():
    assert Fault.parse("stall@60+15.5:4USDT") == Fault(60.0, "stall", "4USDT", 15.5)
    assert Fault.parse("drop@1=3").value == 3
    plan = FaultPlan.parse("close@9, drop@2:BTCUSDT,random:7", ["BTCUSDT"])
    times = [fault.at_s for fault in plan.due(1_000)]
    assert times == sorted(times) and {2.0, 9.0} < set(times) and len(times) > 8
    assert list(plan.due(1_000)) == []
    for text in ("dropp@1", "drop", "drop@x", "random:x"):
        with pytest.raises(UsageError, match=text.partition("@")[0]):
            FaultPlan.parse(text, ["BTCUSDT"])


def test_number_ranges_and_exact_text():
    ranges = NumberRanges()
    for number in (5, 6, 1, 3, 2, 6, 9, 8):
        ranges.add(number)
    assert ranges.to_list() == [[1, 3], [5, 6], [8, 9]]
    assert [scaled_text(7, 3), scaled_text(12345, 3), scaled_text(5, 0)] == ["0.007", "12.345", "5"]
    assert [decimal_text(1e-6), decimal_text(60000.0), decimal_text(0.1)] == ["0.000001", "60000", "0.1"]
