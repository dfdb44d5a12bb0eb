"""Baselines know only the other folds, answer every item, and are compared draw by draw."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.errors import SchemaError, UsageError
from earmark.evaluation import baselines
from earmark.evaluation.metrics import METRICS, PROBABILITY_METRICS, accuracy, balanced_accuracy

Y = np.array([0, 0, 0, 1, 1, 2])
FOLDS = np.array([0, 0, 1, 1, 2, 2])


def test_majority_answers_from_the_other_folds_only():
    y = np.array([0, 0, 0, 1, 1])
    folds = np.array([0, 0, 0, 1, 1])
    answers = baselines.majority(y, folds, 3).probabilities.argmax(axis=1)
    assert answers.tolist() == [1, 1, 1, 0, 0]


def test_majority_of_equal_shares_is_the_first_class():
    assert baselines.majority_of([2, 1, 1, 2], 3, 3).probabilities.tolist() == [[0, 1, 0]] * 3


def test_prior_gives_the_shares_of_the_other_folds():
    p = baselines.prior(Y, FOLDS, 3).probabilities
    assert p[0] == pytest.approx([1 / 4, 2 / 4, 1 / 4])
    assert p[2] == pytest.approx([2 / 4, 1 / 4, 1 / 4])
    assert p[5] == pytest.approx([3 / 4, 1 / 4, 0])
    assert baselines.prior_of(Y, 2, 4).probabilities[1] == pytest.approx([3 / 6, 2 / 6, 1 / 6, 0])


def test_an_own_label_cannot_change_an_own_prediction():
    for i in range(len(Y)):
        changed = Y.copy()
        changed[i] = (Y[i] + 1) % 3
        for make in (baselines.majority, baselines.prior):
            before, after = make(Y, FOLDS, 3).probabilities, make(changed, FOLDS, 3).probabilities
            assert np.array_equal(before[FOLDS[i] == FOLDS], after[FOLDS[i] == FOLDS])


def test_majority_has_the_balanced_accuracy_of_chance():
    y = np.random.default_rng(0).choice(3, 300, p=[0.2, 0.5, 0.3])
    p = baselines.majority(y, np.arange(300) % 5, 3).probabilities
    assert balanced_accuracy(y, p) == pytest.approx(1 / 3)
    assert accuracy(y, p) == pytest.approx(np.mean(y == 1))


def test_a_rule_answers_from_columns():
    one = baselines.rule(
        "bpm", lambda c: np.digitize(c["tempo"], [110, 128]), {"tempo": np.array([90.0, 120, 140])}, 3
    )
    assert one.probabilities.argmax(axis=1).tolist() == [0, 1, 2]
    assert not one.graded


def test_a_rule_without_its_column_names_it():
    with pytest.raises(SchemaError, match="needs the column 'tempo'"):
        baselines.rule("bpm", lambda c: c["tempo"], {"rms": np.zeros(3)}, 3)


@pytest.mark.parametrize("answer", [[0, 1], [0, 1, 3], [0, 1, -1], [0, 1, 0.5]])
def test_a_rule_that_answers_nonsense_is_refused(answer):
    with pytest.raises(UsageError, match="class positions"):
        baselines.rule("odd", lambda c: np.array(answer), {"tempo": np.zeros(3)}, 3)


def test_a_single_fold_leaves_nothing_to_learn_from():
    with pytest.raises(UsageError, match="majority_of"):
        baselines.majority(Y, np.zeros(6), 3)
    with pytest.raises(UsageError, match="no training labels"):
        baselines.prior_of([], 3, 3)
    with pytest.raises(UsageError, match="a fold for each item"):
        baselines.prior(Y, FOLDS[:3], 3)


def test_the_comparison_has_a_row_for_the_model_and_each_baseline(evaluation):
    rows = evaluation.comparison
    assert [row.name for row in rows] == [evaluation.run, "majority", "prior", "bpm-rule", "fast10"]
    assert rows[0].behind is None and set(rows[0].metrics) == set(METRICS)
    for row in rows[1:]:
        own = rows[0].metrics["balanced_accuracy"].value
        assert row.behind.value == pytest.approx(own - row.metrics["balanced_accuracy"].value)


def test_rules_are_not_scored_on_probabilities(evaluation):
    scored = {row.name: set(row.metrics) for row in evaluation.comparison}
    assert not scored["bpm-rule"] & PROBABILITY_METRICS
    assert not scored["majority"] & PROBABILITY_METRICS
    assert scored["prior"] >= PROBABILITY_METRICS and scored["fast10"] >= PROBABILITY_METRICS


def test_an_unknown_headline_is_refused():
    with pytest.raises(UsageError, match="no metric `acc`"):
        baselines.compare(np.eye(3)[Y], [], Y, headline="acc")
