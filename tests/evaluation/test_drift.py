"""Drift is found where there is some, and rarely where there is none, also in series that hang together."""

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import ks_2samp

from earmark.errors import InputError, UsageError
from earmark.evaluation.drift import (
    HISTORY,
    append_history,
    assess,
    effective_size,
    feature_drift,
    latest,
    population_stability,
    read_history,
    severity,
)


def series(rng, n, n_features, memory=0.0):
    """Autoregressive noise of variance 1."""
    noise = rng.standard_normal((n + 500, n_features)) * np.sqrt(1 - memory**2)
    return lfilter([1], [1, -memory], noise, axis=0)[500:]


def names(n):
    return [f"f{i}" for i in range(n)]


@pytest.mark.parametrize("memory", [0.0, 0.95])
def test_no_drift_raises_few_alarms(memory):
    """Ten features in a hundred alarm at p < .1; corrected, an assessment should have one in ten times at most."""
    rng = np.random.default_rng(1)
    alarms = [
        any(
            row.drifted
            for row in feature_drift(series(rng, 6000, 20, memory), series(rng, 3000, 20, memory), names(20))
        )
        for _ in range(30)
    ]
    assert np.mean(alarms) <= 0.25


def test_a_test_that_takes_rows_for_independent_alarms_always():
    """Why effective sizes: the plain test on the same kind of series."""
    rng = np.random.default_rng(2)
    then, now = series(rng, 6000, 20, 0.95), series(rng, 3000, 20, 0.95)
    assert np.mean([ks_2samp(then[:, j], now[:, j]).pvalue < 0.1 for j in range(20)]) > 0.5


def test_shifted_features_are_found_and_named_first():
    rng = np.random.default_rng(3)
    then, now = series(rng, 20_000, 30, 0.5), series(rng, 5000, 30, 0.5)
    now[:, [4, 9]] += 0.5
    now[:, 20] *= 2
    rows = feature_drift(then, now, names(30))
    assert {row.feature for row in rows[:3]} == {"f4", "f9", "f20"} and all(row.drifted for row in rows[:3])
    assert sum(row.drifted for row in rows) <= 5


def test_independent_rows_give_the_plain_test():
    rng = np.random.default_rng(4)
    then, now = rng.standard_normal((4000, 1)), rng.standard_normal((2000, 1)) + 0.05
    (row,) = feature_drift(then, now, ["a"])
    plain = ks_2samp(then[:, 0], now[:, 0], method="asymp")
    assert row.statistic == pytest.approx(plain.statistic)
    assert row.p == pytest.approx(plain.pvalue, rel=0.5)


def test_effective_size_is_that_of_an_autoregressive_series():
    rng = np.random.default_rng(5)
    found = np.mean([effective_size(series(rng, 20_000, 1, 0.9)[:, 0]) for _ in range(10)])
    assert found == pytest.approx(20_000 * (1 - 0.9) / (1 + 0.9), rel=0.2)
    assert effective_size(np.ones(10)) == 1 and effective_size(np.array([])) == 0


def test_constants_missing_values_and_long_memory():
    rng = np.random.default_rng(6)
    n = 1000
    then = np.column_stack([np.ones(n), np.ones(n), np.full(n, np.nan), np.cumsum(rng.standard_normal(n))])
    now = then + np.array([0.0, 1.0, 0.0, 0.0])
    rows = {row.feature: row for row in feature_drift(then, now, ["same", "moved", "absent", "walk"])}
    assert not rows["same"].drifted and rows["moved"].drifted
    assert np.isnan(rows["absent"].p) and np.isnan(rows["walk"].p)  # too little to say anything
    assert not rows["walk"].drifted


def test_stability_index_by_hand_and_levels():
    then, now = np.r_[np.full(50, 0.1), np.full(50, 1.9)], np.r_[np.full(25, 0.1), np.full(75, 1.9)]
    assert population_stability(then, now) == pytest.approx(0.25 * np.log(1.5) + 0.25 * np.log(2))
    assert population_stability(then, then) == 0 and np.isnan(population_stability(then, []))
    levels = [(0.1, None), (0.21, 0.0), (0.31, None), (0.0, 0.03), (0.51, None), (0.0, 0.06)]
    assert [severity(*level) for level in levels] == ["low", "medium", "high", "high", "critical", "critical"]


def test_an_assessment_goes_into_the_history_and_comes_back(tmp_path):
    rng = np.random.default_rng(8)
    X = rng.standard_normal((2000, 3))
    up, even = np.tile([0.0, 0.0, 1.0], (100, 1)), np.tile([1 / 3] * 3, (100, 1))
    drift = assess(X, X + np.array([5, 0, 0]), names(3), predictions=(even, up), accuracies=(0.6, 0.5))
    assert drift.severity == "critical" and drift.accuracy_drop == pytest.approx(0.1)
    assert drift.share_drifting == pytest.approx(1 / 3)
    path = tmp_path / "drift.jsonl"
    path.write_text("{}\n" * (HISTORY + 5))
    append_history(path, drift, run="r")
    records = read_history(path)
    assert len(records) == HISTORY and records[-1]["run"] == "r"
    assert records[-1]["features"][0]["feature"] == "f0" and records[-1]["severity"] == "critical"
    path.write_text("{}\n{broken\n")
    with pytest.raises(InputError, match="Line 2"):
        read_history(path)


def test_too_little_is_said():
    assert len(latest(np.zeros((12_000, 1)))) == 10_000
    with pytest.raises(UsageError, match="4999 samples, need at least 5000"):
        latest(np.zeros((4999, 1)))
    with pytest.raises(UsageError, match="same view"):
        feature_drift(np.zeros((3, 2)), np.zeros((3, 1)), ["a"])
