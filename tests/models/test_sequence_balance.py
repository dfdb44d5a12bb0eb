"""Balancing draws training windows only, by one method, and SMOTE stays between two windows of a class."""

from __future__ import annotations

import numpy as np
import pytest
from window_tables import windows

from earmark.models.sequence.balance import balanced_draws, class_weights, nearest_neighbours


def draws_of(method, found, ratio=1.0, seed=1):
    return balanced_draws(method, found, np.ones(len(found), np.float32), ratio=ratio, seed=seed)


@pytest.mark.parametrize("method", ["oversample", "smote"])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_small_classes_are_raised(method, ratio):
    found = windows(n=60)
    found = found.take(np.flatnonzero((found.y != 2) | (np.arange(len(found)) % 5 == 0)))
    before = np.bincount(found.y)
    after = np.bincount(found.y[draws_of(method, found, ratio).first])
    target = int(np.ceil(ratio * before.max()))
    assert after.tolist() == np.maximum(before, target).tolist()


def test_undersampling_draws_each_window_once():
    found = windows(n=60)
    draws = draws_of("undersample", found)
    assert len(np.unique(draws.first)) == len(draws)
    assert len(set(np.bincount(found.y[draws.first]).tolist())) == 1


def test_smote_windows_lie_between_two_of_one_class():
    found = windows(n=40)
    draws = draws_of("smote", found)
    made = np.flatnonzero(draws.share > 0)
    assert len(made)
    assert (found.y[draws.first] == found.y[draws.second]).all()
    low = np.minimum(found.inputs(draws.first[made]), found.inputs(draws.second[made]))
    high = np.maximum(found.inputs(draws.first[made]), found.inputs(draws.second[made]))
    inputs = draws.inputs(found, made)
    assert (inputs >= low - 1e-5).all()
    assert (inputs <= high + 1e-5).all()
    untouched = np.flatnonzero(draws.share == 0)
    np.testing.assert_array_equal(draws.inputs(found, untouched), found.inputs(draws.first[untouched]))


def test_neighbours_equal_brute_force():
    flat = np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32)
    distance = ((flat[:, None].astype(np.float64) - flat[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    expected = np.argsort(distance, axis=1)[:, :5]
    np.testing.assert_array_equal(nearest_neighbours(flat, 5), expected)
    assert nearest_neighbours(flat[:3], 5).shape == (3, 2)


def test_class_weights_by_hand():
    y = np.array([0] * 6 + [2] * 2)
    np.testing.assert_allclose(class_weights("balanced", y), [8 / 12, 0, 2], rtol=1e-6)
    beta = 0.9999
    raw = np.array([(1 - beta) / (1 - beta**6), 0, (1 - beta) / (1 - beta**2)])
    np.testing.assert_allclose(class_weights("effective", y), raw * 8 / (raw @ [6, 0, 2]), rtol=1e-5)
    assert class_weights("none", y).tolist() == [1, 1, 1]
    found = windows(n=30)
    weights = draws_of("balanced", found).weight
    assert abs(weights.mean() - 1) < 1e-5
    shares = np.bincount(found.y, weights)
    np.testing.assert_allclose(shares, shares[0], rtol=1e-4)
