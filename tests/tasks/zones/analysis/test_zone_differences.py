"""Rank tests between zones: against scipy, by hand, and with tracks that come in groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kruskal

from earmark.tasks.zones.analysis.zone_differences import group_means, holm, zone_differences
from earmark.tasks.zones.labels import CLASSES


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_order_and_never_lowers(p: list[float]) -> None:
    corrected = holm(p)
    assert (corrected >= p).all() and (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def test_group_means_by_hand() -> None:
    means = group_means([[1.0, 2.0], [3.0, 4.0], [10.0, 0.0]], ["b", "b", "a"])
    assert means.tolist() == [[10.0, 0.0], [2.0, 3.0]]


def test_a_planted_difference_comes_first_with_its_effect() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 20)
    X = np.column_stack([rng.normal(size=60), y + 0.01 * rng.normal(size=60), np.full(60, 3.0)])
    rows = zone_differences(X, ["noise", "planted", "constant"], y, np.arange(60), CLASSES)
    assert [row["feature"] for row in rows] == ["planted", "noise", "constant"]
    planted, noise, constant = rows
    expected = kruskal(*(X[y == k, 1] for k in range(3)))
    assert (planted["kruskal_h"], planted["p"]) == pytest.approx((expected.statistic, expected.pvalue))
    assert planted["effect_size"] == pytest.approx((expected.statistic - 2) / 57) and planted["auc"] == 1.0
    assert planted["p_holm"] == pytest.approx(3 * planted["p"])
    assert planted["median_PURPLE"] == pytest.approx(2, abs=0.02)
    assert abs(noise["effect_size"]) < 0.15
    assert (constant["kruskal_h"], constant["p"], constant["auc"]) == (0.0, 1.0, 0.5)


def test_tracks_of_one_artist_count_once_in_each_zone() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(30, 1)), np.tile([0, 1, 2], 10)
    once = zone_differences(X, ["x"], y, np.arange(30), CLASSES)
    again = zone_differences(
        np.repeat(X, 5, axis=0), ["x"], np.repeat(y, 5), np.repeat(np.arange(30), 5), CLASSES
    )
    assert again == once


def test_a_zone_without_tracks_is_left_out() -> None:
    [row] = zone_differences([[1.0], [2.0], [4.0], [3.0]], ["x"], [0, 0, 1, 1], list("abcd"), CLASSES)
    assert "median_PURPLE" not in row and np.isnan(row["auc"])
    [row] = zone_differences([[1.0], [2.0]], ["x"], [0, 0], list("ab"), CLASSES)
    assert (row["kruskal_h"], row["p"]) == (0.0, 1.0)
