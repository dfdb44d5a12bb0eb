"""Votes of frames: small cases by hand, and what every vote promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earmark.errors import UsageError
from earmark.inference.voting import (
    METHODS,
    UNDECIDED,
    FrameWeights,
    decide,
    frame_weights,
    majority_vote,
    mean_vote,
    vote,
    weighted_vote,
)

TABLES = st.tuples(st.integers(1, 30), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(0.001, 1))
)


def test_mean_by_hand() -> None:
    np.testing.assert_allclose(mean_vote([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6]]), [0.3, 0.3, 0.4])


def test_majority_by_hand() -> None:
    table = [[0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.1, 0.3, 0.6], [0, 0, 1]]
    # In the second frame the first two tie: the first counts.
    np.testing.assert_allclose(majority_vote(table), [0.5, 0, 0.5])


def test_mean_and_majority_differ_where_a_few_frames_are_sure() -> None:
    table = [[0.55, 0.45]] * 3 + [[0.05, 0.95]]
    assert vote(table, "majority").label == 0
    assert vote(table, "mean").label == 1


def test_position_by_hand() -> None:
    # Ten frames with centres at 0.05, 0.15, ..., 0.95: 1 six times, then 1 + 2 * (p - 0.6) / 0.4, last 3.6.
    weights = frame_weights(np.full((10, 2), 0.5), FrameWeights(0, 1, 0))
    raw = np.array([1, 1, 1, 1, 1, 1, 1.25, 1.75, 2.25, 3.6])
    np.testing.assert_allclose(weights, (raw - 1) / 2.6)


def test_confidence_by_hand() -> None:
    weights = frame_weights([[0.5, 0.5], [0.1, 0.9], [0.7, 0.3]], FrameWeights(1, 0, 0))
    np.testing.assert_allclose(weights, [0, 1, 0.5])


def test_agreement_by_hand() -> None:
    # Best classes 0 0 0 1 0 0: neighbours that agree 1 2 1 0 1 1; the first and last have one neighbour.
    best = np.array([0, 0, 0, 1, 0, 0])
    weights = frame_weights(np.eye(2)[best], FrameWeights(0, 0, 1))
    np.testing.assert_allclose(weights, [0.4, 1, 0.4, 0, 0.4, 0.4])


def test_weighted_by_hand() -> None:
    table = np.array([[0.6, 0.4], [0.6, 0.4], [0.8, 0.2], [0.3, 0.7]])
    confidence = np.array([0, 0, 1, 0.5])
    # Centres 0.125, 0.375, 0.625, 0.875: the last two lie 0.025 and 0.275 of 0.4 up the rise from 1 to 3.
    position = np.array([0, 0, 0.125, 1.375]) / 1.375
    agreement = np.array([0.4, 1, 0.4, 0])  # 1.2, 1.5, 1.2 and 1
    weights = 0.3 * confidence + 0.5 * position + 0.2 * agreement
    np.testing.assert_allclose(frame_weights(table), weights)
    np.testing.assert_allclose(weighted_vote(table), weights @ table / weights.sum())


@pytest.mark.parametrize("n_frames", [1, 2])
def test_frames_that_nothing_sets_apart_count_equally(n_frames: int) -> None:
    weights = frame_weights([[0.2, 0.8]] * n_frames, FrameWeights(1, 0, 1))
    assert weights.tolist() == [1.0] * n_frames
    np.testing.assert_allclose(weighted_vote([[0.2, 0.8]]), [0.2, 0.8])


def test_boost_and_threshold_by_hand() -> None:
    # 0.4 x 1.3 = 0.52 of 1.12.
    decision = decide([0.25, 0.35, 0.4], boosts=[1, 1, 1.3], threshold=0.46)
    assert decision.label == 2
    assert decision.confidence == pytest.approx(0.52 / 1.12)
    np.testing.assert_allclose(decision.scores, np.array([0.25, 0.35, 0.52]) / 1.12)
    assert decide([0.25, 0.35, 0.4], boosts=[1, 1, 1.3], threshold=0.47).label == UNDECIDED
    assert decide([0.3, 0.7], threshold=0.7).label == 1  # the threshold itself is enough
    assert decide([0.35, 0.4, 0.25], boosts=[1, 1, 1.7]).label == 2


@given(TABLES)
def test_scores_of_every_vote_are_a_distribution(table: np.ndarray) -> None:
    for method in METHODS.values():
        scores = method(table)
        assert scores.shape == (table.shape[1],)
        assert (scores >= 0).all()
        assert scores.sum() == pytest.approx(1)


@given(TABLES, st.integers(-8, 8))
def test_rows_are_scaled_to_sum_one(table: np.ndarray, exponent: int) -> None:
    for method in METHODS.values():  # by a power of two, so that ties stay ties
        np.testing.assert_array_equal(method(table * 2.0**exponent), method(table))


@given(TABLES, st.data())
def test_classes_may_come_in_any_order(table: np.ndarray, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(table.shape[1])))
    np.testing.assert_allclose(mean_vote(table[:, order]), mean_vote(table)[order])
    if len(np.unique(table)) == table.size:
        np.testing.assert_allclose(weighted_vote(table[:, order]), weighted_vote(table)[order])
        np.testing.assert_allclose(majority_vote(table[:, order]), majority_vote(table)[order])


@given(TABLES)
def test_frames_that_agree_win_every_vote(table: np.ndarray) -> None:
    table[:, 0] = table.sum(axis=1)
    for name in METHODS:
        assert vote(table, name).label == 0


@pytest.mark.parametrize(
    "table",
    [
        [],
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        [0.2, 0.8],
        [[0.2, np.nan]],
        [[0.2, np.inf]],
        [[-0.1, 1.1]],
        [[0.5, 0.5], [0, 0]],
    ],
)
def test_what_is_no_table_of_probabilities_is_refused(table: object) -> None:
    for method in METHODS.values():
        with pytest.raises(UsageError, match="probabilities of frames"):
            method(table)


def test_wrong_arguments_are_refused_by_value() -> None:
    scores = [0.5, 0.5]
    for boosts in ([1.0], [1, -1], [1, np.nan], [1, 1, 1]):
        with pytest.raises(UsageError, match="boosts are"):
            decide(scores, boosts=boosts)
    with pytest.raises(UsageError, match="frame of zeros"):
        decide(scores, boosts=[0, 0])
    for threshold in (-0.1, 1.1, np.nan):
        with pytest.raises(UsageError, match="threshold of a vote"):
            decide(scores, threshold=threshold)
    with pytest.raises(UsageError, match=r"no vote 'majorty' \(did you mean `majority`"):
        vote([scores], "majorty")
    for shares in ((0, 0, 0), (-1, 1, 1), (np.nan, 1, 1)):
        with pytest.raises(UsageError, match="shares of a frame's weight"):
            FrameWeights(*shares)
