"""Weights of a blend: the grid, the search, ties, and members' parameters."""

from __future__ import annotations

import numpy as np
import pytest
from model_tables import QUICK, blobs

from earmark.errors import UsageError
from earmark.models.blended import Blended
from earmark.models.ensemble import Ensemble, accuracy, search_weights, weight_grid, weighted_mean
from earmark.models.registry import load_estimator, make


def test_the_grid_starts_at_six_to_four_and_covers_all_steps():
    grid = weight_grid(2)
    assert grid[0] == (0.6, 0.4)
    assert sorted(grid) == [pytest.approx((i / 10, 1 - i / 10)) for i in range(1, 10)]


@pytest.mark.parametrize(("n", "size"), [(1, 1), (3, 36), (4, 84)])
def test_weights_of_more_members_sum_to_one(n, size):
    grid = weight_grid(n)
    assert len(set(grid)) == len(grid) == size
    assert all(sum(weights) == pytest.approx(1) and min(weights) >= 0.1 for weights in grid)


def test_the_search_finds_the_better_member():
    y = np.array([0, 1, 0, 1])
    right, wrong = np.eye(2, dtype=np.float32)[y], np.eye(2, dtype=np.float32)[1 - y]
    assert search_weights([right, wrong], y, accuracy, "higher") == (0.6, 0.4)
    assert search_weights([wrong, right], y, accuracy, "higher")[1] > 0.5
    brier = lambda y, p: float(np.mean((p[np.arange(len(y)), y] - 1) ** 2))  # noqa: E731
    assert search_weights([wrong, right], y, brier, "lower") == (0.1, 0.9)


def test_equal_scores_keep_the_start_and_undefined_ones_lose():
    p = np.full((4, 2), 0.5, np.float32)
    assert search_weights([p, p], np.zeros(4, int), accuracy, "higher") == (0.6, 0.4)
    scores = iter([float("nan"), 1.0, *[float("nan")] * 7])
    assert search_weights([p, p], np.zeros(4, int), lambda y, q: next(scores), "lower") == weight_grid(2)[1]


def test_the_mean_is_weighted():
    first, second = np.float32([[1, 0]]), np.float32([[0, 1]])
    np.testing.assert_allclose(weighted_mean([first, second], (0.3, 0.7)), [[0.3, 0.7]])


def test_weights_given_are_kept_and_scaled(table):
    model = Ensemble(members=("logistic", "ordinal"), weights=(3, 1)).fit(*table, validation=table)
    assert model.weights == (0.75, 0.25)
    first, second = (member.predict_proba(table[0]) for member in model.members)
    np.testing.assert_allclose(model.predict_proba(table[0]), 0.75 * first + 0.25 * second, atol=1e-6)


def test_without_validation_the_start_weights_stay(table):
    assert make("ensemble", **QUICK["ensemble"]).fit(*table).weights == (0.6, 0.4)


def test_parameters_reach_their_member():
    model = Ensemble(xgboost__max_depth=3, seed=9)
    assert model.get_params()["xgboost__max_depth"] == 3
    assert model.get_params()["xgboost__seed"] == model.get_params()["neural_network__seed"] == 9
    model.set_params(members=("xgboost", "logistic"))
    assert "neural_network__seed" not in model.get_params() and model.get_params()["xgboost__max_depth"] == 3


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"xgbost__max_depth": 3}, "names no member.*did you mean `xgboost`"),
        ({"xgboost__max_dept": 3}, "did you mean `max_depth`"),
        ({"weights": (0.5, 0.3, 0.2)}, "3 weights for 2 members"),
        ({"members": ("logistic",), "xgboost__seed": 1}, "names no member"),
    ],
)
def test_wrong_members_and_parameters(params, match):
    with pytest.raises(UsageError, match=match):
        Ensemble(**params)


def test_fitted_members_make_a_blend(table, tmp_path):
    X, y = table
    members = [make("logistic").fit(X, y), make("random_forest", n_trees=5).fit(X, y)]
    members.append(make("logistic", strength=1.0).fit(X, y))  # one kind may occur twice
    model = Blended.of(members, (0.2, 0.5, 0.3))
    expected = weighted_mean([m.predict_proba(X) for m in members], (0.2, 0.5, 0.3))
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    model.save(tmp_path)
    np.testing.assert_array_equal(load_estimator(tmp_path).predict_proba(X), expected)


def test_fitted_members_with_a_class_missing(table, tmp_path):
    X, y = table
    rows = y != 1
    members = [make(name).fit(X[rows], y[rows], n_classes=3) for name in ("logistic", "ordinal")]
    model = Blended.of(members, (0.5, 0.5))
    model.save(tmp_path)
    p = load_estimator(tmp_path).predict_proba(X)
    assert (p[:, 1] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def test_members_of_different_data_are_refused(table):
    other = make("ordinal").fit(*blobs(30, 4))
    with pytest.raises(UsageError, match="different data"):
        Blended.of([make("logistic").fit(*table), other], (0.5, 0.5))
