"""Moments and covariances become those of the target; odds favour rows that look like it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.training.alignment import Alignment, source_odds


def two_sources(seed: int, n_columns: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 1, (400, n_columns)) @ rng.normal(0, 1, (n_columns, n_columns))
    other = 3 + 2 * rng.normal(0, 1, (300, n_columns)) @ rng.normal(0, 1, (n_columns, n_columns))
    return own.astype(np.float32), other.astype(np.float32)


def align(kind: str, other: np.ndarray, own: np.ndarray) -> np.ndarray:
    return Alignment.fit(kind, other, own).apply(other)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_moments_become_those_of_the_target(seed: int) -> None:
    own, other = two_sources(seed)
    moved = align("moments", other, own)
    assert np.allclose(moved.mean(axis=0), own.mean(axis=0), atol=1e-3)
    assert np.allclose(moved.std(axis=0), own.std(axis=0), rtol=1e-3)
    # Only scale and place change: the order of rows in a column stays.
    assert (np.argsort(moved[:, 0], kind="stable") == np.argsort(other[:, 0], kind="stable")).all()


def test_a_constant_column_becomes_the_targets_mean() -> None:
    own, other = two_sources(0)
    other[:, 1] = 7
    assert np.allclose(align("moments", other, own)[:, 1], own[:, 1].mean(), atol=1e-5)


def test_coral_brings_the_covariance_near_that_of_the_target() -> None:
    own, other = two_sources(1)
    moved = align("coral", other, own)

    def distance(rows: np.ndarray) -> float:
        return float(np.linalg.norm(np.cov(rows.T) - np.cov(own.T)))

    assert np.allclose(moved.mean(axis=0), own.mean(axis=0), atol=1e-3)
    assert distance(moved) < 0.3 * distance(other)


def test_coral_of_uncorrelated_columns_by_hand() -> None:
    # Variances 3 and 8, plus one each: a column is scaled by sqrt((8 + 1) / (3 + 1)) = 1.5.
    own = np.sqrt(8) * np.array([[-1.0], [1.0]], dtype=np.float32)
    other = 10 + np.sqrt(3) * np.array([[-1.0], [1.0]], dtype=np.float32)
    assert align("coral", other, own) == pytest.approx(1.5 * np.sqrt(3) * np.array([[-1.0], [1.0]]), rel=1e-5)


def test_nothing_is_done_for_none_and_missing_values_are_refused() -> None:
    own, other = two_sources(2)
    assert align("none", other, own) is other
    other[0, 0] = np.nan
    with pytest.raises(UsageError, match="missing values"):
        align("coral", other, own)


@pytest.mark.parametrize("kind", ["moments", "coral"])
def test_rows_that_were_not_fitted_move_as_those_that_were(kind: str) -> None:
    own, other = two_sources(5)
    alignment = Alignment.fit(kind, other, own)
    assert np.array_equal(alignment.apply(other[:7]), alignment.apply(other)[:7])
    assert not np.allclose(alignment.apply(other[:7]), align(kind, other[:7], own))


def test_odds_favour_rows_like_the_target_and_have_mean_one() -> None:
    rng = np.random.default_rng(3)
    own = rng.normal(0, 1, (200, 2)).astype(np.float32)
    near, far = rng.normal(0, 1, (100, 2)), rng.normal(3, 1, (100, 2))
    other = np.concatenate([near, far]).astype(np.float32)
    names = np.array([f"g{i}" for i in range(200)])
    odds = source_odds(own, other, names, np.array([f"h{i}" for i in range(200)]), seed=(1, 2))
    assert odds.mean() == pytest.approx(1, rel=1e-5)
    assert odds[:100].mean() > 5 * odds[100:].mean()
    assert odds.max() <= 1001 * odds.min()  # kept between a hundredth and ten times the mean


def test_sources_that_are_one_group_are_weighted_alike() -> None:
    own, other = two_sources(4)
    same = source_odds(own, other, np.array(["a"] * 400), np.array(["b"] * 300), seed=(0,))
    assert (same == 1).all()
