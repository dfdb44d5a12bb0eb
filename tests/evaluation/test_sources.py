"""Scores per source: those of the source's items alone, marked where they are no part of the headline."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from earmark.errors import UsageError
from earmark.evaluation.intervals import bootstrap_interval
from earmark.evaluation.metrics import accuracy
from earmark.evaluation.sources import UNNAMED, score_by_source, sources_csv

Y = np.array([0, 1, 2, 0, 1, 2, 0, 1])
P = np.eye(3)[[0, 1, 2, 1, 1, 2, 2, 1]]
SOURCES = np.array(["vinyl", "vinyl", "", "vinyl", "", "vinyl", "", ""])


def test_each_source_is_scored_by_its_own_items():
    unnamed, vinyl = score_by_source(Y, P, SOURCES)
    assert (unnamed.source, unnamed.n, vinyl.source, vinyl.n) == (UNNAMED, 4, "vinyl", 4)
    assert (unnamed.scores["accuracy"].value, vinyl.scores["accuracy"].value) == (0.75, 0.75)
    assert vinyl.scores["balanced_accuracy"].value == pytest.approx((0.5 + 1 + 1) / 3)
    assert unnamed.in_headline and vinyl.in_headline


def test_one_source_has_the_scores_and_bounds_of_everything():
    groups = np.arange(8) // 2
    (whole,) = score_by_source(Y, P, ["one"] * 8, groups, seed=3)
    assert whole.scores["accuracy"] == bootstrap_interval(accuracy, Y, P, groups, 3)


def test_the_file_marks_what_is_no_part_of_the_headline():
    rows = score_by_source(Y, P, SOURCES) + score_by_source(Y[:1], P[:1], ["deam"], in_headline=False)
    read = list(csv.DictReader(io.StringIO(sources_csv(rows))))
    assert [(row["source"], row["n"], row["in_headline"]) for row in read] == [
        (UNNAMED, "4", "true"), ("vinyl", "4", "true"), ("deam", "1", "false"),
    ]  # fmt: skip
    assert read[2]["accuracy"] == "1.0" and read[2]["accuracy_low"] == ""  # one item has no interval
    assert rows[2].to_json()["accuracy"] == {"value": 1.0, "low": None, "high": None}


def test_nothing_to_score_gives_no_rows_and_a_header():
    assert score_by_source(np.zeros(0, int), np.empty((0, 3)), []) == ()
    assert sources_csv([]).startswith(
        "source,n,in_headline,accuracy,accuracy_low,accuracy_high,balanced_accuracy,"
    )


def test_a_source_for_each_item_is_required():
    with pytest.raises(UsageError, match=r"sources have shape \(2,\).*8 items"):
        score_by_source(Y, P, ["a", "b"])
