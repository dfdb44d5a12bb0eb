"""What predictions would have earned, on cases computed by hand; blocks of time as groups."""

import numpy as np
import pytest

from earmark.errors import UsageError
from earmark.evaluation.block_bootstrap import time_blocks
from earmark.evaluation.intervals import bootstrap_interval
from earmark.evaluation.metrics import accuracy
from earmark.evaluation.trading import ANNUALISATION, non_overlapping, positions, score_positions

HOUR = 3_600_000
DAY = 24 * HOUR


def test_positions_are_the_classes_about_neutral():
    assert positions([0, 1, 2, -1]).tolist() == [-1, 0, 1, 0]
    with pytest.raises(UsageError, match="Convert the coding"):
        positions([-2, 0, 1])


def test_overlapping_positions_of_a_symbol_are_passed_over():
    time = np.array([0, 30, 60, 90, 0, 30]) * 1000
    kept = non_overlapping(time, time + 60_000, ["A"] * 4 + ["B"] * 2, [True, True, True, True, False, True])
    assert kept.tolist() == [True, False, True, False, False, True]


def test_a_score_by_hand():
    time = np.array([0, HOUR, 2 * HOUR, 0])
    trading = score_positions(
        [2, 0, 2, 1], [0.01, 0.02, 0.03, np.nan], time, time + 60_000, ["A", "A", "A", "B"], cost=0.001
    )
    expected = np.array([0.009, -0.021, 0.029]) / 2
    assert trading.returns == pytest.approx(expected)
    assert trading.total_return == pytest.approx(expected.sum())
    assert trading.hit_rate == pytest.approx(2 / 3) and trading.n_positions == 3
    assert trading.sharpe == pytest.approx(expected.mean() / expected.std(ddof=1) * np.sqrt(365 * 24))


def test_hours_without_a_position_count_as_nothing_earned():
    time = np.array([0, 3 * HOUR])
    assert score_positions([2, 1], [0.01, 0.0], time, time + 1, ["A", "A"]).returns.tolist() == [
        0.01,
        0,
        0,
        0,
    ]
    idle = score_positions([1, -1], [np.nan, np.nan], time, time + 1, ["A", "A"])
    assert idle.sharpe == 0 and np.isnan(idle.hit_rate)


def test_annualisation_is_named():
    assert ANNUALISATION["hours_252"].factor == pytest.approx(np.sqrt(252 * 24))
    assert ANNUALISATION["days_252"].factor == pytest.approx(np.sqrt(252))
    with pytest.raises(UsageError, match="hours_365"):
        score_positions([2], [0.1], [0], [1], ["A"], annualisation="yearly")


def test_unknown_movements_are_not_scored():
    with pytest.raises(UsageError, match="unknown movement"):
        score_positions([2], [np.nan], [0], [1], ["A"])


def test_blocks_are_days_or_an_hour_of_minutes_over_all_symbols():
    long = np.arange(0, 12 * DAY, HOUR)
    assert time_blocks(long, 60_000).tolist() == (long // DAY).tolist()
    short = np.tile(np.arange(0, 3 * HOUR, 60_000), 2)
    blocks = time_blocks(short, 60_000)
    assert blocks.tolist() == (short // HOUR).tolist() and len(np.unique(blocks)) == 3


def test_blocks_widen_the_interval_of_a_series_that_hangs_together():
    rng = np.random.default_rng(7)
    right = np.repeat(rng.random(60) < 0.6, 60)  # an hour is all right or all wrong
    time = np.arange(3600) * 60_000
    p = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    y = np.zeros(3600, dtype=int)
    plain = bootstrap_interval(accuracy, y, p, n_replicates=400)
    blocked = bootstrap_interval(accuracy, y, p, time_blocks(time, 60_000), n_replicates=400)
    assert blocked.high - blocked.low > 4 * (plain.high - plain.low)
