"""The sweep finds what the detector finds; its choice is scored on rows that the choice did not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from earmark.errors import UsageError
from earmark.tasks.zones.analysis.drop_sweep import GRID, DropGrid, DropSweep, find_on_grid, separation
from earmark.tasks.zones.drops import FRAME_LEVEL, FULL_RATE, find_drops
from earmark.tasks.zones.features import HOP_S

SMALL = DropGrid((0.0, 0.3, 0.8), (0.2, 0.5), (1.0, 8.0))
EASY, STRICT = FULL_RATE, replace(FULL_RATE, min_contrast=0.9)


def sweep_of(
    found: list[list[int]], planted: list[int], hits: list[list[int]], zones: list[int], folds: list[int]
) -> DropSweep:
    n = len(planted)
    return DropSweep(
        rules=(EASY, STRICT),
        minutes=np.ones(n),
        found=np.array(found),
        planted=np.array(planted),
        hits=np.array(hits),
        zones=np.array(zones),
        groups=np.arange(n),
        folds=np.array(folds),
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([FULL_RATE, FRAME_LEVEL]), st.sampled_from([0, 60, 900]))
def test_the_grid_finds_what_the_detector_finds(seed: int, base: object, n_frames: int) -> None:
    rng = np.random.default_rng(seed)
    curve = np.repeat(rng.uniform(0, 1, 1 + n_frames // 40), 40)[:n_frames] + 0.1 * rng.uniform(size=n_frames)
    rules = [rule for base_rule in (base, FULL_RATE) for rule in SMALL.rules(base_rule)]  # type: ignore[arg-type]
    for rule, times in zip(rules, find_on_grid(curve, rules), strict=True):
        if n_frames:
            np.testing.assert_array_equal(times, find_drops(curve, frame_s=HOP_S, rule=rule).time_s)
        else:
            assert len(times) == 0


def test_rules_of_a_grid_hold_the_default_first_and_each_point_once() -> None:
    rules = GRID.rules()
    points = {(rule.threshold_std, rule.min_contrast, rule.max_rise_s) for rule in rules}
    assert rules[0] == FULL_RATE and len(points) == len(rules) == 6 * 7 * 5
    assert {(rule.min_frames, rule.spacing_frames) for rule in rules} == {(100, 50)}
    assert len(DropGrid((0.1,), (0.1,), (1.0,)).rules()) == 2  # the default is no point of this one


@pytest.mark.parametrize("values", [(), (0.3, 0.3), (-0.1,), (float("nan"),), (float("inf"),)])
def test_a_grid_without_sense_is_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"threshold_std of the grid"):
        DropGrid(threshold_std=values)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-1, 0, 1])), min_size=2, max_size=40))
def test_separation_is_the_area_under_the_curve(rows: list[tuple[int, int]]) -> None:
    rate, zone = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    ends = zone != 0
    if len(set(zone[ends])) < 2:
        assert np.isnan(separation(rate, zone))
    else:
        assert float(separation(rate, zone)) == pytest.approx(roc_auc_score(zone[ends] > 0, rate[ends]))


def test_nested_f1_by_hand() -> None:
    # In fold 0 the easy rule is perfect and the strict one blind; in fold 1 the easy rule finds 3 for each drop.
    sweep = sweep_of(
        found=[[2, 2, 6, 6], [0, 0, 2, 2]],
        planted=[2, 2, 2, 2],
        hits=[[2, 2, 2, 2], [0, 0, 2, 2]],
        zones=[-1, 1, -1, 1],
        folds=[0, 0, 1, 1],
    )
    assert sweep.objective == "f1"
    np.testing.assert_allclose(sweep.scores, [16 / 24, 8 / 12])
    assert sweep.best == EASY  # equal, and the default
    assert sweep.choices == {0: STRICT, 1: EASY}  # each fold is judged by the other
    assert sweep.nested_score().value == pytest.approx(2 * 4 / (12 + 8))
    assert sweep.default_score().value == pytest.approx(16 / 24)
    gain = sweep.gain()
    assert gain.value == pytest.approx(0.4 - 16 / 24) and gain.high <= 0.5
    assert "the defaults stay" in sweep.sentences()[-1]


def test_nested_auc_compares_tracks_of_one_fold_only() -> None:
    sweep = sweep_of(
        found=[[1, 2, 10, 11], [0, 0, 0, 0]],
        planted=[-1] * 4,
        hits=[[0] * 4] * 2,
        zones=[-1, 1, 1, -1],
        folds=[0, 0, 1, 1],
    )
    assert sweep.objective == "auc"
    assert sweep.default_score().value == 0.5  # one pair right, one wrong; 10 > 1 and 2 < 11 are not compared
    assert sweep.choices == {0: STRICT, 1: EASY}  # the folds disagree about the easy rule
    assert sweep.nested_score().value == pytest.approx((0.5 + 0.0) / 2)


def noise_sweep(seed: int, n: int = 120, n_rules: int = 60) -> DropSweep:
    return DropSweep(
        rules=tuple(replace(FULL_RATE, min_contrast=0.5 + k) for k in range(n_rules)),
        minutes=np.ones(n),
        found=np.random.default_rng(seed).integers(0, 9, (n_rules, n)),
        planted=np.full(n, -1),
        hits=np.zeros((n_rules, n), dtype=int),
        zones=np.tile([-1, 0, 1], n // 3),
        groups=np.repeat(np.arange(n // 2), 2),
        folds=np.repeat(np.arange(5), n // 5),
    )


def test_choosing_among_noise_looks_good_and_gains_nothing() -> None:
    sweeps = [noise_sweep(seed) for seed in range(20)]
    assert np.mean([sweep.scores.max() for sweep in sweeps]) > 0.6  # the best of 60 on its own rows
    nested = [sweep.nested_score() for sweep in sweeps]
    assert abs(np.mean([score.value for score in nested]) - 0.5) < 0.05
    assert np.mean([score.low < 0.5 < score.high for score in nested]) >= 0.8


def test_zones_that_are_missing_leave_scores_undefined() -> None:
    sweep = sweep_of([[1, 2], [3, 4]], [-1, -1], [[0, 0], [0, 0]], [-1, -1], [0, 1])
    assert np.isnan(sweep.nested_score().value) and sweep.best == EASY
    assert len(sweep.rows()) == 2 and all(sweep.sentences())
