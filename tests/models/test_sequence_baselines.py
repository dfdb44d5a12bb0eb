"""Baselines: the commonest class, and a last direction that is the past's and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from window_tables import HORIZON_MS, STEP_MS, series

from earmark.data.windows import make_windows
from earmark.models.sequence import registry
from earmark.models.sequence.baselines import best_cut, past_movement


def labelled_by_price(n=200, symbols=("A", "B"), threshold=0.001):
    """Labels made of the prices themselves, two rows ahead."""
    table = series(n, symbols)
    movement = np.full(len(table), np.nan, np.float32)
    same = np.flatnonzero(table.symbol[2:] == table.symbol[:-2])
    movement[same] = table.price[same + 2] / table.price[same] - 1
    y = np.where(np.isnan(movement), -1, 1 + (movement > threshold) - (movement < -threshold)).astype(np.int8)
    return replace(table, y=y, movement=movement)


def test_past_movement_by_hand():
    table = series(n=6, symbols=("A", "B"))
    time = table.time_ms.copy()
    time[3:6] += 5 * STEP_MS
    table = replace(table, time_ms=time)
    found = past_movement(table, np.arange(12), HORIZON_MS)
    price = table.price
    expected = np.full(12, np.nan)
    for now, before in ((2, 0), (5, 3), (8, 6), (9, 7), (10, 8), (11, 9)):
        expected[now] = price[now] / price[before] - 1
    np.testing.assert_allclose(found, expected)


def test_a_horizon_below_the_interval_reads_the_row_before():
    table = series(n=4, symbols=("A",))
    found = past_movement(table, np.arange(4), 10_000)
    np.testing.assert_allclose(found[1:], table.price[1:] / table.price[:-1] - 1)
    assert np.isnan(found[0])


def test_last_direction_finds_the_rule_and_repeats_the_last_movement():
    windows = make_windows(labelled_by_price(), 5)
    model = registry.make("last_direction").fit(windows)
    assert model.horizon_ms == HORIZON_MS
    np.testing.assert_allclose(model.cuts, (-0.001, 0.001), atol=2e-4)
    last = past_movement(windows.table, windows.ends, HORIZON_MS)
    expected = 1 + (last > model.cuts[1]) - (last <= model.cuts[0]).astype(int)
    np.testing.assert_array_equal(model.predict(windows).direction, expected)


def test_last_direction_does_not_look_ahead():
    table = labelled_by_price()
    windows = make_windows(table, 5)
    model = registry.make("last_direction").fit(windows)
    cut = 100
    price = table.price.copy()
    price[cut:] *= 3
    changed = make_windows(replace(table, price=price), 5)
    early = windows.ends < cut
    np.testing.assert_array_equal(
        model.predict(windows).probabilities[early], model.predict(changed).probabilities[early]
    )


def test_best_cut_splits_where_most_agree():
    movement = np.array([3, 1, 2, 2, 4], np.float32)
    assert best_cut(movement, movement >= 3) == 2.5
    assert best_cut(movement, np.zeros(5, bool)) >= 4
    assert best_cut(movement, np.ones(5, bool)) < 1
