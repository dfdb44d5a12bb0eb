"""Division, grouping, signatures and intervals on bars made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.tasks.meter.division import division
from earmark.tasks.meter.grouping import accents, bar_accents, candidate_groupings, grouping
from earmark.tasks.meter.intervals import beat_interval_s, beats_bpm, modal_spacing, spacing_shares
from earmark.tasks.meter.schema import CLASSES, SIGNATURES
from earmark.tasks.meter.signatures import CLASS_OF, RECORDED_SIGNATURES, class_scores, grouping_by_rule
from earmark.tasks.meter.trackers.rows import Beats


def beats_of(*bar_lengths: int, interval_s: float = 0.5) -> Beats:
    positions = np.concatenate([np.arange(1, n + 1) for n in bar_lengths]).astype(np.int64)
    n = len(positions)
    return Beats(np.arange(n) * interval_s, positions, np.ones(n, dtype=np.float32))


def onsets_at(n_beats: int, *phases: float, interval_s: float = 0.5) -> np.ndarray:
    return np.sort((np.arange(n_beats)[:, None] + np.array(phases)).ravel()) * interval_s


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ((0.0, 1 / 3, 2 / 3), "compound"),
        ((0.0, 0.30, 0.70), "compound"),
        ((0.0, 0.5), "simple"),
        ((0.0,), "simple"),
        ((0.0, 0.25, 0.5, 0.75), "simple"),
        ((0.0, 0.5, 0.75), "simple"),
        ((0.0, 0.2, 0.3, 0.5, 0.7, 0.8), "simple"),
    ],
)
def test_division_is_compound_only_where_two_inner_onsets_lie_at_thirds(phases, expected):
    assert division(np.arange(17) * 0.5, onsets_at(16, *phases)).name == expected


def test_division_counts_by_hand():
    # beats at 0, 1, 2, 3 s; inner onsets: two at thirds, none, two not at thirds
    found = division(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.34, 0.66, 1.05, 2.2, 2.5]))
    assert found.inner_median == 2.0
    assert found.inner_variation == pytest.approx(np.std([2, 0, 2]) / (4 / 3))
    assert found.thirds_share == 0.5
    assert not found.is_compound


def test_division_of_nothing_is_simple():
    empty = np.empty(0)
    assert division(empty, empty).name == division(np.array([1.0]), np.array([0.5])).name == "simple"


@pytest.mark.parametrize(
    "groups", [(2, 2, 3), (3, 2, 2), (2, 3, 2), (2, 3), (3, 2), (3, 3, 3, 2), (2, 2, 2, 3)]
)
def test_grouping_is_heard_from_accents_at_group_starts(groups):
    bar = np.zeros(sum(groups))
    bar[np.cumsum([0, *groups[:-1]])] = 1.0
    found = grouping(bar)
    assert found.groups == groups
    assert found.is_measured
    # hand-computed for seven beats: best 1 - 0; the next one shares two of its three starts
    if len(bar) == 7:
        assert found.margin == pytest.approx(1 - (2 / 3 - 1 / 4))


def test_six_beats_are_three_and_three_or_three_twos():
    assert grouping([1, 0, 0, 1, 0, 0]).groups == (3, 3)
    assert grouping([1, 0, 1, 0, 1, 0]).groups == (2, 2, 2)


def test_flat_accents_fall_back_to_the_table():
    assert grouping(np.zeros(7)).groups == (2, 2, 3)
    assert grouping(np.zeros(9)).groups == (2, 2, 2, 3)
    assert grouping(np.zeros(9), compound=True).groups == (3, 3, 3)
    assert not grouping(np.zeros(11)).is_measured
    assert grouping([1.0, 0.0, 0.0]).groups == (3,)
    assert grouping_by_rule(1) == (1,)


@given(st.integers(2, 14))
def test_candidates_are_all_orders_of_twos_and_threes(beats):
    found = candidate_groupings(beats)
    assert len(set(found)) == len(found)
    assert all(sum(groups) == beats and set(groups) <= {2, 3} for groups in found)
    padovan = [1, 0, 1, 1]
    while len(padovan) <= beats:
        padovan.append(padovan[-2] + padovan[-3])
    assert len(found) == padovan[beats]


def test_bar_accents_are_means_over_the_bars_of_that_length():
    beats = beats_of(3, 3, 2, 3, 1)
    strengths = np.array([3.0, 1, 1, 5, 1, 3, 9, 9, 1, 1, 2, 0])
    assert bar_accents(strengths, beats.positions, 3).tolist() == [3.0, 1.0, 2.0]
    assert not bar_accents(strengths, beats.positions, 7).any()


def test_accents_add_standardised_curves_and_ignore_constant_ones():
    assert accents(np.array([1.0, -1.0]), np.array([5.0, 5.0])).tolist() == [1.0, -1.0]
    assert accents(np.empty(0), np.empty(0)).shape == (0,)


def test_spacings_and_tempo():
    beats = beats_of(3, 3, 4, 3, 1)
    assert spacing_shares(beats)[3] == 0.75
    assert spacing_shares(beats)[4] == 0.25
    assert modal_spacing(beats) == 3
    assert beat_interval_s(beats) == 0.5
    assert beats_bpm(beats) == 120.0
    assert (beats_bpm(Beats.none()), modal_spacing(Beats.none())) == (0.0, None)
    assert set(spacing_shares(Beats.none()).values()) == {0.0}


def test_every_signature_has_a_class_and_every_class_a_signature():
    assert set(SIGNATURES) <= set(RECORDED_SIGNATURES) == set(CLASS_OF)
    assert set(CLASS_OF.values()) == set(CLASSES)
    assert {CLASS_OF[name] for name in ("3/4", "6/8")} == {"3"}
    assert {CLASS_OF[name] for name in ("2/4", "4/4", "12/8")} == {"4"}


def test_class_scores_take_the_best_signature():
    scores = class_scores(
        {"3/4": np.array([0.2, 0.0]), "6/8": np.array([0.9, 0.0]), "11/8": np.array([0.1, 1.0])}
    )
    assert scores.tolist() == [[0.9, 0, 0, 0, 0, 0.1], [0, 0, 0, 0, 0, 1.0]]
