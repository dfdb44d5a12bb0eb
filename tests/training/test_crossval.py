"""Nothing is learned outside the fold, and a killed cross-validation goes on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_tables import METRICS, accuracy, make_dataset

from earmark.errors import SealError, UsageError
from earmark.models.classifier import Classifier
from earmark.training.crossval import cross_validate
from earmark.training.fit import final_length, fit_final
from earmark.training.folds import balanced_folds, inner_split, regrouped
from earmark.training.weights import balanced_weights

CLASSES = ("YELLOW", "GREEN", "PURPLE")


def maker(name="logistic", preprocess=None, **params):
    return lambda: Classifier.make(name, classes=CLASSES, preprocess=preprocess, **params)


def test_every_row_is_predicted_by_a_model_that_did_not_see_its_fold():
    dataset = make_dataset()
    out = cross_validate(maker(), dataset)
    assert out.probabilities.shape == (60, 3) and out.names == (0, 1, 2, 3)
    for name, classifier in zip(out.names, out.classifiers, strict=True):
        rows = dataset.folds == name
        np.testing.assert_array_equal(
            classifier.predict_proba(dataset.X[rows], dataset.columns), out.probabilities[rows]
        )
    assert accuracy(dataset.y, out.probabilities) > 0.6
    assert np.mean(out.fold_scores(dataset.y, accuracy)) == pytest.approx(
        accuracy(dataset.y, out.probabilities), abs=0.05
    )


@pytest.mark.parametrize("name", ["logistic", "xgboost", "random_forest"])
def test_the_held_out_rows_reach_nothing_that_is_fitted(name):
    """Poison a fold's rows and labels: its own model must not move by a bit."""
    dataset = make_dataset()
    inside = dataset.folds == 2
    X, y = dataset.X.copy(), dataset.y.copy()
    X[inside], y[inside] = 1e6 * y[inside, None], (y[inside] + 1) % 3
    make = maker(name, {"top_k": 4}, **({"n_trees": 10} if name != "logistic" else {}))
    clean = cross_validate(make, dataset, class_weight="balanced").classifiers[2]
    poisoned = cross_validate(make, replace(dataset, X=X, y=y), class_weight="balanced").classifiers[2]
    assert clean.preprocess.to_json() == poisoned.preprocess.to_json()
    np.testing.assert_array_equal(
        clean.predict_proba(dataset.X, dataset.columns), poisoned.predict_proba(dataset.X, dataset.columns)
    )


@pytest.mark.parametrize(
    ("name", "params"), [("logistic", {}), ("xgboost", {"n_trees": 25, "early_stopping_rounds": 5})]
)
def test_random_labels_score_at_chance(name, params):
    """Selection, scaling and early stopping on many noise columns: a leak of any would lift this above a
    third.
    """
    scores = []
    for seed in range(4):
        dataset = make_dataset(120, 200, shift=0.0, seed=seed)
        scores.append(
            accuracy(dataset.y, cross_validate(maker(name, {"top_k": 10}, **params), dataset).probabilities)
        )
    # 480 rows: the standard deviation of chance is 0.022, somewhat more for pairs.
    assert abs(np.mean(scores) - 1 / 3) < 0.09


def test_random_labels_would_score_far_above_chance_with_selection_outside_the_fold():
    """The bound of the test above has power: the classic leak breaks it."""
    from earmark.models.preprocess import Preprocess

    scores = []
    for seed in range(4):
        dataset = make_dataset(120, 200, shift=0.0, seed=seed)
        chosen = Preprocess(top_k=10).fit(dataset.X, dataset.columns, dataset.y).kept
        scores.append(accuracy(dataset.y, cross_validate(maker(), dataset.select(chosen)).probabilities))
    assert np.mean(scores) - 1 / 3 > 0.09


def test_early_stopping_looks_at_rows_of_other_groups_of_the_training_part(monkeypatch):
    from earmark.models.xgboost import XGBoost

    seen = []
    original = XGBoost.fit

    def spy(self, X, y, **options):
        seen.append((X, options["validation"]))
        return original(self, X, y, **options)

    monkeypatch.setattr(XGBoost, "fit", spy)
    dataset = make_dataset()
    cross_validate(maker("xgboost", {"standardise": False}, n_trees=3), dataset)
    group_of = {row.tobytes(): group for row, group in zip(dataset.X, dataset.groups, strict=True)}
    for name, (X, validation) in zip(range(4), seen, strict=True):
        fitted = {group_of[row.tobytes()] for row in X}
        held = {group_of[row.tobytes()] for row in validation[0]}
        outer = set(dataset.groups[dataset.folds == name])
        assert held and not held & fitted and not outer & (held | fitted)
        assert set(validation[1]) == {0, 1, 2}


def test_an_estimator_that_does_not_stop_early_gets_the_whole_training_part(monkeypatch):
    from earmark.models.linear import Logistic

    sizes = []
    original = Logistic.fit
    monkeypatch.setattr(
        Logistic, "fit", lambda self, X, y, **o: (sizes.append(len(y)), original(self, X, y, **o))[1]
    )
    dataset = make_dataset()
    cross_validate(maker(), dataset)
    assert sizes == [int((dataset.folds != fold).sum()) for fold in range(4)]


def test_cross_validation_repeats_bit_for_bit():
    first, second = (
        cross_validate(maker("xgboost", n_trees=10), make_dataset()).probabilities for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


def test_purged_rows_train_in_no_fold_that_names_them(monkeypatch):
    from earmark.models.linear import Logistic

    sizes = []
    original = Logistic.fit
    monkeypatch.setattr(
        Logistic, "fit", lambda self, X, y, **o: (sizes.append(len(y)), original(self, X, y, **o))[1]
    )
    dataset = make_dataset()
    purged = np.flatnonzero(dataset.folds == 1)[:4]
    gaps = tuple(frozenset({0}) if i in purged else frozenset() for i in range(60))
    cross_validate(maker(), make_dataset(gaps=gaps))
    assert sizes[0] == (dataset.folds != 0).sum() - 4 and sizes[2] == (dataset.folds != 2).sum()
    with pytest.raises(UsageError, match="purged"):
        regrouped(make_dataset(gaps=gaps), 3, seed=0)


def test_a_group_in_two_folds_is_refused():
    folds = make_dataset().folds.copy()
    folds[0] = (folds[1] + 1) % 4
    with pytest.raises(UsageError, match="`artist-0` is in more than one fold"):
        cross_validate(maker(), make_dataset(folds=folds))


def test_one_fold_is_no_cross_validation():
    with pytest.raises(UsageError, match="has 1 fold"):
        cross_validate(maker(), make_dataset(folds=np.zeros(60, int)))


def test_test_rows_are_refused():
    dataset = make_dataset(folds=np.full(60, -1), split="test")
    with pytest.raises(SealError, match="60 of 60 rows"):
        cross_validate(maker(), dataset)
    with pytest.raises(SealError, match="test split of 60 rows"):
        fit_final(maker(), dataset)


def test_finished_folds_are_not_fitted_again(tmp_path, monkeypatch):
    dataset, make = make_dataset(), maker("xgboost", n_trees=8)
    whole = cross_validate(make, dataset)

    class Killed(BaseException):
        pass

    def stop(event):
        if event["event"] == "fold" and event["stage"] == "fold-1":
            raise Killed

    with pytest.raises(Killed):
        cross_validate(make, dataset, work=tmp_path, on_event=stop)
    resumed = cross_validate(make, dataset, work=tmp_path)
    assert resumed.reused == (True, True, False, False)
    np.testing.assert_array_equal(resumed.probabilities, whole.probabilities)
    assert resumed.histories == whole.histories and resumed.lengths == whole.lengths
    for one, two in zip(resumed.classifiers, whole.classifiers, strict=True):
        np.testing.assert_array_equal(
            one.predict_proba(dataset.X, dataset.columns), two.predict_proba(dataset.X, dataset.columns)
        )


@pytest.mark.parametrize(
    "change",
    [
        {"params": {"n_trees": 9}},
        {"seed": 7},
        {"class_weight": "balanced"},
        {"data": 1},
        {"validation_fraction": 0.3},
    ],
    ids=str,
)
def test_folds_of_another_training_are_not_believed(change, tmp_path):
    cross_validate(maker("xgboost", n_trees=8), make_dataset(), work=tmp_path)
    options = {key: value for key, value in change.items() if key not in ("params", "data")}
    out = cross_validate(
        maker("xgboost", **({"n_trees": 8} | change.get("params", {}))),
        make_dataset(seed=change.get("data", 0)),
        work=tmp_path,
        **options,
    )
    assert not any(out.reused)


def test_balanced_weights_give_each_class_the_same_total():
    y = np.array([0, 0, 0, 2, 2, 0])
    weights = balanced_weights(y)
    assert weights[y == 0].sum() == pytest.approx(weights[y == 2].sum()) == pytest.approx(3)


def test_class_weights_lift_a_rare_class():
    dataset = make_dataset(120, shift=0.6)
    rows = np.flatnonzero((dataset.y != 2) | (np.arange(120) % 12 == 4))
    rare = dataset.take(rows)
    plain, weighted = (
        cross_validate(maker(), rare, class_weight=w).probabilities[:, 2].mean() for w in (None, "balanced")
    )
    assert weighted > 1.5 * plain
    with pytest.raises(UsageError, match="class_weight"):
        cross_validate(maker(), rare, class_weight="equal")


def test_the_final_fit_uses_all_rows_for_the_median_length():
    assert final_length([3, None, 8]) == 6 and final_length([None]) is None
    dataset = make_dataset()
    events = []
    model = fit_final(maker("xgboost"), dataset, length=7, on_event=events.append)
    assert model.estimator.length == 7
    assert [event["epoch"] for event in events] == list(range(7)) and events[0]["stage"] == "final"


def test_folds_are_even_and_keep_groups_together():
    generator = np.random.default_rng(3)
    groups = generator.integers(0, 40, 200).astype(str)
    y = generator.choice(3, 200, p=[0.6, 0.3, 0.1])
    folds = balanced_folds(y, groups, 5, seed=0)
    for group in set(groups):
        assert len(set(folds[groups == group])) == 1
    counts = np.array([[np.sum((folds == f) & (y == c)) for c in range(3)] for f in range(5)])
    assert (np.abs(counts - counts.mean(axis=0)).max(axis=0) <= [6, 4, 3]).all()
    np.testing.assert_array_equal(folds, balanced_folds(y, groups, 5, seed=0))
    assert (folds != balanced_folds(y, groups, 5, seed=1)).any()


def test_inner_splits_leave_every_class_to_train_on():
    y, groups = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array(list("abcdefgg"))
    training, held = inner_split(y, groups, 0.25, seed=0)
    assert set(y[training]) == {0, 1, 2} and len(held) and sorted([*training, *held]) == list(range(8))
    assert len(inner_split(y, groups, 0.0, seed=0)[1]) == 0
    assert len(inner_split(y, np.full(8, "one"), 0.25, seed=0)[1]) == 0
    with pytest.raises(UsageError, match="0 to 0.5"):
        inner_split(y, groups, 0.9, seed=0)


def test_metrics_of_the_tests_are_of_both_directions():
    assert {metric.direction for metric in METRICS.values()} == {"higher", "lower"}
