"""Track statistics by hand."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.tasks.zones.statistics import (
    AGG8,
    AGG14,
    NDROP2_COLUMNS,
    NDROP_COLUMNS,
    agg8,
    agg8_columns,
    agg10_columns,
    agg14,
    agg14_columns,
    first_difference,
    flag_count_columns,
    flag_counts,
    ndrop,
    ndrop2,
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


def test_agg14_by_hand() -> None:
    # 0, 1, ..., 19 and then 40: the first and the last tenth are two frames each.
    rising = np.append(np.arange(20.0), 40.0)
    table = np.column_stack([rising, np.full(21, 2.0)])
    numbers = dict(zip(agg14_columns(["a", "b"]), agg14(table), strict=True))
    assert [numbers[f"b_{name}"] for name in AGG14] == [2, 0, 2, 2, 0, 2, 2, 2, 2, 2, 2, 2, 0, 0]
    steps = np.array([1.0] * 19 + [21.0])
    expected = [rising.mean(), rising.std(), 0, 40, 40, 2, 5, 10, 15, 18, 0.5, 29.5, 29, steps.std()]
    np.testing.assert_allclose([numbers[f"a_{name}"] for name in AGG14], expected)


def test_agg10_is_the_first_ten_of_agg14() -> None:
    assert agg10_columns(["a", "b"]) == (*agg14_columns(["a"])[:10], *agg14_columns(["b"])[:10])


def test_agg14_of_one_frame_and_of_fewer_than_ten() -> None:
    assert agg14(np.array([[3.0]])).tolist() == [3, 0, 3, 3, 0, 3, 3, 3, 3, 3, 3, 3, 0, 0]
    numbers = dict(zip(agg14_columns(["a"]), agg14(np.array([[1.0], [5.0], [2.0]])), strict=True))
    assert (numbers["a_start"], numbers["a_end"], numbers["a_trajectory"]) == (1, 2, 1)


def test_first_difference_starts_at_zero() -> None:
    assert first_difference(np.array([[2.0, 1], [5, 1], [4, 2]])).tolist() == [[0, 0], [3, 0], [-1, 1]]


def test_ndrop2_by_hand() -> None:
    level = np.array([0.1, 0.3, 0.2, 0.2])
    column = {
        "rms_energy": level,
        "rms_energy_delta": np.array([0, 0.2, -0.1, 0]),
        "rms_energy_delta2": np.array([0, 0.2, -0.3, 0.1]),
        "mfcc_1": np.full(4, 99.0),
        "mfcc_1_delta": np.array([0, 2.0, 0, 2]),
        "mfcc_12_delta": np.array([0, 4.0, 0, 4]),
        "brightness": np.full(4, 0.5),
        "brightness_delta": np.array([0.1, -0.1, 0.1, -0.1]),
        "spectral_flux": np.array([1.0, 3, 1, 3]),
        "onset_strength": np.array([2.0, 6, 2, 6]),
        "energy_peak": np.array([0, 1, 0, 1]),
        "energy_valley": np.array([0, 0, 1, 0]),
    }
    numbers = dict(zip(NDROP2_COLUMNS, ndrop2(column), strict=True))
    step_std = np.sqrt((0.2**2 + 0.1**2) / 4 - 0.025**2)
    expected = {
        "rms_step_std_to_mean": step_std / 0.2,
        "rms_curvature": 0.0,
        "rms_step_std_to_size": step_std / 0.075,
        "mfcc_step_std": 1.5,
        "brightness_step_std_to_mean": 0.2,
        "flux_std_to_mean": 0.5,
        "peak_density": 0.5,
        "valley_density": 0.25,
        "peaks_to_valleys": 1.0,
        "onset_std_to_mean": 0.5,
        "change_score": (2 * np.sqrt(0.02 / 4) + 0.1 + 1) / 3,
    }
    assert numbers == pytest.approx(expected, rel=1e-4, abs=1e-9)
    # The number of coefficients in the table does not matter, only their mean movement.
    del column["mfcc_12_delta"]
    assert ndrop2(column)[NDROP2_COLUMNS.index("mfcc_step_std")] == 1.0


def test_silence_is_finite() -> None:
    zeros = np.zeros(3)
    assert ndrop(zeros, zeros, zeros).tolist() == [0.0] * 5
    names = ("rms_energy", "rms_energy_delta", "rms_energy_delta2", "mfcc_1_delta", "brightness")
    names += ("brightness_delta", "spectral_flux", "onset_strength", "energy_peak", "energy_valley")
    assert ndrop2(dict.fromkeys(names, zeros)).tolist() == [0.0] * 11
