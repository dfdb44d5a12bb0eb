"""Soft conditions at and around their bounds, and rule sets over columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import SchemaError, UsageError
from earmark.inference.rules import RuleSet, above, below, between


@pytest.mark.parametrize(
    ("condition", "x", "score"),
    [
        (below("c", 110), 0, 1),
        (below("c", 110), 110, 1),
        (below("c", 110), 165, 0.5),
        (below("c", 110), 220, 0),
        (below("c", 110), 1e9, 0),
        (below("c", 110), -5, 1),
        (above("c", 128), 128, 1),
        (above("c", 128), 64, 0.5),
        (above("c", 128), 0, 0),
        (above("c", 128), -1, 0),
        (above("c", 128), 1e9, 1),
        (between("c", 110, 128), 110, 1),
        (between("c", 110, 128), 128, 1),
        (between("c", 110, 128), 119, 1),
        (between("c", 110, 128), 101, 0.5),
        (between("c", 110, 128), 92, 0),
        (between("c", 110, 128), 137, 0.5),
        (between("c", 110, 128), 146, 0),
        (between("c", 110, 128), 1e9, 0),
        (below("c", 1), np.nan, 0),
        (above("c", 1), np.nan, 0),
        (between("c", 1, 2), np.nan, 0),
    ],
)
def test_scores_at_and_around_the_bounds(condition, x, score):
    assert condition.score([x])[0] == pytest.approx(score)


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e4), st.floats(0.01, 1e4))
def test_conditions_are_their_formulas(x, low, width):
    assert below("c", low).score([x])[0] == pytest.approx(np.clip(2 - x / low, 0, 1), abs=1e-9)
    assert above("c", low).score([x])[0] == pytest.approx(np.clip(x / low, 0, 1), abs=1e-9)
    outside = max(low - x, x - (low + width), 0)
    assert between("c", low, low + width).score([x])[0] == pytest.approx(
        max(0, 1 - outside / width), abs=1e-6
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: below("c", 0),
        lambda: above("c", -1),
        lambda: between("c", 2, 2),
        lambda: between("c", 3, 1),
        lambda: below("c", np.inf),
    ],
)
def test_bounds_are_positive_and_rising(make):
    with pytest.raises(UsageError, match="positive numbers in rising order"):
        make()


RULES = RuleSet({"low": (below("x", 1.0), below("y", 1.0)), "high": (above("x", 2.0),)}, threshold=0.5)


def test_a_class_scores_the_mean_of_its_conditions():
    assert RULES.columns == ("x", "y") and RULES.classes == ("low", "high")
    scores = RULES.scores([[1.0, 9.0, 0.5], [3.0, 9.0, 3.0]], ["y", "unused", "x"])
    assert scores == pytest.approx(np.array([[1.0, 0.25], [0.0, 1.0]]))


def test_missing_columns_are_named():
    with pytest.raises(SchemaError, match="2 columns that are not given: x, y"):
        RULES.scores(np.zeros((1, 1)), ["z"])


def test_no_items_score_nothing():
    assert RULES.scores(np.empty((0, 2)), ["x", "y"]).shape == (0, 2)
