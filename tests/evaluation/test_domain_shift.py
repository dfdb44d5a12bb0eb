"""Domain shift: figures per feature against other libraries, and a source classifier that cannot cheat."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from earmark.data.dataset import Dataset
from earmark.errors import SchemaError, UsageError
from earmark.evaluation.domain_shift import domain_shift, domain_shift_csv, source_auc


def collection(X, source, prefix, columns=None, groups=None):
    n, d = np.shape(X)
    ids = tuple(f"{prefix}{i:03d}" for i in range(n))
    return Dataset(
        ids=ids,
        columns=tuple(columns or (f"g.f{k}" for k in range(d))),
        X=X,
        y=np.zeros(n, int),
        classes=("A", "B"),
        groups=np.array(ids if groups is None else groups),
        folds=np.arange(n) % 2,
        sources=np.full(n, source),
    )


@pytest.fixture(scope="module")
def sides():
    rng = np.random.default_rng(5)
    ours = rng.normal(size=(60, 4))
    theirs = rng.normal(size=(80, 4))
    ours[:, 1] += 3
    ours[:, 2] = 1.0
    theirs[:, 2] = 1.0
    theirs[:10, 3] = np.nan
    return collection(ours, "user", "u"), collection(theirs, "deam", "d")


@pytest.fixture(scope="module")
def apart(sides):
    return domain_shift(*sides)


def test_the_figures_of_a_feature_are_those_of_scipy(sides, apart):
    (ours, theirs), shift = sides, apart
    rows = {row.feature: row for row in shift.features}
    assert shift.features[0].feature == "g.f1" and (shift.names, shift.n) == (("user", "deam"), (60, 80))
    a, b = ours.X[:, 1].astype(float), theirs.X[:, 1].astype(float)
    row = rows["g.f1"]
    assert (row.scored_mean, row.auxiliary_mean) == pytest.approx((a.mean(), b.mean()))
    assert row.ratio == pytest.approx(a.mean() / b.mean())
    # Student's t is d times the square root of n m / (n + m), by definition of both.
    assert row.standardised_difference == pytest.approx(
        stats.ttest_ind(a, b).statistic * np.sqrt(1 / 60 + 1 / 80)
    )
    assert (row.ks, row.p) == pytest.approx(
        (lambda r: (r.statistic, r.pvalue))(stats.ks_2samp(a, b, method="asymp"))
    )
    assert (rows["g.f3"].scored_missing, rows["g.f3"].auxiliary_missing) == (0, 10)
    assert rows["g.f3"].auxiliary_mean == pytest.approx(np.nanmean(theirs.X[:, 3]), abs=1e-6)


def test_a_constant_feature_is_no_difference_and_stands_last(apart):
    row = apart.features[-1]
    assert row.feature == "g.f2"
    assert np.isnan(row.standardised_difference) and (row.ks, row.p, row.q) == (0, 1, 1)


def test_q_follows_the_step_up_rule_by_hand():
    """Benjamini and Hochberg: q of rank r is the least p m / s over ranks s >= r."""
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(40, 12)), rng.normal(size=(40, 12)) + np.linspace(0, 1, 12)
    rows = sorted(
        domain_shift(collection(ours, "a", "a"), collection(theirs, "b", "b")).features, key=lambda r: r.p
    )
    for rank, row in enumerate(rows):
        assert row.q == pytest.approx(min(1, min(rows[s].p * 12 / (s + 1) for s in range(rank, 12))))


def test_a_feature_without_values_on_one_side_is_undefined_and_not_an_error():
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    theirs[:, 1] = np.nan
    shift = domain_shift(collection(ours, "a", "a"), collection(theirs, "b", "b"))
    row = shift.features[-1]
    assert row.feature == "g.f1" and row.auxiliary_missing == 20
    assert all(np.isnan(value) for value in (row.auxiliary_mean, row.ratio, row.ks, row.p, row.q))
    read = list(csv.DictReader(io.StringIO(domain_shift_csv(shift))))
    assert list(read[0]) == [
        "feature", "scored_mean", "auxiliary_mean", "ratio", "standardised_difference", "ks", "p", "q",
        "scored_missing", "auxiliary_missing",
    ]  # fmt: skip
    assert (read[-1]["auxiliary_mean"], read[-1]["auxiliary_missing"]) == ("", "20")


def test_equal_collections_are_not_told_apart_and_shifted_ones_are(sides, apart):
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 150, 5))
    alike = domain_shift(collection(one, "a", "a"), collection(two, "b", "b"))
    assert alike.auc.low < 0.5 < alike.auc.high
    assert "alike" in alike.sentence() and "0 of 5 features differ" in alike.sentence()
    assert apart.auc.value > 0.9 and apart.auc.low > 0.85
    assert "clearly apart" in apart.sentence() and "user and deam" in apart.sentence()
    assert apart.auc == domain_shift(*sides).auc


def test_items_of_a_group_do_not_give_the_source_away():
    """Each group has a fingerprint of its own; only folds that keep groups together say that nothing else differs."""
    rng = np.random.default_rng(3)

    def side(prefix):
        marks = rng.normal(size=(12, 6)) * 5
        X = np.repeat(marks, 10, axis=0) + rng.normal(size=(120, 6)) * 0.01
        return collection(X, prefix, prefix, groups=[f"{prefix}{i // 10}" for i in range(120)])

    auc = domain_shift(side("a"), side("b")).auc
    assert auc.low < 0.6 and auc.value < 0.75


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_groups_leave_the_area_undefined(n):
    X = np.random.default_rng(4).normal(size=(n, 3))
    one = collection(X, "a", "a", groups=["same"] * n)
    shift = domain_shift(one, collection(np.random.default_rng(5).normal(size=(20, 3)), "b", "b"))
    assert np.isnan(shift.auc.value) and "too few groups" in shift.sentence()


def test_other_columns_and_empty_sides_are_refused(sides):
    ours, theirs = sides
    with pytest.raises(SchemaError, match=r"g\.f3"):
        domain_shift(ours, theirs.select(theirs.columns[:3]))
    with pytest.raises(SchemaError, match="another order"):
        domain_shift(ours, theirs.select(theirs.columns[::-1]))
    with pytest.raises(UsageError, match="60 and 0 items"):
        domain_shift(ours, theirs.take(np.zeros(80, bool)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_area_is_that_of_scikit_learn_with_ties_and_weights(data):
    n = data.draw(st.integers(2, 30))
    y = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    y[:2] = [0, 1]
    score = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=n, max_size=n)))
    weights = np.array(data.draw(st.lists(st.integers(1, 4), min_size=2 * n, max_size=2 * n)), float).reshape(
        2, n
    )
    p = np.stack([1 - score, score], axis=1)
    both = source_auc(y, p, weights=weights)
    assert both == pytest.approx([roc_auc_score(y, score, sample_weight=row) for row in weights])
    assert source_auc(y, p) == pytest.approx(roc_auc_score(y, score))


def test_the_area_of_one_class_is_undefined_and_of_three_refused():
    assert np.isnan(source_auc([0, 0], [[0.5, 0.5], [0.2, 0.8]]))
    with pytest.raises(UsageError, match="expected 2 classes"):
        source_auc([0], [[1.0, 0.0, 0.0]])
