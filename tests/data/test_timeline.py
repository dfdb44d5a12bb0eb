"""Splits through time: no training window meets what is scored, whatever the symbols, gaps and horizons."""

from itertools import combinations, pairwise
from math import comb

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from series_tables import MINUTE, table_of, times_of

from earmark.data.timeline import (
    combinatorial_purged,
    embargo_ms,
    group_of,
    paths,
    seal_instant,
    split,
    split_at,
    until,
    walk_forward,
)
from earmark.data.windows import make_windows
from earmark.errors import UsageError

DAY = 24 * 60 * MINUTE


@st.composite
def series(draw):
    """Windows over one to four symbols that begin at different times and have gaps of their own."""
    times = {}
    for i in range(draw(st.integers(1, 4))):
        gap = draw(st.integers(0, 200))
        pattern = [bool(gap) and j % 97 == gap % 97 for j in range(draw(st.integers(200, 400)))]
        times[f"S{i}"] = times_of(pattern, start_ms=draw(st.integers(0, 90)) * MINUTE + 7 * i)
    horizon = draw(st.integers(1, 40)) * MINUTE
    table = table_of(times, horizon_ms=horizon)
    return make_windows(table, draw(st.integers(1, 20)), stride=draw(st.integers(1, 3)))


def possible(divide):
    """What `divide` returns, unless the windows drawn are too few for it."""
    try:
        return divide()
    except UsageError as error:
        assert "Insufficient data" in str(error)
        reject()


def overlaps(train, scored):
    """Brute force: does any training span meet any scored span?"""
    return any(
        ((scored.start_ms <= end) & (scored.label_end_ms >= start)).any()
        for start, end in zip(train.start_ms, train.label_end_ms, strict=True)
    )


@given(windows=series(), embargo=st.integers(0, 30))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
def test_no_earlier_window_meets_a_later_part(windows, embargo):
    division = possible(lambda: split(windows, embargo=embargo * MINUTE))
    parts = list(division.parts().values())
    for earlier, later in combinations(parts, 2):
        assert not overlaps(earlier, later)
        assert earlier.time_ms.max() < later.time_ms.min()
    for instant, part in zip(division.instants_ms, parts[1:], strict=True):
        assert part.time_ms.min() >= instant + embargo * MINUTE
    lost = sum(removed.purged + removed.embargoed for removed in division.removed.values())
    assert sum(map(len, parts)) + lost == len(windows)


@given(windows=series(), n=st.integers(1, 4))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
def test_walk_forward_grows_and_never_looks_ahead(windows, n):
    folds = possible(lambda: walk_forward(windows, n, embargo=10 * MINUTE))
    assert len(folds) == n
    for fold in folds:
        assert not overlaps(fold.train, fold.test)
        assert fold.train.label_end_ms.max() < fold.test.start_ms.min()
    for earlier, later in pairwise(folds):
        assert set(earlier.train.ends) <= set(later.train.ends)  # equal where a purge meets a gap
        assert not set(earlier.test.ends) & set(later.test.ends)


@given(windows=series(), n_groups=st.integers(3, 6), k=st.integers(1, 3), embargo=st.integers(0, 8))
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
def test_cpcv_purges_at_every_border(windows, n_groups, k, embargo):
    assume(k < n_groups)
    distance = 5 * MINUTE
    wait = embargo * MINUTE
    folds = possible(
        lambda: combinatorial_purged(windows, n_groups, k, purge_ms=distance, embargo=wait)
    )  # all but few groups may test, and the purge reach over the few
    assert len(folds) == comb(n_groups, k)
    group = group_of(windows, n_groups)
    for fold, groups in zip(folds, combinations(range(n_groups), k), strict=True):
        assert set(fold.test.ends) == set(windows.ends[np.isin(group, groups)])
        assert not overlaps(fold.train, fold.test)
        nearest = np.abs(fold.train.time_ms[:, None] - fold.test.time_ms).min()
        assert nearest >= distance
        behind = fold.train.start_ms[:, None] - fold.test.label_end_ms
        assert not ((behind > 0) & (behind <= wait)).any()
        assert len(fold.train) + len(fold.test) + fold.removed.purged + fold.removed.embargoed == len(windows)


def test_fifty_symbols_are_cut_at_the_same_instants():
    rng = np.random.default_rng(5)
    times = {f"S{i:02d}": times_of([False] * 599, start_ms=int(rng.integers(0, 50)) * 250) for i in range(50)}
    windows = make_windows(table_of(times, horizon_ms=7 * MINUTE), 10, stride=10)
    division = split(windows)
    wait = embargo_ms(windows)
    assert wait == 60 * MINUTE == division.embargo_ms
    for part, low, high in zip(
        division.parts().values(), (0, *division.instants_ms), (*division.instants_ms, 10**12), strict=True
    ):
        assert ((part.time_ms >= low) & (part.time_ms < high)).all()
        assert len(np.unique(part.symbol)) == 50
    # Rows of one symbol fill at most an hour of the border; counted in mixed rows that would be 60 / 50 minutes.
    assert division.validation.time_ms.min() - division.train.time_ms.max() >= 60 * MINUTE
    assert not overlaps(division.train, division.validation)
    for fold in combinatorial_purged(windows, purge_ms=10 * MINUTE, embargo=0):
        assert not overlaps(fold.train, fold.test)


def test_cpcv_agrees_with_skfolio_where_definitions_do():
    """Rows of one symbol, one row long: what is purged and embargoed there is so here."""
    model_selection = pytest.importorskip("skfolio.model_selection")
    n, horizon, wait = 600, 7, 5
    windows = make_windows(table_of({"A": times_of([False] * (n - 1))}, horizon_ms=horizon * MINUTE), 1)
    for n_groups, k in ((6, 2), (5, 2), (10, 3)):
        oracle = model_selection.CombinatorialPurgedCV(
            n_folds=n_groups, n_test_folds=k, purged_size=horizon, embargo_size=wait
        )
        ours = combinatorial_purged(windows, n_groups, k, purge_ms=0, embargo=wait * MINUTE)
        theirs = [(train, np.concatenate(test)) for train, test in oracle.split(np.zeros((n, 1)))]
        found = {tuple(fold.test.ends): fold.train.ends.tolist() for fold in ours}
        expected = {tuple(sorted(test)): train.tolist() for train, test in theirs}
        assert found == expected


def test_paths_walk_each_group_once_and_use_each_test_once():
    walks = paths(6, 2)
    chosen = list(combinations(range(6), 2))
    assert len(walks) == comb(5, 1)
    used = [(fold, group) for walk in walks for group, fold in enumerate(walk)]
    assert all(group in chosen[fold] for fold, group in used)
    assert len(set(used)) == len(used) == 15 * 2


def test_purging_can_be_left_out_and_then_it_leaks():
    windows = make_windows(table_of({"A": times_of([False] * 600)}, horizon_ms=30 * MINUTE), 5)
    open_ = split(windows, purge=False, embargo=0)
    assert overlaps(open_.train, open_.validation)
    assert (
        len(open_.train)
        == len(split(windows, embargo=0).train) + split(windows, embargo=0).removed["train"].purged
    )


def test_the_sealed_period_is_thirty_days_or_a_share_of_a_short_span():
    assert seal_instant(0, 200 * DAY) == 170 * DAY
    assert seal_instant(0, 100 * DAY) == 85 * DAY
    assert seal_instant(0, 120 * DAY, days=10) == 110 * DAY
    for last, days in ((200 * DAY, 0), (200 * DAY, 200), (0, 30)):
        with pytest.raises(UsageError, match="to be sealed"):
            seal_instant(0, last, days)


def test_labels_decided_in_the_sealed_period_are_unknown_before_it():
    table = table_of({"A": times_of([False] * 99), "B": times_of([False] * 49)}, horizon_ms=10 * MINUTE)
    before = until(table, 60 * MINUTE)
    assert before.time_ms.max() < 60 * MINUTE
    unknown = before.y < 0
    assert (before.label_end_ms[unknown] >= 60 * MINUTE).all() and (
        before.label_end_ms[~unknown] < 60 * MINUTE
    ).all()
    assert np.isnan(before.movement[unknown]).all()


def test_an_empty_part_says_what_is_needed():
    windows = make_windows(table_of({"A": times_of([False] * 99)}), 10)
    with pytest.raises(
        UsageError, match=r"Insufficient data: 0 samples, need at least 1 for the validation part"
    ):
        split(windows)  # an embargo of sixty minutes is longer than the parts
    with pytest.raises(UsageError, match=r"Insufficient data: 0 samples, need at least 600"):
        split(windows.take(np.array([], dtype=np.int64)), minimum=200)


def test_a_class_that_a_part_lacks_is_reported():
    y = [0, 1, 2] * 200 + [1] * 400
    windows = make_windows(table_of({"A": times_of([False] * 999)}, y=y), 5)
    division = split_at(windows, (700 * MINUTE, 850 * MINUTE), embargo=0)
    assert [w.split()[1] for w in division.warnings] == ["validation"] * 2 + ["test"] * 2
    assert "class 0" in division.warnings[0]


@pytest.mark.parametrize("fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.0, 0.0, 0.0)])
def test_fractions_are_checked(fractions):
    windows = make_windows(table_of({"A": times_of([False] * 99)}), 2)
    with pytest.raises(UsageError, match="fractions"):
        split(windows, fractions)


def test_other_nonsense_is_refused():
    windows = make_windows(table_of({"A": times_of([False] * 99)}), 2)
    for n_groups, k in ((2, 1), (4, 4), (4, 0)):
        with pytest.raises(UsageError, match="CPCV"):
            combinatorial_purged(windows, n_groups, k)
    with pytest.raises(UsageError, match="embargo_pct"):
        embargo_ms(windows, 0.5)
    with pytest.raises(UsageError, match="first"):
        walk_forward(windows, first=1.0)
