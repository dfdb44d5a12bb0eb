"""Boosted trees and the forest beside their libraries."""

from __future__ import annotations

import numpy as np
import pytest
from model_tables import blobs

from earmark.models.forest import RandomForest
from earmark.models.xgboost import XGBoost


@pytest.mark.parametrize("columns_per_split", ["sqrt", "log2", 1.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_forest_has_scikit_learns_bits(columns_per_split, weighted):
    from sklearn.ensemble import RandomForestClassifier

    X, y = blobs(120, 9, seed=4)
    weight = np.random.default_rng(1).uniform(0.2, 3, 120).astype(np.float32) if weighted else None
    model = RandomForest(n_trees=25, columns_per_split=columns_per_split, seed=3, min_leaf=2)
    model.fit(X[:80], y[:80], sample_weight=None if weight is None else weight[:80])
    peer = RandomForestClassifier(25, max_features=columns_per_split, random_state=3, min_samples_leaf=2)
    peer.fit(X[:80], y[:80], sample_weight=None if weight is None else weight[:80])
    np.testing.assert_array_equal(model.predict_proba(X), peer.predict_proba(X).astype(np.float32))


def test_the_forest_does_not_depend_on_threads():
    X, y = blobs(60)
    one, two = (RandomForest(n_trees=8, n_threads=n).fit(X, y).predict_proba(X) for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_boosting_stops_early_and_keeps_the_best_round():
    X, y = blobs(90, seed=2)
    model = XGBoost(early_stopping_rounds=5).fit(X[:60], y[:60], validation=(X[60:], y[60:]))
    losses = [entry["validation_loss"] for entry in model.history]
    assert model.length == int(np.argmin(losses)) + 1
    assert len(losses) == model.length + 5 < 300
    p = model.predict_proba(X[60:])
    assert -np.mean(np.log(p[np.arange(30), y[60:]])) == pytest.approx(min(losses), rel=1e-4)


def test_boosting_without_validation_runs_all_rounds():
    model = XGBoost(n_trees=7).fit(*blobs())
    assert model.length == 7 and model.history == [{"epoch": i} for i in range(7)]


def test_gain_finds_the_columns_that_matter():
    gain = XGBoost(n_trees=20).fit(*blobs(200, 6)).feature_gain()
    assert gain.shape == (6,) and set(np.argsort(-gain)[:2]) == {0, 1}


def test_only_the_thread_count_given_is_used_and_results_do_not_move():
    X, y = blobs(200)
    first, second = (XGBoost(n_trees=10, n_threads=2).fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
