"""Operating points: exact against brute force, honest by construction, and closed to sealed rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.data.dataset import Dataset
from earmark.errors import SealError, UsageError
from earmark.evaluation.metrics import METRICS
from earmark.models.decision import Decision, ordinal_costs, zero_one_costs
from earmark.training.operating_points import (
    boost_for_recall,
    operating_points,
    threshold_for_accuracy,
    threshold_for_coverage,
)
from earmark.training.thresholds import Rows, Wanted, choose

CLASSES = ("YELLOW", "GREEN", "PURPLE")


def made_rows(n=400, sharpness=3.0, n_folds=5, seed=0, prior=(1.0, 1.0, 1.0), **changes):
    """Labels drawn from true probabilities q; the model says q^sharpness, scaled: 1 is calibrated."""
    rng = np.random.default_rng(seed)
    q = rng.dirichlet(prior, size=n)
    y = (rng.random((n, 1)) > np.cumsum(q, axis=1)).sum(axis=1)
    p = q**sharpness
    groups = np.array([f"group {i // 4}" for i in range(n)])
    fold = (np.arange(n) // 4) % n_folds
    return replace(Rows(CLASSES, p / p.sum(axis=1, keepdims=True), y, fold, groups), **changes)


def score(name, rows, probabilities):
    return float(METRICS[name].function(rows.y, probabilities))


# Calibration


def test_calibration_error_falls_on_rows_that_took_no_part_in_the_choice():
    rows = made_rows()
    chosen = choose(rows, Wanted())
    assert chosen.decision.calibrator.method == "temperature"
    assert min(chosen.losses, key=chosen.losses.get) == "temperature"
    before, after = score("ece", rows, rows.p), score("ece", rows, chosen.nested.probabilities)
    assert before > 0.12 and after < before / 2
    assert score("log_loss", rows, chosen.nested.probabilities) < score("log_loss", rows, rows.p) - 0.1


def test_a_calibrated_model_is_left_alone():
    rows = made_rows(sharpness=1.0, n=2000)
    chosen = choose(rows, Wanted())
    assert abs(score("ece", rows, chosen.nested.probabilities) - score("ece", rows, rows.p)) < 0.02
    np.testing.assert_array_equal(chosen.same_rows.labels, rows.p.argmax(axis=1))


@pytest.mark.parametrize("wanted", [Wanted(), Wanted("isotonic", coverage=0.7, recall={"PURPLE": 0.8})])
def test_a_fold_has_no_part_in_the_decision_that_it_is_scored_with(wanted):
    rows = made_rows(n=200)
    scrambled = rows.y.copy()
    scrambled[rows.fold == 2] = np.random.default_rng(1).permutation(scrambled[rows.fold == 2])
    first, second = choose(rows, wanted), choose(replace(rows, y=scrambled), wanted)
    assert first.fold_decisions[2] == second.fold_decisions[2]
    assert first.fold_decisions[1] != second.fold_decisions[1]
    here = rows.fold == 2
    alone = first.fold_decisions[2].decide(rows.p[here])
    np.testing.assert_array_equal(first.nested.labels[here], alone.labels)
    np.testing.assert_array_equal(first.nested.confidence[here], alone.confidence)


def test_the_same_rows_give_the_same_choice():
    wanted = Wanted(coverage=0.8, recall={"GREEN": 0.7})
    first, second = (choose(made_rows(n=150), wanted) for _ in range(2))
    assert (first.decision, first.fold_decisions) == (second.decision, second.fold_decisions)


def test_two_folds_or_one_group_are_enough_for_some_answer():
    two = choose(made_rows(n=80, n_folds=2), Wanted())
    assert set(two.fold_decisions) == {0, 1} and two.losses
    rows = made_rows(n=80, n_folds=2)
    one_group_each = replace(rows, groups=np.array([f"group {f}" for f in rows.fold]))
    chosen = choose(one_group_each, Wanted())
    assert {decision.calibrator.method for decision in chosen.fold_decisions.values()} == {"none"}
    with pytest.raises(UsageError, match="1 fold"):
        choose(made_rows(n=40, n_folds=1), Wanted())


# Thresholds


POINTS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.2, 0.4, 0.5, 0.6, 0.9, 1.0])), min_size=1, max_size=25
)


@given(POINTS)
def test_the_curve_rises_in_coverage_and_is_what_each_threshold_gives(rows):
    correct, confidence = map(np.array, zip(*rows, strict=True))
    points = operating_points(correct, confidence)
    assert (np.diff(points.coverage) > 0).all() and points.coverage[-1] == 1
    assert (np.diff(points.threshold) < 0).all()
    for t, coverage, accuracy, n in zip(
        points.threshold, points.coverage, points.accuracy, points.n, strict=True
    ):
        kept = confidence >= t
        assert (coverage, n) == (kept.mean(), kept.sum())
        assert accuracy == pytest.approx(correct[kept].mean())


@given(POINTS, st.floats(0.01, 1))
def test_thresholds_are_the_highest_for_a_coverage_and_the_lowest_for_an_accuracy(rows, share):
    correct, confidence = map(np.array, zip(*rows, strict=True))
    points = operating_points(correct, confidence)
    candidates = sorted({0.0, *confidence.tolist()})
    covering = [t for t in candidates if (confidence >= t).mean() >= share - 1e-9]
    found = threshold_for_coverage(points, share)
    assert ((confidence >= found.value) == (confidence >= max(covering))).all()
    accurate = [t for t in candidates if (kept := confidence >= t).any() and correct[kept].mean() >= share]
    found = threshold_for_accuracy(points, share, min_decided=1)
    assert found.reached == bool(accurate)
    if accurate:
        assert ((confidence >= found.value) == (confidence >= min(accurate))).all()


def test_the_curve_without_rows_is_empty():
    assert operating_points([], []).coverage.shape == (0,)


def test_a_wanted_coverage_is_kept_and_holds_about_on_other_rows():
    rows = made_rows()
    chosen = choose(rows, Wanted(coverage=0.8))
    assert 0.8 <= chosen.same_rows.decided.mean() < 0.81
    assert 0.7 < chosen.nested.decided.mean() < 0.9
    right = chosen.nested.labels == rows.y
    assert right[chosen.nested.decided].mean() > right.mean()
    everything = choose(rows, Wanted(coverage=1.0))
    assert everything.decision.threshold == 0


def test_a_wanted_accuracy_is_reached_by_deciding_less_or_the_error_says_what_is():
    rows = made_rows()
    chosen = choose(rows, Wanted(accuracy=0.8))
    decided = chosen.same_rows.decided
    assert (chosen.same_rows.labels == rows.y)[decided].mean() >= 0.8
    assert 10 <= decided.sum() < len(rows.y)
    assert choose(rows, Wanted(accuracy=0.3)).decision.threshold == 0
    chance = replace(rows, y=np.random.default_rng(5).permutation(rows.y))
    with pytest.raises(
        UsageError, match=r"accuracy of 0.95 is not reached .* the highest is 0\.\d+, deciding"
    ):
        choose(chance, Wanted(accuracy=0.95))


# Boosts


@settings(deadline=None)
@given(
    st.integers(0, 10_000),
    st.floats(0.05, 1.0),
    st.integers(0, 2),
    st.sampled_from([zero_one_costs(3), ordinal_costs(3), ((0, 1, 9), (2, 0, 1), (5, 3, 0))]),
)
def test_the_boost_is_the_least_that_reaches_the_recall(seed, recall, label, costs):
    rng = np.random.default_rng(seed)
    p, y = rng.dirichlet(np.ones(3), size=40), rng.integers(0, 3, 40)

    def recall_at(boost):
        boosts = tuple(boost if k == label else 1.0 for k in range(3))
        labels = Decision(CLASSES, costs=costs, boost=boosts).decide(p).labels
        return (labels == label)[y == label].mean()

    found = boost_for_recall(p, costs, y, label, recall)
    assert found.reached
    assert recall_at(found.value) == pytest.approx(found.achieved)
    assert recall_at(found.value) >= recall - 1e-9
    if found.value > 1:
        assert recall_at(max(found.value - 2e-4, 1.0)) < recall or found.value <= 1.0002


def test_a_wanted_recall_is_reached_at_a_cost_to_the_others():
    rows = made_rows(prior=(1.0, 2.0, 0.7))
    plain = Decision(CLASSES).decide(rows.p)
    chosen = choose(rows, Wanted(recall={"PURPLE": 0.85}))

    def recalls(decided):
        return [float((decided.labels == k)[rows.y == k].mean()) for k in range(3)]

    before, after = recalls(plain), recalls(chosen.same_rows)
    assert before[2] < 0.85 <= after[2]
    assert after[1] < before[1]
    assert chosen.decision.boost[:2] == (1, 1) and chosen.decision.boost[2] > 1
    assert recalls(chosen.nested)[2] > before[2]


def test_recalls_of_several_classes_are_met_together_or_refused_together():
    rows = made_rows(n=300)
    plain = [float((rows.p.argmax(axis=1) == k)[rows.y == k].mean()) for k in range(3)]
    chosen = choose(rows, Wanted(recall={"PURPLE": plain[2] + 0.06, "YELLOW": plain[0] + 0.02}))
    for k, least in ((2, plain[2] + 0.06), (0, plain[0] + 0.02)):
        assert (chosen.same_rows.labels == k)[rows.y == k].mean() >= least
    with pytest.raises(UsageError, match=r"YELLOW 0.95, GREEN 0.95, PURPLE 0.95 is not reached"):
        choose(rows, Wanted(recall=dict.fromkeys(CLASSES, 0.95)))


def test_rows_that_a_model_rules_out_cannot_be_boosted():
    rows = made_rows(n=60)
    p = np.where(np.arange(3) == 2, 0.0, rows.p)
    with pytest.raises(UsageError, match=r"PURPLE 0.5 is not reached .* PURPLE 0.000"):
        choose(replace(rows, p=p / p.sum(axis=1, keepdims=True)), Wanted("none", recall={"PURPLE": 0.5}))


# Costs


def test_costs_by_name():
    rows = made_rows(prior=(1.0, 4.0, 1.0))
    counts = np.bincount(rows.y)
    assert choose(rows, Wanted(cost="ordinal")).decision.costs == ordinal_costs(3)
    assert choose(rows, Wanted("isotonic")).decision.costs == zero_one_costs(3)
    balanced = np.array(choose(rows, Wanted(cost="balanced")).decision.costs)
    np.testing.assert_allclose(balanced, (len(rows.y) / (3 * counts))[:, None] * (1 - np.eye(3)))
    both = np.array(choose(rows, Wanted(cost="balanced-ordinal")).decision.costs)
    assert both[0, 2] == pytest.approx(2 * balanced[0, 2])
    given_costs = ((0.0, 1.0, 7.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0))
    assert choose(rows, Wanted(cost=given_costs)).decision.costs == given_costs


def test_a_training_that_weighed_its_classes_keeps_that_meaning():
    """Isotonic calibration brings real frequencies back, so equal costs would forget the small classes."""
    rows = made_rows(n=900, prior=(1.0, 4.0, 1.0), sharpness=1.0)
    weight = len(rows.y) / np.bincount(rows.y)
    p = rows.p * weight
    weighed = replace(rows, p=p / p.sum(axis=1, keepdims=True), class_weight="balanced")
    trained, auto, equal = (
        score("balanced_accuracy", rows, np.eye(3)[labels])
        for labels in (
            weighed.p.argmax(axis=1),
            choose(weighed, Wanted("isotonic")).nested.labels,
            choose(weighed, Wanted("isotonic", cost="none")).nested.labels,
        )
    )
    assert abs(auto - trained) < 0.05 < trained - equal
    assert choose(weighed, Wanted("temperature")).decision.costs == zero_one_costs(3)
    assert "on top" in choose(weighed, Wanted("temperature", cost="balanced")).warnings[0]
    assert not choose(weighed, Wanted("isotonic", cost="balanced")).warnings


# Refusals


def dataset(rows, split="train", folds=None):
    n = len(rows.y)
    return Dataset(
        ids=tuple(f"{i:04d}" for i in range(n)),
        columns=(),
        X=np.empty((n, 0), np.float32),
        y=rows.y,
        classes=CLASSES,
        groups=rows.groups,
        folds=rows.fold if folds is None else folds,
        split=split,
    )


def test_only_training_rows_choose():
    rows = made_rows(n=60)
    same = choose(Rows.from_dataset(dataset(rows), rows.p), Wanted())
    assert same.decision == choose(rows, Wanted()).decision
    with pytest.raises(SealError, match="60 rows of the test set"):
        Rows.from_dataset(dataset(rows, split="test"), rows.p)
    with pytest.raises(SealError, match="negative fold"):
        Rows.from_dataset(dataset(rows, folds=np.full(60, -1)), rows.p)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"calibration": "izotonic"}, "did you mean `isotonic`"),
        ({"cost": "ordnal"}, "did you mean `ordinal`"),
        ({"coverage": 0.0}, "coverage is 0.0"),
        ({"accuracy": 1.2}, "accuracy is 1.2"),
        ({"recall": {"PURPLE": -1}}, "recall of PURPLE is -1"),
        ({"coverage": 0.9, "accuracy": 0.9}, "only one of them"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(wanted, words):
    with pytest.raises(UsageError, match=words):
        Wanted(**wanted)


def test_an_unknown_class_is_refused_with_the_likely_one():
    with pytest.raises(UsageError, match=r"PURPEL \(did you mean `PURPLE`"):
        choose(made_rows(n=40), Wanted(recall={"PURPEL": 0.5}))
