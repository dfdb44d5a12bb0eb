"""Scores of decisions: by hand on a few rows, and equal to the metrics where the decision is the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.evaluation.decision_scores import coverage_curve_of, gains, score_decisions
from earmark.evaluation.intervals import bootstrap_intervals
from earmark.evaluation.metrics import METRICS, coverage_curve
from earmark.models.calibration import Temperature
from earmark.models.decision import Decision, ordinal_costs

CLASSES = ("YELLOW", "GREEN", "PURPLE")


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 90)
    p = rng.dirichlet(np.ones(3), size=90) + np.eye(3)[y]
    return y, p / 2, np.array([f"g{i // 3}" for i in range(90)])


def test_a_plain_decision_scores_as_its_probabilities_do(rows):
    y, p, groups = rows
    scores = score_decisions(y, Decision(CLASSES).decide(p), CLASSES, groups)
    expected = bootstrap_intervals(y, p, groups)
    for name, interval in scores.metrics.items():
        if name in METRICS:
            assert interval == expected[name], name
    assert scores.metrics["coverage"].value == 1
    assert scores.metrics["accuracy_decided"].value == scores.metrics["accuracy"].value
    curve, plain = coverage_curve_of(y, Decision(CLASSES).decide(p)), coverage_curve(y, p)
    np.testing.assert_allclose(curve.coverage, plain.coverage)
    np.testing.assert_allclose(curve.accuracy, plain.accuracy)


def test_scores_of_four_rows_by_hand():
    y = np.array([0, 0, 2, 1])
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.35, 0.45], [0.3, 0.3, 0.4], [0.45, 0.4, 0.15]])
    decision = Decision(CLASSES, boost=(1, 1, 2), costs=ordinal_costs(3), threshold=0.42)
    decided = decision.decide(p)
    assert decided.labels.tolist() == [0, 2, 2, 1]
    assert decided.decided.tolist() == [True, True, False, False]
    scores = score_decisions(y, decided, CLASSES, costs=decision.costs)
    found = {name: interval.value for name, interval in scores.metrics.items()}
    assert found["accuracy"] == 0.75
    assert found["coverage"] == 0.5
    assert found["accuracy_decided"] == 0.5
    assert found["ordinal_cost"] == found["cost"] == 0.5
    assert {name: recall.value for name, recall in scores.recall.items()} == {
        "YELLOW": 0.5,
        "GREEN": 1.0,
        "PURPLE": 1.0,
    }


def test_nothing_decided_has_no_accuracy(rows):
    y, p, groups = rows
    decided = Decision(CLASSES, threshold=1.0).decide(p)
    scores = score_decisions(y, decided, CLASSES, groups).to_json()
    assert scores["metrics"]["coverage"]["value"] == 0
    assert scores["metrics"]["accuracy_decided"] == {"value": None, "low": None, "high": None}
    assert "cost" not in scores["metrics"]


def test_gains_are_after_minus_before_and_zero_for_labels_that_stay(rows):
    y, p, groups = rows
    before = Decision(CLASSES).decide(p)
    after = Decision(CLASSES, Temperature(0.5, (True, True, True))).decide(p)
    found = gains(y, before, after, groups)
    assert found["accuracy"].value == found["accuracy"].low == found["accuracy"].high == 0
    expected = METRICS["log_loss"].function(y, after.probabilities) - METRICS["log_loss"].function(y, p)
    assert found["log_loss"].value == pytest.approx(float(expected))
