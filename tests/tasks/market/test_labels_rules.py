"""Labels: look-ups against brute force, statuses, rules by hand, barriers against a row-by-row reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import InputError, UsageError
from earmark.tasks.market.labels import asof
from earmark.tasks.market.labels.barriers import Barriers, first_barrier
from earmark.tasks.market.labels.movement import among_samples, on_track
from earmark.tasks.market.labels.rules import (
    BARRIER_PRESETS,
    Cost,
    Fixed,
    LobBarrier,
    RollingSigma,
    SqrtTime,
    TripleBarrier,
    Volatility,
    label_samples,
)
from earmark.tasks.market.labels.series import (
    AMBIGUOUS,
    BAD_PRICE,
    GAP,
    NOT_REACHED,
    OK,
    STATUSES,
    Horizon,
    PricePath,
    Samples,
)
from earmark.tasks.market.labels.trailing import day_median, trailing_sigma

times = st.lists(st.integers(0, 60), max_size=30).map(lambda values: np.array(sorted(values), dtype=np.int64))


def samples(time_ms, price, **columns):
    columns = {name: np.asarray(values, dtype=float) for name, values in columns.items()}
    return Samples("BTCUSDT", np.asarray(time_ms, dtype=np.int64), np.asarray(price, dtype=float), **columns)


def track(time_ms, price, max_gap_ms=1000, **columns):
    return PricePath(
        "BTCUSDT", np.asarray(time_ms, dtype=np.int64), np.asarray(price, dtype=float), max_gap_ms, **columns
    )


@settings(deadline=None)
@given(times, times, st.sampled_from([0, 100]))
def test_look_ups_are_those_of_a_loop(rows, instants, sparse):
    before, after, later = [], [], []
    for instant in instants:
        before.append(max((i for i, t in enumerate(rows) if t <= instant), default=-1))
        after.append(min((i for i, t in enumerate(rows) if t >= instant), default=-1))
        later.append(min((i for i, t in enumerate(rows) if t > instant), default=-1))
    usual, asof.SPARSE = asof.SPARSE, sparse  # 0: bisection, 100: the walk
    try:
        assert asof.last_at_or_before(rows, instants).tolist() == before
        assert asof.first_at_or_after(rows, instants).tolist() == after
        assert asof.first_after(rows, instants).tolist() == later
    finally:
        asof.SPARSE = usual


@settings(deadline=None)
@given(times.map(np.unique), st.integers(1, 20))
def test_the_nearest_is_that_of_a_loop_and_never_the_row_itself(rows, ahead):
    expected = []
    for t in rows:
        order = sorted((abs(int(other) - int(t) - ahead), i) for i, other in enumerate(rows) if other > t)
        expected.append(order[0][1] if order else -1)
    assert asof.nearest_after(rows, rows + ahead, rows).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_labels_on_the_track_are_those_of_a_loop(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    at = np.sort(rng.integers(0, 40_000, 60))
    price = rng.choice([100.0, 100.05, 100.2, 99.8, 0.0, np.nan], 60, p=[0.3, 0.2, 0.2, 0.2, 0.05, 0.05])
    own = np.unique(rng.integers(0, 45_000, 20))
    wanted, path = samples(own, rng.choice([100.0, 0.0], len(own), p=[0.9, 0.1])), track(at, price, 1500)
    outcome = label_samples(Fixed(), wanted, Horizon(10), path)
    for i, t in enumerate(own + 10_000):
        past = [j for j in range(60) if at[j] <= t]
        if not wanted.price[i] > 0:
            expected = (BAD_PRICE, -1)
        elif t > at[-1]:
            expected = (NOT_REACHED, -1)
        elif not past or t - at[past[-1]] > 1500:
            expected = (GAP, -1)
        elif not price[past[-1]] > 0:
            expected = (BAD_PRICE, -1)
        else:
            movement = (price[past[-1]] - wanted.price[i]) / wanted.price[i]
            expected = (OK, 2 if movement > 0.001 else 0 if movement < -0.001 else 1)
            assert outcome.movement[i] == movement
            assert outcome.lag_ms[i] == t - at[past[-1]]
            assert outcome.end_ms[i] == t
        assert (outcome.status[i], outcome.direction[i]) == expected


def test_a_truncated_track_gives_nulls_with_a_status_and_never_neutral():
    rows = samples(np.arange(0, 60_000, 1000), np.full(60, 100.0))
    full = track(np.arange(0, 70_000, 500), np.full(140, 100.0))
    cut = track(full.time_ms[:80], full.price[:80])
    assert set(label_samples(Fixed(), rows, Horizon(10), full).direction[:59]) == {1}
    outcome = label_samples(Fixed(), rows, Horizon(10), cut)
    after = rows.time_ms + 10_000 > cut.time_ms[-1]
    assert set(outcome.status[after]) == {NOT_REACHED}
    assert set(outcome.direction[after]) == {-1}
    columns = outcome.columns(Horizon(10))
    assert columns["future_direction_10s"].null_count() == after.sum()
    assert columns["future_movement_10s"].null_count() == after.sum()
    assert columns["label_status_10s"][-1] == "horizon_not_reached"


def test_a_part_of_the_record_knows_that_the_record_goes_on():
    rows, part = samples([0], [100.0]), [0, 500]
    assert on_track(rows, track(part, [100.0, 100.0]), 10_000).status[0] == NOT_REACHED
    assert on_track(rows, track(part, [100.0, 100.0], end_ms=20_000), 10_000).status[0] == GAP


def test_what_has_no_rows_has_no_labels():
    nothing = samples([], [])
    for rule, horizon in (
        (Fixed(), Horizon(10)),
        (TripleBarrier(), Horizon(60)),
        (LobBarrier(), Horizon(10, "n")),
    ):
        assert len(label_samples(rule, nothing, horizon).direction) == 0
        assert (
            len(
                label_samples(rule, nothing, horizon, track([], [])).columns(horizon)[
                    "label_status_" + str(horizon)
                ]
            )
            == 0
        )
    outcome = label_samples(Fixed(), samples([5], [1.0]), Horizon(10), track([], []))
    assert STATUSES[outcome.status[0]] == "horizon_not_reached"


def _coverage(spacing, seconds, tolerance_ms=10_000):
    stamps = np.rint(np.cumsum(spacing) * 1000).astype(np.int64)
    outcome = among_samples(samples(stamps, np.full(len(stamps), 100.0)), seconds * 1000, tolerance_ms)
    return 100 * (outcome.status == OK).mean()


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        (15, (100, 100, 100)),
        (24, (0, 100, 1)),
        (25, (0, 100, 50)),
        (30, (0, 100, 100)),
        ("adaptive", (0, 100, 43)),
    ],
)
def test_coverage_without_a_track_is_what_the_spacing_allows(spacing, expected):
    rng = np.random.default_rng(7)
    if spacing == "adaptive":  # the earlier rule: as many loops of about 3 s as make 25 s
        cycle = rng.normal(3, 0.04 * 3, 50_000)
        loops = np.clip((25 / np.maximum(cycle, 1)).astype(int), 2, 15)
        steps = loops * 3 + rng.normal(0, 0.04 * 3, 50_000) * np.sqrt(loops)
    else:
        steps = rng.normal(spacing, 0.02 * spacing, 50_000)
    found = [_coverage(steps, seconds) for seconds in (10, 30, 60)]
    assert np.abs(np.subtract(found, expected)).max() < 4, found


def test_every_horizon_is_covered_with_the_track():
    rng = np.random.default_rng(7)
    stamps = np.rint(np.cumsum(rng.normal(30, 0.6, 2000)) * 1000).astype(np.int64)
    path = track(np.arange(0, stamps[-1] + 70_000, 500), np.full((stamps[-1] + 70_000 + 499) // 500, 100.0))
    for seconds in (10, 30, 60):
        assert (on_track(samples(stamps, np.full(2000, 100.0)), path, seconds * 1000).status == OK).all()


def test_the_ten_second_label_at_fifteen_seconds_says_how_late_it_is():
    outcome = among_samples(samples([0, 15_000, 30_000], [1.0, 2.0, 3.0]), 10_000, 10_000)
    assert outcome.lag_ms.tolist() == [-5000, -5000, 0]
    assert outcome.end_ms.tolist() == [15_000, 30_000, 0]


def test_first_match_takes_the_later_of_two():
    rows = samples([0, 9_000, 14_000, 40_000], [1.0, 2.0, 3.0, 4.0])
    assert among_samples(rows, 10_000, 10_000).movement[0] == 1.0
    assert among_samples(rows, 10_000, 10_000, "first").movement[0] == 2.0


def test_thresholds_of_each_rule_by_hand():
    rows = samples([0, 1000], [100.0, 200.0], atr=[0.05, 0.01], spread=[0.1, 0.1])
    assert Volatility().thresholds(rows, Horizon(60)).tolist() == [1.2 * 0.05 / 100, 0.0003]
    assert Cost(fees=0.001).thresholds(rows, Horizon(60)).tolist() == [0.001 + 0.05 / 100, 0.001 + 0.05 / 200]
    assert SqrtTime().thresholds(rows, Horizon(240)) == pytest.approx(0.002)
    assert SqrtTime(scaling=False).thresholds(rows, Horizon(240)) == 0.001
    rule = Fixed(overrides=(("BTCUSDT", 0, 0.2), ("", 60, 0.3), ("BTCUSDT", 10, 0.4), ("ETHUSDT", 0, 0.5)))
    assert [rule.thresholds(rows, Horizon(h)) for h in (10, 30, 60)] == [0.4, 0.2, 0.2]


def test_a_threshold_that_is_not_known_is_no_label():
    rows = samples([0, 1000], [100.0, 100.0], atr=[np.nan, 0.1])
    outcome = label_samples(Volatility(), rows, Horizon(1), track([0, 1000, 2000], [100.0] * 3))
    assert outcome.status.tolist() == [GAP, OK]
    assert np.isnan(outcome.movement[0])
    with pytest.raises(UsageError, match="no column for `atr`"):
        label_samples(Volatility(), samples([0], [1.0]), Horizon(1), track([0], [1.0]))


def test_sigma_is_of_the_past_alone_and_crosses_no_gap():
    rng = np.random.default_rng(3)
    price = 100 + np.cumsum(rng.normal(size=60))
    segment = np.repeat([0, 1], 30)
    sigma = trailing_sigma(price, segment, 20)
    for i in range(60):
        returns = [
            price[j] / price[j - 1] - 1 for j in range(max(i - 19, 1), i + 1) if segment[j - 1] == segment[i]
        ]
        assert sigma[i] == pytest.approx(np.std(returns)) if len(returns) >= 2 else np.isnan(sigma[i])
    changed = np.append(price[:40], price[40:] * 5)
    assert np.array_equal(trailing_sigma(changed, segment, 20)[:40], sigma[:40], equal_nan=True)


def test_day_median_is_of_the_past_day():
    stamps = np.arange(50, dtype=np.int64) * 3_600_000
    values = np.arange(50.0)
    values[3] = np.nan
    expected = [np.nanmedian(values[max(0, i - 23) : i + 1]) for i in range(50)]
    assert day_median(stamps, values).tolist() == expected


def test_states_ahead_count_rows_and_cross_no_gap():
    stamps = np.concatenate([np.arange(0, 100, 1), np.arange(200, 300, 1)]) * 5000
    price = np.full(200, 100.0)
    price[60:] = 101.0
    outcome = label_samples(RollingSigma(), samples(stamps, price), Horizon(60, "n"))
    assert outcome.direction[:40].tolist() == [2] * 40
    assert set(outcome.status[40:100]) == {GAP}
    assert set(outcome.status[140:]) == {NOT_REACHED}
    with pytest.raises(UsageError, match="counts in `n`"):
        label_samples(RollingSigma(), samples(stamps, price), Horizon(60))


def _barrier_of_a_loop(rows, path, upper, lower, hold, i):
    """Row by row: the span must be on record without a gap, then the first touch counts."""
    t, until = rows.time_ms[i], rows.time_ms[i] + hold
    known = path.time_ms[(path.time_ms <= until)]
    if until > path.time_ms[-1]:
        return NOT_REACHED, -1, np.nan
    inside = [t, *[k for k in known if k > t], until]
    entry = known[known <= t]
    if len(entry) == 0 or t - entry[-1] > path.max_gap_ms:
        return GAP, -1, np.nan
    inside[0] = entry[-1]
    if max(np.diff(inside), default=0) > path.max_gap_ms:
        return GAP, -1, np.nan
    for k in np.flatnonzero((path.time_ms > t) & (path.time_ms <= until)):
        if path.price[k] >= upper:
            return OK, 2, upper / rows.price[i] - 1
        if path.price[k] <= lower:
            return OK, 0, lower / rows.price[i] - 1
    return OK, 1, path.price[np.flatnonzero(path.time_ms <= until)[-1]] / rows.price[i] - 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_barriers_are_those_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    path = track(np.cumsum(rng.integers(1, 600, 150)), 100 + np.cumsum(rng.normal(0, 0.1, 150)), 560)
    own = np.unique(rng.integers(0, path.time_ms[-1], 25))
    rows = samples(own, rng.normal(100, 0.3, len(own)))
    upper, lower = rows.price + rng.uniform(0.05, 1, len(own)), rows.price - rng.uniform(0.05, 1, len(own))
    hold = rng.integers(500, 9000, len(own))
    outcome = first_barrier(rows, path, Barriers(upper, lower, hold))
    for i in range(len(own)):
        status, direction, movement = _barrier_of_a_loop(rows, path, upper[i], lower[i], hold[i], i)
        assert (outcome.status[i], outcome.direction[i]) == (status, direction)
        assert outcome.movement[i] == movement or np.isnan(movement)


def candles(high, low, close):
    opened = np.arange(len(close), dtype=np.int64) * 60_000
    return track(opened + 60_000, close, 60_000, high=np.asarray(high), low=np.asarray(low), opened_ms=opened)


@pytest.mark.parametrize(("tie", "expected"), [(None, (AMBIGUOUS, -1)), ("tp", (OK, 2)), ("sl", (OK, 0))])
def test_a_candle_that_hits_both_is_ambiguous_unless_told(tie, expected):
    path = candles([100.0, 103.0, 100.0], [100.0, 97.0, 100.0], [100.0] * 3)
    barriers = Barriers(np.array([102.0]), np.array([98.0]), np.array([180_000]))
    outcome = first_barrier(samples([0], [100.0]), path, barriers, tie=tie)
    assert (outcome.status[0], outcome.direction[0]) == expected


def test_candles_count_from_the_first_that_opens_after_the_sample():
    path = candles([105.0, 100.0, 103.0], [100.0] * 3, [100.0, 100.0, 101.0])
    barriers = Barriers(np.array([102.0]), np.array([90.0]), np.array([120_000]))
    outcome = first_barrier(
        samples([30_000], [100.0]), path, barriers
    )  # the first candle reaches back before it
    assert (outcome.direction[0], outcome.end_ms[0]) == (2, 180_000)
    assert outcome.extra["barrier_hit"][0] == 1


def test_triple_barrier_widths_by_hand():
    rows = samples([0, 1000], [100.0, 100.0], atr=[2.0, np.nan])
    found = TripleBarrier().barriers(rows, Horizon(1440))
    assert found.upper.tolist() == [103.0, 100.15]
    assert found.lower.tolist() == [98.0, 99.9]
    even = TripleBarrier(symmetric=True).barriers(rows, Horizon(1440))
    assert even.lower.tolist() == [97.0, 99.85]
    assert BARRIER_PRESETS["aggressive"].max_hold == 48


def test_scaled_widths_and_holding_follow_the_volatility_of_the_day():
    sigma = np.concatenate([np.full(20, 1.0), [4.0, 0.1]])
    rows = samples(np.arange(22) * 60_000, np.full(22, 100.0), atr=np.full(22, 1.0), sigma=sigma)
    found = TripleBarrier(vol_scaling=True, dynamic_holding=True).barriers(rows, Horizon(1440))
    assert found.upper[[0, 20, 21]].tolist() == [101.5, 103.0, 100.75]
    assert (found.hold_ms[[0, 20, 21]] / 60_000).tolist() == [24, 12, 48]


def test_lob_barriers_end_at_a_row():
    price = np.full(100, 100.0)
    price[50:] = 100.1
    outcome = label_samples(LobBarrier(), samples(np.arange(100) * 5000, price), Horizon(10, "n"))
    assert outcome.direction[:39].tolist() == [1] * 39  # the tenth row after them is before the step
    assert outcome.direction[40:50].tolist() == [2] * 10
    assert set(outcome.status[90:]) == {NOT_REACHED}


def test_rows_out_of_order_are_refused():
    with pytest.raises(InputError, match="ascending"):
        samples([1000, 0], [1.0, 1.0])
    with pytest.raises(UsageError, match="at least 1"):
        Horizon(0)
