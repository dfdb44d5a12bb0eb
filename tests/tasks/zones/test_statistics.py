"""Track statistics by hand."""

from __future__ import annotations

import numpy as np

from earmark.tasks.zones.statistics import (
    AGG8,
    NDROP_COLUMNS,
    agg8,
    agg8_columns,
    flag_count_columns,
    flag_counts,
    ndrop,
)


def test_agg8_by_hand() -> None:
    table = np.column_stack([np.arange(11.0), np.full(11, 2.0)])
    numbers = dict(zip(agg8_columns(["a", "b"]), agg8(table), strict=True))
    assert [numbers[f"b_{name}"] for name in AGG8] == [2, 0, 2, 2, 2, 2, 2, 0]
    expected = [5, np.sqrt(10), 0, 10, 1, 5, 9, 10]
    np.testing.assert_allclose([numbers[f"a_{name}"] for name in AGG8], expected)


def test_flag_counts_by_hand() -> None:
    flags = np.array([[1, 0], [1, 0], [0, 0], [1, 1.0]])
    assert flag_count_columns(["x", "y"]) == ("x_sum", "x_rate", "y_sum", "y_rate")
    assert flag_counts(flags).tolist() == [3, 0.75, 1, 0.25]


def test_ndrop_by_hand() -> None:
    level = np.array([0.1, 0.3, 0.1, 0.3])
    buildup = np.array([0.0, 1.0, 0.0, 0.0])
    candidates = np.array([0.0, 1.0, 0.0, 0.0])
    numbers = dict(zip(NDROP_COLUMNS, ndrop(level, buildup, candidates), strict=True))
    np.testing.assert_allclose(numbers["buildup_max_to_rms_mean"], 5, rtol=1e-4)
    np.testing.assert_allclose(numbers["buildup_mean_to_rms_mean"], 1.25, rtol=1e-4)
    np.testing.assert_allclose(numbers["buildup_peak_to_rms_std"], 7.5, rtol=1e-4)
    np.testing.assert_allclose(numbers["buildup_spread_to_rms_range"], 0.7 / 0.2, rtol=1e-4)
    np.testing.assert_allclose(numbers["dynamics_score"], 2.5 + 0.5 + buildup.std())


def test_silence_is_finite() -> None:
    zeros = np.zeros(3)
    assert ndrop(zeros, zeros, zeros).tolist() == [0.0] * 5
