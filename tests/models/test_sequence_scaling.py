"""Scaling: fitted on the rows of training windows, each once; per column kind; causal where it rolls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_tables import STEP_MS, series, windows

from earmark.data.windows import Windows, make_windows
from earmark.errors import SchemaError
from earmark.models.sequence.scaling import (
    ROLLING_MIN_ROWS,
    complete_windows,
    fit_scaler,
    rolling_normalised,
    scaling_kind,
    used_rows,
)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.sets(st.integers(0, 59)))
def test_used_rows_are_the_union_of_the_windows(length, ends):
    table = series(n=60, symbols=("A",))
    chosen = np.array(sorted(end for end in ends if end >= length - 1), dtype=np.int64)
    expected = sorted({row for end in chosen for row in range(end - length + 1, end + 1)})
    assert used_rows(Windows(table, chosen, length)).tolist() == expected


def test_each_kind_has_its_statistics():
    found = windows(length=5, n=50)
    train = found.take(found.ends < 40)
    table, rows = train.table, used_rows(train)
    scaled = fit_scaler(train).apply(train).inputs()
    assert [scaling_kind(name) for name in table.columns[:4]] == ["standard", "robust", "minmax", "standard"]
    X = table.X[rows].astype(np.float64)
    low, high = np.quantile(X[:, 1], [0.25, 0.75])
    expected = np.column_stack(
        [
            (table.X[:, 0] - X[:, 0].mean()) / X[:, 0].std(),
            (table.X[:, 1] - np.median(X[:, 1])) / (high - low),
            (table.X[:, 2] - X[:, 2].min()) / (X[:, 2].max() - X[:, 2].min()),
        ]
    )
    steps = train.ends[:, None] + np.arange(-4, 1)
    np.testing.assert_allclose(scaled[..., :3], expected[steps], rtol=1e-5, atol=1e-5)


def test_rows_outside_the_training_windows_change_nothing():
    found = windows(length=5, n=50)
    train = found.take(found.ends < 30)
    X = train.table.X.copy()
    X[30:50] = 1e9
    other = Windows(replace(train.table, X=X), train.ends, train.length)
    np.testing.assert_array_equal(fit_scaler(train).center, fit_scaler(other).center)


def test_symbols_apart_have_their_own_unit():
    table = series(n=80)
    X = table.X * np.where(table.symbol == 0, 1.0, 1e6)[:, None].astype(np.float32)
    found = make_windows(replace(table, X=X), 5)
    scaled = fit_scaler(found, per_symbol=True).apply(found)
    for symbol in (0, 1):
        values = scaled.last_rows()[found.symbol == symbol, 0]
        assert abs(values.std() - 1) < 0.2
    renamed = replace(found.table, symbols=("AUSDT", "NEWUSDT"))
    with pytest.raises(SchemaError, match="NEWUSDT"):
        fit_scaler(found, per_symbol=True).apply(Windows(renamed, found.ends, 5))


def test_a_constant_column_and_missing_values():
    found = windows(length=5, n=50)
    X = found.table.X
    X[:, 3] = 7.0
    X[10, 4], X[11, 4] = np.nan, np.inf
    finite = X[np.isfinite(X[:, 4]), 4].astype(np.float64)
    for missing, fill in (("zero", 0.0), ("median", np.median(finite))):
        scaler = fit_scaler(found, missing=missing)
        scaled = scaler.apply(found).inputs()
        assert (scaled[..., 3] == 0).all()
        first = np.flatnonzero(found.ends == 12)[0]
        np.testing.assert_allclose(scaled[first, -3:-1, 4], (fill - finite.mean()) / finite.std(), rtol=1e-4)
    complete = complete_windows(found)
    expected = [np.isfinite(window).all() for window in found.inputs()]
    assert complete.tolist() == expected
    assert not complete.all()


@pytest.mark.parametrize("statistic", ["median", "mean"])
def test_rolling_equals_brute_force_and_never_looks_ahead(statistic):
    table = series(n=130)
    time = table.time_ms.copy()
    time[70:130] += 10 * STEP_MS  # a gap in the first symbol
    table = replace(table, time_ms=time)
    window = 100
    rolled = rolling_normalised(table, window=window, statistic=statistic).X
    for row in (19, 69, 70, 88, 89, 129, 130, 200, 259):
        past = np.flatnonzero(table.segment[: row + 1] == table.segment[row])[-window:]
        x = table.X[past, 0].astype(np.float64)
        if len(past) < ROLLING_MIN_ROWS:
            assert np.isnan(rolled[row]).all()
            continue
        low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
        center, scale = (middle, high - low) if statistic == "median" else (x.mean(), x.std())
        np.testing.assert_allclose(rolled[row, 0], (x[-1] - center) / scale, rtol=1e-4, atol=1e-5)
    cut = 200
    future = table.X.copy()
    future[cut:] = 99.0
    again = rolling_normalised(replace(table, X=future), window=window, statistic=statistic).X
    np.testing.assert_array_equal(again[:cut], rolled[:cut])
