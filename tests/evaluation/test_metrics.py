"""Metrics against scikit-learn and small cases by hand, and properties swept over the whole family."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as oracle

from earmark.errors import UsageError
from earmark.evaluation import metrics
from earmark.evaluation.metrics import METRICS, evaluate_all

CLASSES = ("YELLOW", "GREEN", "PURPLE")
TABLE_FUNCTIONS = {
    "confusion_matrix": metrics.confusion_matrix,
    "recall_per_class": metrics.recall_per_class,
    "precision_per_class": metrics.precision_per_class,
    "f1_per_class": metrics.f1_per_class,
}
ALL_FUNCTIONS = TABLE_FUNCTIONS | {name: metric.function for name, metric in METRICS.items()}


def random_case(seed, n=120, k=3):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, k, n)
    p = generator.dirichlet(np.ones(k), n)
    p[np.arange(n), y] += 0.4
    return y, p / p.sum(axis=1, keepdims=True)


@st.composite
def cases(draw, max_items=30):
    k = draw(st.integers(2, 5))
    n = draw(st.integers(1, max_items))
    y = draw(hnp.arrays(np.int64, n, elements=st.integers(0, k - 1)))
    raw = draw(hnp.arrays(np.float64, (n, k), elements=st.sampled_from([0.1, 0.2, 0.5, 1.0, 3.0])))
    weights = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 3)))
    return y, raw / raw.sum(axis=1, keepdims=True), weights


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [2, 3, 6])
def test_agrees_with_scikit_learn(seed, k):
    y, p = random_case(seed, k=k)
    predicted = p.argmax(axis=1)
    expected = {
        "accuracy": oracle.accuracy_score(y, predicted),
        "balanced_accuracy": oracle.balanced_accuracy_score(y, predicted),
        "macro_f1": oracle.f1_score(y, predicted, average="macro"),
        "weighted_f1": oracle.f1_score(y, predicted, average="weighted"),
        "macro_precision": oracle.precision_score(y, predicted, average="macro"),
        "mcc": oracle.matthews_corrcoef(y, predicted),
        "quadratic_kappa": oracle.cohen_kappa_score(y, predicted, weights="quadratic"),
        "log_loss": oracle.log_loss(y, p, labels=range(k)),
        "brier": ((np.eye(k)[y] - p) ** 2).sum(axis=1).mean(),
    }
    for name, value in expected.items():
        assert float(METRICS[name].function(y, p)) == pytest.approx(value, abs=1e-12), name
    assert np.array_equal(
        metrics.confusion_matrix(y, p), oracle.confusion_matrix(y, predicted, labels=range(k))
    )
    for function, score in [
        (metrics.precision_per_class, oracle.precision_score),
        (metrics.recall_per_class, oracle.recall_score),
        (metrics.f1_per_class, oracle.f1_score),
    ]:
        assert np.allclose(
            function(y, p), score(y, predicted, average=None, labels=range(k), zero_division=np.nan)
        )


def test_weights_agree_with_scikit_learn():
    y, p = random_case(7)
    weights = np.random.default_rng(0).uniform(0, 2, len(y))
    predicted = p.argmax(axis=1)
    assert metrics.accuracy(y, p, weights=weights) == pytest.approx(
        oracle.accuracy_score(y, predicted, sample_weight=weights)
    )
    assert metrics.quadratic_kappa(y, p, weights=weights) == pytest.approx(
        oracle.cohen_kappa_score(y, predicted, weights="quadratic", sample_weight=weights)
    )
    assert metrics.log_loss(y, p, weights=weights) == pytest.approx(
        oracle.log_loss(y, p, sample_weight=weights)
    )


def test_ordinal_cost_counts_two_between_the_ends():
    y = np.array([0, 2, 0, 1])
    p = np.eye(3)[[2, 0, 1, 1]]
    assert metrics.ordinal_cost(y, p) == pytest.approx((2 + 2 + 1 + 0) / 4)
    only_yellow_as_purple = np.array([[0, 0, 5], [0, 0, 0], [0, 0, 0]])
    assert metrics.ordinal_cost(y, p, cost=only_yellow_as_purple) == pytest.approx(5 / 4)


@pytest.mark.parametrize("cost", [np.zeros((2, 2)), -np.ones((3, 3)), np.full((3, 3), np.nan)])
def test_a_wrong_cost_matrix_is_refused(cost):
    with pytest.raises(UsageError, match="cost matrix"):
        metrics.ordinal_cost(*random_case(0), cost=cost)


def test_ece_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.55, 0.45], [0.45, 0.55]])
    y = np.array([0, 1, 0, 0])  # bin 0.9: conf 0.9, accuracy 0.5; bin 0.5: conf 0.55, accuracy 0.5
    assert metrics.ece(y, p) == pytest.approx(0.5 * 0.4 + 0.5 * 0.05)
    bins = metrics.reliability_bins(y, p)
    assert bins.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert bins.accuracy[9] == 0.5 and np.isnan(bins.accuracy[0])
    assert bins.edges[[0, -1]].tolist() == [0, 1]


def test_ece_of_a_calibrated_model_falls_with_the_number_of_items():
    generator = np.random.default_rng(1)
    p = generator.dirichlet(np.ones(3), 100_000)
    y = (generator.random(100_000)[:, None] > p.cumsum(axis=1)).sum(axis=1)
    assert metrics.ece(y, p) < 0.01
    assert metrics.ece(y[:100], p[:100]) > metrics.ece(y, p)


def test_coverage_curve_by_hand():
    p = np.array([[0.95, 0.05], [0.8, 0.2], [0.8, 0.2], [0.6, 0.4]])
    y = np.array([0, 0, 1, 1])
    curve = metrics.coverage_curve(y, p)
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.accuracy == pytest.approx([1, 2 / 3, 1 / 2])
    assert curve.threshold.tolist() == [0.95, 0.8, 0.6]
    assert metrics.selective_accuracy(y, p) == pytest.approx((1 + 2 / 3 + 2 / 3 + 1 / 2) / 4)


def test_a_model_that_knows_when_it_errs_has_high_selective_accuracy():
    y = np.zeros(100, dtype=int)
    right = np.arange(100) < 60
    confidence = np.linspace(0.99, 0.55, 100)
    knows = np.where(right[:, None], np.c_[confidence, 1 - confidence], np.c_[1 - confidence, confidence])
    blind = np.where(
        right[::-1][:, None], np.c_[confidence, 1 - confidence], np.c_[1 - confidence, confidence]
    )
    assert metrics.accuracy(y, knows) == metrics.accuracy(y, blind) == 0.6
    assert metrics.selective_accuracy(y, knows) > 0.85
    assert metrics.selective_accuracy(y, blind) < 0.35


@settings(max_examples=80, deadline=None)
@given(cases())
def test_a_weight_is_an_item_repeated(case):
    y, p, weights = case
    for name, function in ALL_FUNCTIONS.items():
        repeated = function(np.repeat(y, weights), np.repeat(p, weights, axis=0))
        assert np.allclose(function(y, p, weights=weights), repeated, equal_nan=True), name


@settings(max_examples=60, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter(case, random):
    y, p, _ = case
    order = list(range(len(y)))
    random.shuffle(order)
    for name, function in ALL_FUNCTIONS.items():
        assert np.allclose(function(y, p), function(y[order], p[order]), equal_nan=True), name


@settings(max_examples=60, deadline=None)
@given(cases())
def test_scores_stay_in_their_range(case):
    y, p, _ = case
    k = p.shape[1]
    top = {"ordinal_cost": k - 1, "brier": 2.0, "log_loss": 36.1}
    for name, metric in METRICS.items():
        value = float(metric.function(y, p))
        low = -1.0 if name in ("quadratic_kappa", "mcc") else 0.0
        assert np.isnan(value) or low - 1e-12 <= value <= top.get(name, 1.0) + 1e-12, name


@pytest.mark.parametrize("name", METRICS)
def test_perfect_predictions_score_best(name):
    y, _ = random_case(3)
    metric = METRICS[name]
    best = 1.0 if metric.direction == "higher" else 0.0
    assert metric.function(y, np.eye(3)[y]) == pytest.approx(best, abs=1e-12)
    assert (metric.function(*random_case(3)) < best) == (metric.direction == "higher")


@pytest.mark.parametrize("name", ALL_FUNCTIONS)
def test_replicates_are_scored_at_once(name):
    y, p = random_case(5)
    weights = np.random.default_rng(2).integers(0, 3, (6, len(y)))
    at_once = ALL_FUNCTIONS[name](y, p, weights=weights)
    one_by_one = np.stack([ALL_FUNCTIONS[name](y, p, weights=row) for row in weights])
    assert np.allclose(at_once, one_by_one)


@pytest.mark.parametrize("name", METRICS)
def test_nothing_to_score_is_undefined(name):
    function = METRICS[name].function
    assert np.isnan(function(np.array([], dtype=int), np.empty((0, 3))))
    assert np.isnan(function(*random_case(1, n=4), weights=np.zeros(4)))


def test_one_class_in_the_truth():
    y = np.array([1, 1, 1, 1])
    p = np.eye(3)[[1, 1, 1, 0]]
    assert metrics.balanced_accuracy(y, p) == 0.75
    assert metrics.macro_f1(y, p) == pytest.approx((2 * 3 / 7 + 0) / 2)
    assert np.isnan(metrics.recall_per_class(y, p)).tolist() == [True, False, True]
    assert np.isnan(metrics.precision_per_class(y, p)).tolist() == [False, False, True]
    assert np.isnan(metrics.quadratic_kappa(y, np.eye(3)[y]))


def test_ties_go_to_the_first_class():
    assert metrics.confusion_matrix([1], [[0.5, 0.5]]).tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("y", "p", "weights", "words"),
    [
        ([[0]], [[1.0, 0.0]], None, "y has shape"),
        ([0.5], [[1.0, 0.0]], None, "y has type float64"),
        ([0], [1.0, 0.0], None, "p has shape"),
        ([0, 1], [[1.0, 0.0]], None, "2 items and p has 1 rows"),
        ([2], [[1.0, 0.0]], None, "y runs from 2 to 2, expected 0 to 1"),
        ([-1], [[1.0, 0.0]], None, "y runs from -1"),
        ([0], [[np.nan, 1.0]], None, "1 values that are not finite"),
        ([0], [[1.5, -0.5]], None, "p runs from -0.5 to 1.5"),
        ([0], [[0.6, 0.6]], None, "row 0 of p sums to 1.2"),
        ([0], [[1.0, 0.0]], [1.0, 1.0], "weights have shape"),
        ([0], [[1.0, 0.0]], [-1.0], "not negative"),
    ],
)
@pytest.mark.parametrize("name", ALL_FUNCTIONS)
def test_every_metric_validates_first(name, y, p, weights, words):
    with pytest.raises(UsageError, match=words):
        ALL_FUNCTIONS[name](y, p, weights=weights)


def test_evaluate_all_returns_everything():
    y, p = random_case(9)
    result = evaluate_all(y, p, CLASSES)
    assert result["n"] == len(y)
    assert set(result["metrics"]) == set(METRICS)
    assert list(result["per_class"]) == list(CLASSES)
    assert sum(row["support"] for row in result["per_class"].values()) == len(y)
    assert np.array_equal(result["confusion"], metrics.confusion_matrix(y, p))
    with pytest.raises(UsageError, match="expected one for each of YELLOW, GREEN"):
        evaluate_all(y, p, CLASSES[:2])


def test_evaluate_all_of_nothing():
    result = evaluate_all(np.array([], dtype=int), np.empty((0, 3)), CLASSES)
    assert result["n"] == 0
    assert all(np.isnan(value) for value in result["metrics"].values())
    assert result["per_class"]["GREEN"]["support"] == 0
