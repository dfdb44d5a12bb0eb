"""The feature plane: principal components as another library finds them, on standardised and imputed columns."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from earmark.errors import InputError
from earmark.evaluation.plane import principal_plane

COLUMNS = ("a", "b", "c", "d")


@pytest.fixture(name="X")
def made_up_features():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 4)).astype(np.float32) * [1, 100, 0.01, 1]
    X[:, 3] = X[:, 0] + 0.1 * X[:, 3]
    return X.astype(np.float32)


def test_the_plane_is_that_of_scikit_learn_up_to_the_signs(X):
    plane = principal_plane(X, COLUMNS)
    standard = (X - X.mean(axis=0, dtype=float)) / X.std(axis=0, dtype=float)
    pca = PCA(2).fit(standard)
    np.testing.assert_allclose(np.abs(plane.points), np.abs(pca.transform(standard)), atol=1e-4)
    np.testing.assert_allclose(plane.explained, pca.explained_variance_ratio_, atol=1e-6)


def test_signs_do_not_depend_on_the_order_of_the_rows(X):
    mixed = np.random.default_rng(1).permutation(50)
    np.testing.assert_allclose(
        principal_plane(X[mixed], COLUMNS).points, principal_plane(X, COLUMNS).points[mixed], atol=1e-4
    )


def test_items_are_shown_in_the_plane_of_the_reference(X):
    np.testing.assert_allclose(
        principal_plane(X[:5], COLUMNS, X).points, principal_plane(X, COLUMNS).points[:5], atol=1e-6
    )


def test_missing_and_constant_columns_are_no_obstacle(X):
    X[3, 1] = np.nan
    X[:, 2] = 7
    assert np.isfinite(principal_plane(X, COLUMNS).points).all()


def test_one_dimension_lies_on_a_line_and_none_is_refused(X):
    plane = principal_plane(X[:, :1], COLUMNS[:1])
    assert plane.points.shape == (50, 2) and not plane.points[:, 1].any()
    np.testing.assert_allclose(plane.explained, [1, 0])
    with pytest.raises(InputError):
        principal_plane(np.ones((4, 2), np.float32), COLUMNS[:2])
