"""The engine: live and replayed alike, nothing of the future, nothing of before a gap, nothing of process start."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from market_session import START_MS, SYMBOL, Session, make_session
from restated_features import restated_book, restated_candles

from earmark.errors import UsageError
from earmark.orderbook.catalog import FEATURE_NAMES, NULLABLE_FEATURES, V2_NAMES
from earmark.orderbook.engine import MAX_WAITING, NOT_READY, FeatureEngine
from earmark.orderbook.events import Candle
from earmark.orderbook.replay import Replayed, replay
from earmark.orderbook.state import STEP_MS, BookState


def run_live(session: Session, start: int = 0) -> list[tuple[bytes, bytes, bool]]:
    """Features as a live process computes them: rows at their receipt, also those that no tick may use yet."""
    engine = FeatureEngine(SYMBOL)
    rows = sorted(
        [*session.trades, *session.candles, *session.quotes, *session.states[start:]],
        key=lambda row: row.closed_ns + 700_000_000 if isinstance(row, BookState) else row.received_ns,
    )
    give = {"Trade": engine.add_trade, "Candle": engine.add_candle, "BestQuote": engine.add_quote}
    out = []
    for row in rows:
        if isinstance(row, BookState):
            engine.step(row)
            out.append(
                (engine.features().tobytes(), engine.features_v2().tobytes(), engine.not_ready() is None)
            )
        else:
            give[type(row).__name__](row)
    return out


def run_replay(session: Session, **options: object) -> Replayed:
    return replay(session.states, session.trades, session.candles, session.quotes, symbol=SYMBOL, **options)


@pytest.mark.parametrize("seed", range(3))
def test_replay_gives_the_bits_of_live(seed: int) -> None:
    session = make_session(seed, gap_at=70)
    live = run_live(session)
    shuffled = {name: list(getattr(session, name)) for name in ("trades", "candles", "quotes")}
    for rows in shuffled.values():
        random.Random(seed).shuffle(rows)
    replayed = replay(session.states, *shuffled.values(), symbol=SYMBOL)
    assert [row.tobytes() for row in replayed.features] == [features for features, _, _ in live]
    assert [row.tobytes() for row in replayed.v2] == [v2 for _, v2, _ in live]
    assert replayed.ready.tolist() == [ready for _, _, ready in live]
    assert replayed.ready.all()


def test_features_are_those_of_the_definitions() -> None:
    session = make_session(5, n_states=90, gap_at=60)
    replayed = run_replay(session)
    for k in (0, 1, 5, 9, 12, 19, 20, 40, 59, 60, 61, 89):
        state = session.states[k]
        first = 60 if k >= 60 else 0
        trades = {
            trade.trade_id: trade
            for trade in session.trades
            if trade.received_ns <= state.closed_ns
            and trade.time_ms > session.states[first].time_ms - STEP_MS
        }
        closed = {
            candle.start_ms: candle
            for candle in session.candles
            if candle.is_closed
            and candle.start_ms + 60_000 <= state.time_ms
            and candle.received_ns <= state.closed_ns
        }
        window = np.array(
            [(c.open, c.high, c.low, c.close, c.volume) for _, c in sorted(closed.items())[-200:]]
        ).T
        expected = {
            **restated_book(session.states[first : k + 1], list(trades.values())),
            **restated_candles(window),
        }
        actual = dict(zip(FEATURE_NAMES, replayed.features[k].tolist(), strict=True))
        for name in FEATURE_NAMES:
            assert actual[name] == pytest.approx(expected[name], rel=2e-6, abs=1e-9, nan_ok=True), (k, name)


def test_rows_of_the_future_change_nothing() -> None:
    session = make_session(1, n_states=60)
    whole = run_replay(session)
    for k in (3, 20, 45):
        closed_ns = session.states[k].closed_ns
        cut = Session(
            session.states[: k + 1],
            *(
                [row for row in rows if row.received_ns <= closed_ns]
                for rows in (session.trades, session.candles, session.quotes)
            ),
        )
        part = run_replay(cut)
        assert part.features.tobytes() == whole.features[: k + 1].tobytes()
        assert part.v2.tobytes() == whole.v2[: k + 1].tobytes()


def test_a_process_that_starts_at_the_gap_gives_the_same() -> None:
    session = make_session(2, n_states=100, n_candles=260, gap_at=40)
    live = run_live(session)
    restarted = run_live(session, start=40)
    assert restarted == live[40:]


def test_candle_columns_do_not_depend_on_the_start() -> None:
    session = make_session(3, n_states=60)
    whole = run_replay(session)
    later = replay(session.states[30:], [], session.candles)
    assert np.array_equal(whole.features[30:, 50:], later.features[:, 50:])


def test_only_the_rate_of_trades_may_be_missing() -> None:
    replayed = run_replay(make_session(4, n_states=40))
    missing = {FEATURE_NAMES[i] for i in np.flatnonzero(np.isnan(replayed.features).any(axis=0))}
    assert missing == {"trade_arrival_rate"} <= NULLABLE_FEATURES
    rate = replayed.features[:, FEATURE_NAMES.index("trade_arrival_rate")]
    assert np.isnan(rate[:19]).all()
    assert np.isfinite(rate[19:]).all()
    without = replay(make_session(4, n_states=40).states)
    assert np.isnan(without.features[:, FEATURE_NAMES.index("trade_arrival_rate")]).all()


def test_the_proxy_takes_the_place_of_missing_trades() -> None:
    session = make_session(6, n_states=3)
    features = replay(session.states, trade_rate_proxy=True).features
    column = {name: features[2, i] for i, name in enumerate(FEATURE_NAMES)}
    volumes = [state.bids[:, 1].sum() + state.asks[:, 1].sum() for state in session.states]
    change = min(abs(volumes[2] - volumes[1]) / volumes[2], 1)
    assert column["trade_arrival_rate"] == pytest.approx(column["update_frequency"] * (1 + change), rel=1e-6)


def test_a_tick_that_is_missing_is_a_gap() -> None:
    session = make_session(7, n_states=30)
    states = [*session.states[:15], *session.states[16:]]
    marked = [*states[:15], replace(states[15], follows_gap=True), *states[16:]]
    rest = (session.trades, session.candles, session.quotes)
    assert replay(states, *rest).v2.tobytes() == replay(marked, *rest).v2.tobytes()


def _says(engine: FeatureEngine, code: str, detail: str) -> bool:
    found = engine.not_ready()
    return found is not None and found.code == code and code in NOT_READY and detail in found.detail


def test_not_ready_says_why() -> None:
    session = make_session(8, n_states=4, n_candles=49)
    engine = FeatureEngine(SYMBOL)
    assert engine.not_ready() == ("no_book", "no state of the book yet")
    with pytest.raises(UsageError, match="has had no step"):
        engine.features()
    engine.step(session.states[0])
    assert _says(engine, "few_candles", "0 closed candles")
    assert np.isfinite(np.delete(engine.features(), FEATURE_NAMES.index("trade_arrival_rate"))).all()
    for candle in session.candles:
        engine.add_candle(candle)
    engine.step(session.states[1])
    assert _says(engine, "few_candles", "49 closed candles")
    engine.step(replace(session.states[2], asks=np.empty((0, 2))))
    assert _says(engine, "no_mid", "0 asks")
    state = session.states[3]
    engine.step(replace(state, bids=state.asks, asks=state.bids))
    assert _says(engine, "no_mid", "not below the best ask")
    engine.step(replace(state, time_ms=state.time_ms + 30_000, closed_ns=state.closed_ns + 30 * 10**9))
    assert _says(engine, "stale_book", "last updated")
    with pytest.raises(UsageError, match="does not follow"):
        engine.step(state)


def test_stale_candles_are_not_ready() -> None:
    session = make_session(9, n_states=100)
    cut = [candle for candle in session.candles if candle.start_ms < START_MS // 60_000 * 60_000]
    ready = replay(session.states, (), cut).ready
    ages = np.array([state.time_ms - START_MS // 60_000 * 60_000 for state in session.states])
    assert np.array_equal(ready, ages <= 180_000)


def test_a_missing_minute_waits_for_its_back_fill() -> None:
    session = make_session(10, n_states=60)
    minute = START_MS // 60_000 * 60_000
    lost = [c for c in session.candles if not (c.is_closed and c.start_ms == minute - 60_000 * 10)]
    found = next(c for c in session.candles if c.is_closed and c.start_ms == minute - 60_000 * 10)
    back = replace(found, received_ns=session.states[30].closed_ns)
    replayed = replay(session.states, (), [*lost, back])
    assert replayed.ready.tolist() == [False] * 30 + [True] * 30
    assert np.array_equal(replayed.features[30:, 50:], run_replay(session).features[30:, 50:])


def test_a_candle_counts_from_its_end_and_its_receipt() -> None:
    states = make_session(11, n_states=40).states
    minute = (START_MS // 60_000 + 1) * 60_000
    at = next(k for k, state in enumerate(states) if state.time_ms >= minute)
    candle = Candle(SYMBOL, minute - 60_000, 1.0, 3.0, 0.5, 2.0, 7.0, 14.0, True, states[at].closed_ns + 1)
    close = replay(states, (), [candle]).features[:, FEATURE_NAMES.index("close")]
    assert close.tolist() == [0.0] * (at + 1) + [2.0] * (39 - at)


def test_the_open_candle_is_that_of_the_tick() -> None:
    session = make_session(12, n_states=40)
    v2 = run_replay(session).v2
    age = v2[:, V2_NAMES.index("forming_age_s")]
    expected = np.array([state.time_ms % 60_000 / 1000 for state in session.states])
    known = np.isfinite(age)
    assert known[expected >= 9].all()
    assert not known[expected == 0].any()
    assert np.array_equal(age[known], expected[known])


def test_rows_wait_for_samples_only_where_asked() -> None:
    session = make_session(13, n_states=41)
    sampled = run_replay(session, interval_ms=30_000, with_v2=False)
    whole = run_replay(session)
    at = whole.time_ms % 30_000 == 0
    assert np.array_equal(sampled.features, whole.features[at], equal_nan=True)
    assert sampled.v2.shape == (at.sum(), 0)


def test_prices_and_volumes_of_another_scale_give_the_same_dimensionless_set() -> None:
    session = make_session(14, n_states=110)
    price, size = 2.0**20, 2.0**-3

    def scaled(levels: np.ndarray) -> np.ndarray:
        return levels * (price, size)

    states = [replace(s, bids=scaled(s.bids), asks=scaled(s.asks)) for s in session.states]
    trades = [replace(t, price=t.price * price, quantity=t.quantity * size) for t in session.trades]
    candles = [
        replace(
            c,
            **{name: getattr(c, name) * price for name in ("open", "high", "low", "close")},
            volume=c.volume * size,
        )
        for c in session.candles
    ]
    quotes = [
        replace(
            q,
            **{name: getattr(q, name) * price for name in ("bid", "ask")},
            **{name: getattr(q, name) * size for name in ("bid_quantity", "ask_quantity")},
        )
        for q in session.quotes
    ]
    other = replay(states, trades, candles, quotes).v2
    same = run_replay(session).v2
    for i, name in enumerate(V2_NAMES):
        # A volume of nothing stands at ln(e / median), and e has a unit.
        nothing = (same[:, i] < -20) | np.isnan(same[:, i])
        np.testing.assert_allclose(other[~nothing, i], same[~nothing, i], rtol=1e-4, atol=1e-4, err_msg=name)
    assert np.isfinite(same[-1]).all()


def test_nothing_waits_but_what_no_tick_may_use_yet() -> None:
    session = make_session(15, n_states=60)
    engine = FeatureEngine(SYMBOL)
    for trade in session.trades:
        engine.add_trade(trade)
    for candle in session.candles:
        engine.add_candle(candle)
    for state in session.states:
        engine.step(state)
    later = [t for t in session.trades if t.time_ms > state.time_ms or t.received_ns > state.closed_ns]
    assert list(engine._waiting_trades) == later
    assert all(candle.received_ns > state.time_ms * 1_000_000 for candle in engine._waiting_open)


def test_rows_without_ticks_do_not_pile_up() -> None:
    session = make_session(16, n_states=30)
    engine, other = FeatureEngine(SYMBOL), FeatureEngine(SYMBOL)
    for number in range(MAX_WAITING + 10_000):
        old = replace(session.trades[0], trade_id=f"old{number}", time_ms=START_MS - 700_000 + number)
        engine.add_trade(old)
    assert len(engine._waiting_trades) == MAX_WAITING
    for trade in session.trades:
        engine.add_trade(trade)
        other.add_trade(trade)
    for state in session.states:
        engine.step(state)
        other.step(state)
    assert engine.features_v2().tobytes() == other.features_v2().tobytes()
