"""Logistic and ordinal models: gradients, the library's solution, order."""

from __future__ import annotations

import numpy as np
import pytest
from model_tables import blobs
from scipy.optimize import check_grad

from earmark.models.linear import Logistic, Ordinal


@pytest.mark.parametrize("kind", [Logistic, Ordinal])
def test_gradients_equal_finite_differences(kind):
    X, y = blobs(40, 4)
    weight = np.random.default_rng(0).uniform(0.1, 1, 40)
    arguments = (X.astype(np.float64), y, weight / weight.sum(), 0.3)
    model = kind()
    size = 5 * 3 if kind is Logistic else 4 + 2
    for seed in range(3):
        at = np.random.default_rng(seed).normal(size=size)
        error = check_grad(
            lambda s: model._loss(s, *arguments)[0], lambda s: model._loss(s, *arguments)[1], at
        )
        assert error < 1e-5


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("strength", [0.05, 1.0])
def test_logistic_is_scikit_learns_solution(n_classes, strength):
    from sklearn.linear_model import LogisticRegression

    X, y = blobs(90, 5, n_classes=n_classes)
    weight = np.random.default_rng(0).uniform(0.5, 2, 90).astype(np.float32)
    ours = Logistic(strength=strength).fit(X, y, sample_weight=weight).predict_proba(X)
    # scikit-learn's penalty is C = strength when weights sum to n.
    scaled = weight * len(y) / weight.sum()
    peer = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(X, y, sample_weight=scaled)
    if n_classes == 3:
        np.testing.assert_allclose(ours, peer.predict_proba(X), atol=2e-4)
    else:
        # Two columns of weights share the penalty that scikit-learn's one column bears: half as strong.
        peer = LogisticRegression(C=2 * strength, tol=1e-8, max_iter=5000).fit(X, y, sample_weight=scaled)
        np.testing.assert_allclose(ours, peer.predict_proba(X), atol=2e-4)


def test_ordinal_recovers_the_direction_and_the_thresholds():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(4000, 2)).astype(np.float32)
    latent = X @ np.array([2.0, -1.0]) + generator.logistic(size=4000)
    y = np.digitize(latent, [-1.0, 1.5])
    model = Ordinal(strength=1e6).fit(X, y)
    np.testing.assert_allclose(model.coefficients, [2.0, -1.0], atol=0.15)
    np.testing.assert_allclose(model.thresholds, [-1.0, 1.5], atol=0.15)


def test_ordinal_probabilities_move_along_the_order():
    X = np.linspace(-4, 4, 60, dtype=np.float32)[:, None]
    y = np.repeat([0, 1, 2], 20)
    p = Ordinal().fit(X, y).predict_proba(X)
    assert (np.diff(p[:, 0]) <= 0).all() and (np.diff(p[:, 2]) >= 0).all()
    assert list(p[[0, 30, 59]].argmax(axis=1)) == [0, 1, 2]


def test_separable_classes_stay_finite():
    X = np.float32([[-100.0], [-99.0], [0.0], [1.0], [99.0], [100.0]])
    y = np.array([0, 0, 1, 1, 2, 2])
    for kind in (Logistic, Ordinal):
        p = kind(strength=1e6).fit(X, y).predict_proba(np.float32([[-1e6], [0.5], [1e6]]))
        assert np.isfinite(p).all()
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
