"""Permutation importance finds what the model uses on new rows, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.errors import SchemaError, UsageError
from earmark.evaluation import importance
from earmark.evaluation.importance import by_group, permutation_importance
from earmark.models.classifier import Classifier

COLUMNS = ("a.signal", "a.copy", "b.noise", "b.weak", "c.row_number")


@pytest.fixture(scope="module")
def case():
    generator = np.random.default_rng(0)
    n = 240
    y = generator.integers(0, 3, n)
    signal = y + generator.normal(0, 0.3, n)
    X = np.c_[signal, signal, generator.normal(size=n), y + generator.normal(0, 2.0, n), np.arange(n)].astype(
        np.float32
    )
    folds = np.arange(n) % 4
    return X, y, folds


def fit(X, y, folds, columns=COLUMNS):
    return {
        fold: Classifier.make("xgboost", classes=("p", "q", "r"), n_trees=30, max_depth=3).fit(
            X[folds != fold], y[folds != fold], columns
        )
        for fold in np.unique(folds)
    }


def test_the_used_column_comes_first_and_noise_is_worth_nothing(case):
    X, y, folds = case
    keep = [0, 2, 3, 4]
    columns = [COLUMNS[i] for i in keep]
    rows = permutation_importance(fit(X[:, keep], y, folds, columns), X[:, keep], columns, y, folds)
    found = {row.feature: row for row in rows}
    assert rows[0].feature == "a.signal" and rows[0].importance > 0.3
    assert abs(found["b.noise"].importance) < 0.03
    assert abs(found["c.row_number"].importance) < 0.03
    assert [row.importance for row in rows] == sorted((row.importance for row in rows), reverse=True)
    assert all(row.spread >= 0 for row in rows)


def test_copies_share_importance_and_their_group_shows_it(case):
    X, y, folds = case

    class MeanOfCopies:
        def predict_proba(self, X, columns):
            nearness = np.exp(-4 * (X[:, :2].mean(axis=1)[:, None] - np.arange(3)) ** 2)
            return nearness / nearness.sum(axis=1, keepdims=True)

    classifiers = dict.fromkeys(range(4), MeanOfCopies())
    alone = permutation_importance(classifiers, X, COLUMNS, y, folds)
    groups = permutation_importance(classifiers, X, COLUMNS, y, folds, units=by_group(COLUMNS))
    assert groups[0].feature == "a"
    assert groups[0].importance > alone[0].importance + 0.05
    assert {row.importance for row in alone[2:]} == {0.0}


def test_rows_are_scored_only_by_the_classifier_that_did_not_see_them(case):
    X, y, folds = case
    seen = []

    class Spy:
        def __init__(self, fold):
            self.fold = fold

        def predict_proba(self, X, columns):
            seen.append((self.fold, {int(i) % 4 for i in X[:, 4]}))
            return np.full((len(X), 3), 1 / 3)

    permutation_importance({fold: Spy(fold) for fold in range(4)}, X, COLUMNS, y, folds, n_repeats=2)
    assert seen and all(rows == {fold} for fold, rows in seen)


def test_the_same_seed_gives_the_same_figures_whatever_else_is_measured(case):
    X, y, folds = case
    classifiers = fit(X, y, folds)
    whole = permutation_importance(classifiers, X, COLUMNS, y, folds, seed=3)
    alone = permutation_importance(classifiers, X, COLUMNS, y, folds, seed=3, units={"b.weak": ["b.weak"]})
    assert alone[0] == next(row for row in whole if row.feature == "b.weak")
    assert permutation_importance(classifiers, X, COLUMNS, y, folds, seed=3) == whole


def test_stacking_in_small_pieces_changes_nothing(case, monkeypatch):
    X, y, folds = case
    classifiers = fit(X, y, folds)
    whole = permutation_importance(classifiers, X, COLUMNS, y, folds, n_repeats=3)
    monkeypatch.setattr(importance, "_STACKED_VALUES", 1)
    assert permutation_importance(classifiers, X, COLUMNS, y, folds, n_repeats=3) == whole


def test_a_loss_counts_upwards_too(case):
    X, y, folds = case
    rows = permutation_importance(fit(X, y, folds), X, COLUMNS, y, folds, metric="log_loss")
    assert rows[0].feature in ("a.signal", "a.copy") and rows[0].importance > 0


def test_the_features_given_are_not_changed(case):
    X, y, folds = case
    before = X.copy()
    permutation_importance(fit(X, y, folds), X, COLUMNS, y, folds, n_repeats=2)
    assert np.array_equal(X, before)


def test_wrong_columns_reach_the_schema_check(case):
    X, y, folds = case
    with pytest.raises(SchemaError):
        permutation_importance(fit(X, y, folds), X, COLUMNS[::-1], y, folds)


def test_wrong_arguments_are_named_together(case):
    X, y, folds = case
    with pytest.raises(UsageError, match=r"4 columns are named.*folds \[0, 1, 2, 3\].*`acc`.*n_repeats is 0"):
        permutation_importance({}, X, COLUMNS[:4], y, folds, metric="acc", n_repeats=0)
    with pytest.raises(UsageError, match="no column z"):
        permutation_importance({}, X, COLUMNS, y, folds, units={"u": ["z"]})
