"""Pipelines: the book at a tick, late updates, gaps, the price track; records that come back bit for bit."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.orderbook.book import Applied
from earmark.orderbook.events import BookUpdate, Candle, Trade
from earmark.tasks.market.collect.feature_clock import FeatureClock, adaptive_loops
from earmark.tasks.market.collect.pipeline import Sample, SymbolPipeline
from earmark.tasks.market.collect.records import decode_event, decode_tick, encode_event, encode_tick
from earmark.tasks.market.collect.replay import new_engine
from earmark.tasks.market.collect.samples import (
    FOLLOWS_GAP,
    LATE_UPDATES,
    decode_sample,
    encode_sample,
    sample_table,
)

T0 = 1_700_000_001_000 // 3000 * 3000


def update(update_id, event_ms, bid=100.0, ask=101.0, *, snapshot=False, quantity=1.0):
    return BookUpdate(
        "BTCUSDT",
        snapshot,
        np.array([[bid, quantity]]),
        np.array([[ask, quantity]]),
        update_id,
        update_id,
        event_ms,
        event_ms + 3,
        (event_ms + 20) * 1_000_000,
    )


def trade(number, time_ms=T0):
    return Trade("BTCUSDT", time_ms, 100.5, 1.0, True, f"t{number}", time_ms * 1_000_000)


def candle(start_ms, *, closed=True, low=1.0):
    return Candle("BTCUSDT", start_ms, 2.0, 4.0, low, 3.0, 1.0, 3.0, closed, start_ms * 1_000_000)


def close(pipeline, tick):
    pipeline.close_tick(tick, (tick + 1000) * 1_000_000, is_sample=False)
    return pipeline.rows.book_steps[-1] if pipeline.rows.book_steps else None


def test_the_book_at_a_tick_holds_no_later_update_though_it_had_arrived():
    pipeline = SymbolPipeline("BTCUSDT")
    pipeline.push(update(1, T0 + 100, snapshot=True))
    pipeline.push(update(2, T0 + 3000, quantity=2.0))  # at the tick: part of it
    pipeline.push(update(3, T0 + 3001, quantity=3.0))
    state = close(pipeline, T0 + 3000)
    assert (state.bids[0, 1], state.event_ms, state.n_updates) == (2.0, T0 + 3000, 2)
    assert close(pipeline, T0 + 6000).bids[0, 1] == 3.0


def test_a_late_update_counts_for_the_next_tick():
    pipeline = SymbolPipeline("BTCUSDT")
    pipeline.push(update(1, T0 + 100, snapshot=True))
    assert close(pipeline, T0 + 3000).n_late == 0
    pipeline.push(update(2, T0 + 2999, quantity=2.0))
    state = close(pipeline, T0 + 6000)
    assert (state.n_late, state.n_updates, state.bids[0, 1]) == (1, 1, 2.0)


def test_a_gap_leaves_no_row_and_marks_the_next():
    pipeline = SymbolPipeline("BTCUSDT")
    pipeline.push(update(1, T0 + 100, snapshot=True))
    assert close(pipeline, T0 + 3000).follows_gap  # nothing is known of what was before the start
    assert not close(pipeline, T0 + 6000).follows_gap
    assert pipeline.push(update(4, T0 + 6100)) is Applied.GAP
    close(pipeline, T0 + 9000)
    assert len(pipeline.rows.book_steps) == 2
    pipeline.push(update(9, T0 + 9500, snapshot=True))
    assert close(pipeline, T0 + 12_000).follows_gap
    assert pipeline.push(update(1, T0 + 12_500, snapshot=True)) is Applied.SNAPSHOT  # the service restarted
    assert close(pipeline, T0 + 15_000).follows_gap
    assert pipeline.push(update(2, T0 + 15_100, bid=102.0)) is Applied.CROSSED
    assert pipeline.counts["gaps"] == 3


def test_a_sample_that_is_not_taken_says_why():
    pipeline = SymbolPipeline("BTCUSDT")
    assert pipeline.close_tick(T0, T0 * 1_000_000, is_sample=True) is None
    assert pipeline.skipped == {"no_book": 1}


def test_a_silent_book_has_one_sample_though_ticks_are_close():
    """Two samples of one book would have one key, and the store would keep the first without a word."""
    pipeline = SymbolPipeline("BTCUSDT", engine=new_engine("BTCUSDT"))
    minute = T0 // 60_000 * 60_000
    for age in range(70, 0, -1):
        pipeline.push(candle(minute - 60_000 * age))
    pipeline.push(update(1, T0 + 100, snapshot=True))
    ticks = [T0 + 3000 * number for number in range(1, 6)]
    taken = [pipeline.close_tick(t, (t + 1000) * 1_000_000, is_sample=True) for t in ticks[:3]]
    pipeline.push(update(2, ticks[2] + 50, quantity=2.0))
    taken += [pipeline.close_tick(t, (t + 1000) * 1_000_000, is_sample=True) for t in ticks[3:]]
    assert [sample and sample.book_ms for sample in taken] == [T0 + 100, None, None, ticks[2] + 50, None]
    assert pipeline.skipped == {"same_book": 3}
    assert [state.time_ms for state in pipeline.rows.book_steps] == ticks, "the raw store has every tick"


def test_the_track_has_changes_and_heartbeats_and_nothing_else():
    pipeline = SymbolPipeline("BTCUSDT")
    pipeline.push(update(1, T0, snapshot=True))
    pipeline.push(update(2, T0 + 100))  # the same best prices
    pipeline.push(update(3, T0 + 200, quantity=2.0))
    for time_ms in (T0 + 300, T0 + 699, T0 + 700, T0 + 1100):
        pipeline.beat(time_ms, 0)
    assert [quote.time_ms - T0 for quote in pipeline.rows.bbo] == [0, 200, 700]
    pipeline.beat(T0 + 200 + 10_000, 0)
    assert len(pipeline.rows.bbo) == 3  # a stale book has no heartbeat


def test_a_thinned_track_keeps_its_distance_and_the_last_change():
    pipeline = SymbolPipeline("BTCUSDT", track_ms=250)
    pipeline.push(update(1, T0, snapshot=True))
    for number in range(2, 12):
        pipeline.push(update(number, T0 + 40 * number, quantity=number))
    pipeline.beat(T0 + 1000, 0)
    times = [quote.time_ms - T0 for quote in pipeline.rows.bbo]
    assert min(np.diff(times)) >= 250
    assert pipeline.rows.bbo[-1].bid_quantity == 11


def test_trades_and_minutes_count_once_and_bad_candles_not_at_all():
    pipeline = SymbolPipeline("BTCUSDT")
    for number in (1, 2, 1):
        pipeline.push(trade(number))
    for event in (candle(0, closed=False), candle(0), candle(0, low=1.5), candle(60_000, low=5.0)):
        pipeline.push(event)
    assert [row.trade_id for row in pipeline.rows.trades] == ["t1", "t2"]
    assert [(row.start_ms, row.is_closed, row.low) for row in pipeline.rows.candles] == [
        (0, False, 1.0),
        (0, True, 1.0),
    ]
    assert pipeline.counts["bad_candles"] == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.integers(0, 2000), st.sampled_from([1, 1, 1, 1, 2])),
        st.tuples(st.just("snapshot"), st.integers(0, 2000), st.just(5)),
        st.tuples(st.just("trade"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("tick"), st.just(0), st.just(0)),
        st.tuples(st.just("beat"), st.integers(0, 900), st.just(0)),
        st.tuples(st.just("gap"), st.just(0), st.just(0)),
    ),
    max_size=60,
)


def tell(pipeline, script, clock):
    """Play a script; `clock` holds time, last update and next tick between two calls."""
    for kind, number, jump in script:
        if kind in ("update", "snapshot"):
            clock["now"] += number
            clock["id"] += jump
            pipeline.push(
                update(clock["id"], clock["now"], quantity=1.0 + number % 3, snapshot=kind == "snapshot")
            )
        elif kind == "trade":
            pipeline.push(trade(number, clock["now"]))
        elif kind == "tick":
            close(pipeline, clock["tick"])
            clock["tick"] += 3000
        elif kind == "beat":
            pipeline.beat(clock["now"] + number, 5)
        else:
            pipeline.mark_gap()


@given(before=steps, after=steps)
@settings(max_examples=80, deadline=None)
def test_a_pipeline_restored_goes_on_as_if_nothing_had_happened(before, after):
    whole, first, second = (SymbolPipeline("BTCUSDT") for _ in range(3))
    start = {"now": T0, "id": 10, "tick": T0}
    clock = dict(start)
    tell(whole, before, clock)
    whole.drain()
    tell(whole, after, clock)
    clock = dict(start)
    tell(first, before, clock)
    second.restore(json.loads(json.dumps(first.checkpoint())))
    tell(second, after, clock)
    for stream in ("trades", "bbo"):
        assert getattr(second.rows, stream) == getattr(whole.rows, stream)
    assert len(second.rows.book_steps) == len(whole.rows.book_steps)
    for mine, theirs in zip(second.rows.book_steps, whole.rows.book_steps, strict=True):
        assert mine.bids.tobytes() == theirs.bids.tobytes() and mine.asks.tobytes() == theirs.asks.tobytes()
        facts = ("time_ms", "event_ms", "n_updates", "follows_gap", "n_late")
        assert [getattr(mine, name) for name in facts] == [getattr(theirs, name) for name in facts]


finite = st.floats(allow_nan=False)
big = st.integers(0, 2**62)
levels = st.lists(st.tuples(finite, finite), max_size=4).map(
    lambda rows: np.array(rows, float).reshape(-1, 2)
)
text = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)
events = st.one_of(
    st.builds(BookUpdate, text, st.booleans(), levels, levels, big, big, big, big, big, st.none() | big),
    st.builds(Trade, text, big, finite, finite, st.none() | st.booleans(), text, big, text, st.booleans()),
    st.builds(Candle, text, big, *[finite] * 6, st.booleans(), big),
)


@given(event=events)
def test_every_event_comes_back_from_its_record(event):
    kind, payload = encode_event(event)
    again = decode_event(kind, event.received_ns, payload)
    for name in type(event).__slots__:
        mine, theirs = getattr(again, name), getattr(event, name)
        assert mine.tobytes() == theirs.tobytes() if isinstance(mine, np.ndarray) else mine == theirs


def test_ticks_and_samples_come_back():
    assert decode_tick(encode_tick(T0, "4USDT", True)) == (T0, "4USDT", True)
    features = np.array([1.5, math.nan, math.inf], np.float32)
    made = Sample("4USDT", T0, 7, T0 - 5, features, features[:2], 0.1 + 0.2, 1e-9, 0.5, 2, True)
    again = decode_sample(encode_sample(made))
    assert again.features.tobytes() == features.tobytes() and len(again.features_v2) == 2
    assert (again.mid, again.symbol, again.follows_gap) == (0.1 + 0.2, "4USDT", True)


def test_a_row_tells_its_quality():
    made = Sample(
        "A", T0, 7, T0 - 5, np.zeros(112, np.float32), np.zeros(2, np.float32), 1.0, 1.0, 0.5, 2, True
    )
    row = sample_table([made]).row(0, named=True)
    assert row["quality"] == f"{FOLLOWS_GAP},{LATE_UPDATES}"
    assert (row["timestamp"], row["sample_time_ms"], row["recv_ns"]) == (T0 - 5, T0, 7)


def test_the_clock_closes_each_tick_once_a_grace_later():
    clock = FeatureClock(interval=2, offset_ms=500)
    found = [tick for now_ms in range(T0 - 4000, T0 + 20_000, 37) for tick in clock.due(now_ms * 1_000_000)]
    ticks = [tick for tick, _ in found]
    assert ticks == list(range(ticks[0], ticks[-1] + 1, 3000))
    assert all(is_sample == (tick % 6000 == 0) for tick, is_sample in found)
    assert not list(clock.due((ticks[-1] + 3000 + 499) * 1_000_000))
    assert list(clock.due((ticks[-1] + 3000 + 500) * 1_000_000))


def test_ticks_missed_while_the_machine_slept_are_left_out():
    clock = FeatureClock()
    list(clock.due(T0 * 1_000_000))
    woken = list(clock.due((T0 + 3_600_000) * 1_000_000))
    assert len(woken) == 1
    assert clock.n_missed >= 1190


def test_the_adaptive_cadence_aims_at_25_seconds():
    assert [adaptive_loops(cycle_s) for cycle_s in (0.1, 1, 3, 5, 11, 15, 60)] == [15, 15, 8, 5, 2, 2, 2]
    clock = FeatureClock(is_adaptive=True)
    found = [
        is_sample for now in range(T0, T0 + 300_000, 1000) for _, is_sample in clock.due(now * 1_000_000)
    ]
    assert np.diff(np.flatnonzero(found)).tolist() == [8] * (sum(found) - 1)
