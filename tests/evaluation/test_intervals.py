"""Bootstrap over groups: coverage, width, pairing, seeds, speed and the cases without an answer."""

from __future__ import annotations

import time

import numpy as np
import pytest

from earmark.errors import UsageError
from earmark.evaluation import intervals
from earmark.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    bootstrap_intervals,
    bootstrap_weights,
    paired_difference,
    per_class_intervals,
)
from earmark.evaluation.metrics import METRICS, accuracy, balanced_accuracy, log_loss, recall_per_class


def predictions(seed, n, p_right=0.7, k=3):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, k, n)
    predicted = np.where(generator.random(n) < p_right, y, (y + 1) % k)
    p = 0.7 * np.eye(k)[predicted] + 0.3 / k
    return y, p


def test_the_interval_of_accuracy_agrees_with_the_normal_approximation():
    y, p = predictions(0, 2000)
    interval = bootstrap_interval(accuracy, y, p)
    half = 1.96 * np.sqrt(interval.value * (1 - interval.value) / len(y))
    assert interval.low == pytest.approx(interval.value - half, abs=0.003)
    assert interval.high == pytest.approx(interval.value + half, abs=0.003)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    hits = sum(
        (i := bootstrap_interval(accuracy, *predictions(seed, 150), n_replicates=400)).low <= 0.7 <= i.high
        for seed in range(150)
    )
    assert 0.89 <= hits / 150 <= 0.99


def test_items_of_a_group_are_drawn_together_so_copies_add_no_certainty():
    y, p = predictions(1, 80)
    single = bootstrap_interval(accuracy, y, p)
    copies = bootstrap_interval(
        accuracy, np.repeat(y, 5), np.repeat(p, 5, axis=0), np.repeat(np.arange(80), 5)
    )
    blind = bootstrap_interval(accuracy, np.repeat(y, 5), np.repeat(p, 5, axis=0))
    assert (copies.low, copies.high) == pytest.approx((single.low, single.high))
    assert blind.high - blind.low < 0.6 * (copies.high - copies.low)


def test_weights_draw_as_many_groups_as_there_are():
    groups = np.array(["b", "a", "b", "c"])
    weights = np.concatenate(list(bootstrap_weights(groups, 500, seed=3)))
    assert weights.shape == (500, 4)
    assert np.array_equal(weights[:, 0], weights[:, 2])
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(4), abs=0.15)


def test_the_same_seed_gives_the_same_bounds_and_another_seed_others():
    y, p = predictions(2, 90)
    assert bootstrap_interval(accuracy, y, p, seed=1) == bootstrap_interval(accuracy, y, p, seed=1)
    assert bootstrap_interval(log_loss, y, p, seed=1) != bootstrap_interval(log_loss, y, p, seed=2)


def test_blocks_do_not_change_the_draws(monkeypatch):
    y, p = predictions(2, 90)
    whole = bootstrap_interval(accuracy, y, p)
    monkeypatch.setattr(intervals, "_BLOCK_WEIGHTS", 700)
    assert bootstrap_interval(accuracy, y, p) == whole


def test_all_metrics_share_their_draws():
    y, p = predictions(3, 120)
    groups = np.arange(120) // 2
    table = bootstrap_intervals(y, p, groups)
    assert set(table) == set(METRICS)
    assert table["balanced_accuracy"] == bootstrap_interval(balanced_accuracy, y, p, groups)
    for interval in table.values():
        assert interval.low <= interval.value <= interval.high


def test_per_class_scores_have_intervals():
    y, p = predictions(4, 150)
    table = per_class_intervals(y, p, ["YELLOW", "GREEN", "PURPLE"])
    for k, row in enumerate(table.values()):
        assert set(row) == {"precision", "recall", "f1"}
        assert row["recall"].value == recall_per_class(y, p)[k]
        assert row["recall"].low < row["recall"].value < row["recall"].high
    with pytest.raises(UsageError, match="YELLOW"):
        per_class_intervals(y, p, ["YELLOW"])


def test_a_pair_is_compared_draw_by_draw():
    generator = np.random.default_rng(5)
    y, weak = predictions(5, 200, p_right=0.6)
    fixed = generator.random(200) < 0.25
    strong = np.where(fixed[:, None], np.eye(3)[y], weak)
    difference = paired_difference(METRICS["accuracy"], y, strong, weak)
    assert difference.value == pytest.approx(float(accuracy(y, strong)) - float(accuracy(y, weak)))
    assert difference.is_clear and difference.share_better > 0.99
    alone = bootstrap_interval(accuracy, y, weak)
    assert difference.high - difference.low < alone.high - alone.low
    back = paired_difference(METRICS["accuracy"], y, weak, strong)
    assert back.low == pytest.approx(-difference.high) and back.share_better < 0.01


def test_lower_is_better_for_log_loss():
    y, p = predictions(6, 100, p_right=0.9)
    worse = np.full_like(p, 1 / 3)
    difference = paired_difference(METRICS["log_loss"], y, p, worse)
    assert difference.value < 0 and difference.share_better > 0.99


def test_equal_models_differ_by_nothing():
    y, p = predictions(7, 50)
    difference = paired_difference(accuracy, y, p, p)
    assert (difference.value, difference.low, difference.high, difference.share_better) == (0, 0, 0, 0.5)
    assert not difference.is_clear


@pytest.mark.parametrize("n", [0, 1, 5])
def test_fewer_than_two_groups_have_no_interval(n):
    y, p = predictions(8, n)
    interval = bootstrap_interval(accuracy, y, p, np.zeros(n))
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.to_json()["low"] is None
    assert (interval.to_json()["value"] is None) == (n == 0)


def test_wrong_arguments_are_named():
    y, p = predictions(9, 10)
    with pytest.raises(UsageError, match=r"groups have shape \(3,\)"):
        bootstrap_interval(accuracy, y, p, [1, 2, 3])
    with pytest.raises(UsageError, match=r"level is 95"):
        bootstrap_interval(accuracy, y, p, level=95)
    with pytest.raises(UsageError, match="n_replicates is 0"):
        bootstrap_interval(accuracy, y, p, n_replicates=0)


def test_an_interval_prints_as_a_reader_expects():
    assert str(Interval(0.62, 0.5249, 0.711)) == "0.620 [0.525, 0.711]"


def test_two_thousand_draws_of_every_metric_take_well_under_a_second():
    y, p = predictions(10, 500)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        bootstrap_interval(balanced_accuracy, y, p)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.3
