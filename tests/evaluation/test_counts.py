"""Wilson intervals and McNemar's test against scipy, and stratified draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from earmark.errors import UsageError
from earmark.evaluation.counts import mcnemar, stratified_rows, wilson


@given(st.integers(1, 900).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(pair):
    n_right, n = pair
    found, expected = wilson(n_right, n), binomtest(n_right, n).proportion_ci(method="wilson")
    assert found.value == n_right / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_known_counts():
    """639 of 700 and 27 of 42, as quoted for them elsewhere: 89.0-93.2 % and 49-77 %."""
    assert [round(100 * bound, 1) for bound in (wilson(639, 700).low, wilson(639, 700).high)] == [89.0, 93.2]
    assert [round(100 * bound) for bound in (wilson(27, 42).low, wilson(27, 42).high)] == [49, 77]
    assert math.isnan(wilson(0, 0).value)
    with pytest.raises(UsageError, match="3 of 2"):
        wilson(3, 2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_the_exact_binomial_sum(pairs):
    first, second = np.array([a for a, _ in pairs], bool), np.array([b for _, b in pairs], bool)
    found = mcnemar(first, second)
    n, k = found.only_first + found.only_second, min(found.only_first, found.only_second)
    both_tails = 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert found.p == pytest.approx(min(1.0, both_tails))
    assert mcnemar(second, first).p == found.p


def test_49_differing_files_of_21_and_28_are_no_difference():
    first = np.r_[np.ones(21, bool), np.zeros(28, bool)]
    assert (
        mcnemar(first, ~first).p == pytest.approx(binomtest(21, 49).pvalue) and mcnemar(first, ~first).p > 0.3
    )
    with pytest.raises(UsageError, match="same items"):
        mcnemar([True], [True, False])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), st.integers(1, 350), st.integers(0, 99))
def test_a_stratified_draw_holds_every_class_in_proportion(labels, n, seed):
    y = np.array(labels)
    rows = stratified_rows(y, n, seed=seed)
    assert len(rows) == min(n, len(y)) and len(set(rows.tolist())) == len(rows)
    np.testing.assert_array_equal(rows, stratified_rows(y, n, seed=seed))
    present, counts = np.unique(y, return_counts=True)
    if n >= len(present):
        drawn = np.array([(y[rows] == c).sum() for c in present])
        assert (drawn >= 1).all()
        share = counts / len(y) * len(rows)
        assert (drawn <= np.maximum(np.ceil(share), 1)).all()


def test_the_first_rows_of_a_sorted_file_are_not_one_class():
    y = np.repeat([0, 1, 2], [300, 300, 100])
    assert np.bincount(y[stratified_rows(y, 7)]).tolist() == [3, 3, 1]
