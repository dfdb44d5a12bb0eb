"""The proof holds for the features there are, and finds each kind of leak that is planted."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from earmark.data.timeline import split
from earmark.data.windows import SeriesTable, make_windows
from earmark.errors import UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.store.raw import RawStore
from earmark.tasks.market.generated import generated_recording
from earmark.tasks.market.labels.rules import Fixed, TripleBarrier, label_samples
from earmark.tasks.market.labels.series import Horizon, PricePath, Samples
from earmark.tasks.market.lookahead import (
    Columns,
    Recording,
    all_features,
    check_features,
    check_labels,
    check_stored,
    read_recording,
    shifted_labels,
)


@pytest.fixture(scope="module")
def recording():
    return generated_recording(160)


def leaking(rows):
    return {row.column: row for row in rows if not row.ok}


def test_no_feature_sees_the_future(recording):
    rows = check_features(recording, n_cuts=3)
    assert not leaking(rows)
    assert len(rows) > 187 and all(row.compared > 3 * 2 * 70 for row in rows)
    values = all_features(recording).values
    assert np.isfinite(values[-1, : len(FEATURE_NAMES)]).all()
    assert len(np.unique(values[-50:, 2])) > 25  # a market that moves: equal values prove something


def plant(name, make):
    """Features with one more column, made of a whole recording."""

    def compute(recording: Recording) -> Columns:
        time_ms = np.array([state.time_ms for state in recording.states], np.int64)
        mid = np.array([(state.bids[0, 0] + state.asks[0, 0]) / 2 for state in recording.states])
        values = np.stack([mid, make(recording, time_ms, mid)], axis=1).astype(np.float32)
        return Columns(("mid", name), time_ms, values)

    return compute


def next_mid(_recording, _time_ms, mid):
    return np.append(mid[1:], mid[-1])


def whole_rank(_recording, _time_ms, mid):
    return np.argsort(np.argsort(mid)) / len(mid)


def back_filled(_recording, _time_ms, mid):
    lag = np.append(np.full(40, np.nan), mid[:-40])
    return np.where(np.isnan(lag), mid.mean(), lag)


def late_trades(recording, time_ms, _mid):
    """Trades by exchange time alone: those that had not arrived count too."""
    times = np.sort([trade.time_ms for trade in recording.trades])
    return np.searchsorted(times, time_ms, side="right")


def unclosed_minute(recording, time_ms, _mid):
    """The final close of the minute that is still open."""
    closes = {candle.start_ms: candle.close for candle in recording.candles if candle.is_closed}
    return np.array([closes.get(t // 60_000 * 60_000, 0.0) for t in time_ms])


@pytest.mark.parametrize("leak", [next_mid, whole_rank, back_filled, late_trades, unclosed_minute])
def test_a_planted_leak_is_found_and_nothing_else_is_blamed(recording, leak):
    found = leaking(check_features(recording, plant("leak", leak), n_cuts=6))
    assert set(found) == {"leak"}
    assert found["leak"].changed > 0 and found["leak"].first_ms is not None


def test_an_honest_trailing_column_passes(recording):
    trailing = plant("mean", lambda _r, _t, mid: np.cumsum(mid) / np.arange(1, len(mid) + 1))
    assert not leaking(check_features(recording, trailing))


def test_stored_rows_equal_recomputation_or_are_named(recording):
    whole = all_features(recording)
    names = whole.names[:112]
    values = np.ascontiguousarray(whole.values[80::10, :112])
    assert not leaking(check_stored(recording, Columns(names, whole.time_ms[80::10], values)))
    changed = values.copy()
    changed[3, 7] += 1
    planted = Columns((*names, "future_direction_60s"), whole.time_ms[80::10], np.c_[changed, changed[:, 0]])
    found = leaking(check_stored(recording, planted))
    assert set(found) == {names[7], "future_direction_60s"}
    assert found["future_direction_60s"].by == "no raw data"


def walk(n=4000, seed=1):
    rng = np.random.default_rng(seed)
    time_ms = 1_750_000_000_000 + np.arange(n, dtype=np.int64) * 500
    path = PricePath("A", time_ms, 100 * np.exp(np.cumsum(rng.standard_normal(n)) * 2e-4), 1000)
    samples = Samples("A", time_ms[::20], path.price[::20], atr=np.full(len(time_ms[::20]), 0.1))
    return samples, path


@pytest.mark.parametrize("rule", [Fixed(), TripleBarrier()])
def test_labels_come_from_between_the_sample_and_their_end(rule):
    samples, path = walk()
    rows = check_labels(samples, path, lambda s, p: label_samples(rule, s, Horizon(60), p))
    assert [row.changed for row in rows] == [0, 0] and all(row.compared > 100 for row in rows)


def test_labels_that_look_behind_or_end_later_than_they_say_are_found():
    samples, path = walk()

    def honest(s, p):
        return label_samples(Fixed(), s, Horizon(60), p)

    def too_early(s, p):
        outcome = honest(s, p)
        return replace(outcome, end_ms=outcome.end_ms - 30_000)

    def behind(s, p):
        outcome = honest(s, p)
        first = p.price[0] if len(p) else 0.0
        return replace(outcome, movement=outcome.movement + first * 1e-6)

    assert set(leaking(check_labels(samples, path, too_early))) == {"label_end_ms"}
    assert set(leaking(check_labels(samples, path, behind))) == {"label_past"}


def test_a_recording_comes_back_from_the_raw_store(recording, tmp_path):
    store = RawStore(tmp_path)
    for stream, rows in (
        ("book_steps", recording.states),
        ("trades", recording.trades),
        ("candles", recording.candles),
        ("bbo", recording.quotes),
    ):
        store.append(stream, recording.symbol, rows)
    again = read_recording(tmp_path, recording.symbol, max_ticks=1000)
    assert np.array_equal(all_features(again).values, all_features(recording).values, equal_nan=True)
    assert len(read_recording(tmp_path, recording.symbol, max_ticks=50).states) == 50
    with pytest.raises(UsageError, match="earmark collect market"):
        read_recording(tmp_path, "NONE", max_ticks=50)


def test_a_model_of_shifted_labels_is_not_better():
    """Features that know the present part of a movement: labels in their place are learnt best."""
    n, ahead = 6000, 4
    rng = np.random.default_rng(4)
    signal = rng.standard_normal(n + ahead)
    time_ms = np.arange(n, dtype=np.int64) * 30_000
    movement = (np.convolve(signal, np.ones(ahead), "valid")[1:] + rng.standard_normal(n)).astype(np.float32)
    table = SeriesTable(
        symbols=("A",),
        symbol=np.zeros(n, np.int32),
        time_ms=time_ms,
        X=np.stack([signal[k + 1 : n + k + 1] for k in range(ahead)], axis=1).astype(np.float32),
        columns=("a", "b", "c", "d"),
        y=np.digitize(movement, [-1, 1]).astype(np.int8),
        movement=movement,
        label_end_ms=time_ms + ahead * 30_000,
        price=np.ones(n),
        interval_ms=30_000,
    )

    def score(shift):
        windows = make_windows(shifted_labels(table, shift), 1)
        division = split(windows, embargo=0)
        model = LogisticRegression().fit(division.train.last_rows(), division.train.y)
        test = division.test.ends
        return model.score(table.X[test], table.y[test])

    in_place = score(0)
    assert in_place > 0.6
    assert in_place > max(score(ahead), score(-ahead), score(1), score(-1)) + 0.02
    shifted = shifted_labels(table, ahead)
    assert shifted.y[:-ahead].tolist() == table.y[ahead:].tolist() and (shifted.y[-ahead:] == -1).all()


def test_too_short_a_recording_proves_nothing():
    with pytest.raises(UsageError, match="need at least 14"):
        check_features(generated_recording(10))
