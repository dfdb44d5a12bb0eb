"""Label review: planted errors are found first, the order is stable, and the sealed test is out of reach."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest

from earmark.errors import MissingExtraError, SealError, UsageError
from earmark.evaluation.label_issues import find_label_issues, require_reviewable, write_label_review

CLASSES = ("YELLOW", "GREEN", "PURPLE")


def planted(n=400, share=0.1, seed=0):
    """Blobs of three classes with flipped labels, and probabilities of models that did not see the item."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    X = rng.normal(size=(n, 4)) + 3.0 * np.eye(3, 4)[truth]
    flipped = rng.choice(n, int(share * n), replace=False)
    y = truth.copy()
    y[flipped] = (truth[flipped] + rng.integers(1, 3, len(flipped))) % 3
    p = cross_val_predict(LogisticRegression(), X, y, cv=5, method="predict_proba")
    return y, p, {f"track{i:03d}" for i in flipped}, tuple(f"track{i:03d}" for i in range(n))


@pytest.fixture(scope="module")
def reviewed():
    pytest.importorskip("cleanlab")
    y, p, flipped, ids = planted()
    return find_label_issues(y, p, CLASSES, ids=ids, paths=[f"/m/{id}.mp3" for id in ids]), flipped


def test_planted_flips_come_first(reviewed):
    review, flipped = reviewed
    top = [row.id for row in review.issues[:30]]
    assert len(set(top) & flipped) / 30 > 0.8  # chance is 0.1
    assert len({row.id for row in review.issues[:50]} & flipped) > 0.75 * len(flipped)
    assert [row.is_potential_issue for row in review.rows] == sorted(
        (row.is_potential_issue for row in review.rows), reverse=True
    )
    scores = [row.quality_score for row in review.issues]
    assert scores == sorted(scores)
    assert all(
        row.quality_score == row.probabilities[CLASSES.index(row.current_label)] for row in review.rows
    )
    assert all(row.confidence == max(row.probabilities) for row in review.rows)


def test_the_order_does_not_depend_on_that_of_the_input(reviewed):
    y, p, _, ids = planted()
    mixed = np.random.default_rng(9).permutation(len(y))
    again = find_label_issues(
        y[mixed], p[mixed], CLASSES, ids=[ids[i] for i in mixed], paths=[f"/m/{ids[i]}.mp3" for i in mixed]
    )
    assert again.rows == reviewed[0].rows


def test_rates_count_every_item_once(reviewed):
    review, _ = reviewed
    assert sum(row["items"] for row in review.rates) == 400
    assert sum(row["issues"] for row in review.rates) == len(review.issues) == review.to_json()["issues"]
    assert [row["label"] for row in review.rates] == list(CLASSES)
    assert f"{len(review.issues)} of 400 labels" in review.sentence()


def test_the_files_hold_all_items_the_issues_and_the_worst_fifty(reviewed, tmp_path):
    review, _ = reviewed
    paths = write_label_review(review, tmp_path / "new", "20260301-101500")
    assert [path.name for path in paths] == [
        "label_quality_report_20260301-101500.csv", "noisy_labels_20260301-101500.csv",
        "tracks_to_review_20260301-101500.json",
    ]  # fmt: skip
    first = [path.read_bytes() for path in paths]
    assert [
        path.read_bytes() for path in write_label_review(review, tmp_path / "new", "20260301-101500")
    ] == first
    tables = []
    for path in paths[:2]:
        with path.open(newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    assert list(tables[0][0]) == [
        "track_id", "path", "current_label", "predicted_label", "confidence", "quality_score", "is_potential_issue",
        "prob_YELLOW", "prob_GREEN", "prob_PURPLE",
    ]  # fmt: skip
    assert [row["track_id"] for row in tables[0]] == [row.id for row in review.rows]
    assert [row["track_id"] for row in tables[1]] == [row.id for row in review.issues]
    assert {row["is_potential_issue"] for row in tables[1]} == {"true"}
    worst = json.loads(paths[2].read_text(encoding="utf-8"))
    assert len(worst) == min(50, len(review.issues)) and worst[0]["rank"] == 1
    assert worst[0]["track_id"] == review.issues[0].id and worst[0]["path"] == review.issues[0].path


def test_a_class_without_items_has_no_rate():
    pytest.importorskip("cleanlab")
    y, p, _, ids = planted(n=60)
    few = find_label_issues(np.where(y == 2, 0, y), p, CLASSES, ids=ids)
    assert few.rates[2] == {"label": "PURPLE", "items": 0, "issues": 0, "rate": None}


def test_the_sealed_test_is_refused_before_anything_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(SealError, match="sealed test"):
        find_label_issues([0, 1], np.eye(2), ("A", "B"), ids=("a", "b"), split="test")


def test_without_cleanlab_the_extra_is_named(monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "cleanlab" else found(name)
    )
    monkeypatch.setattr("earmark.evaluation.label_issues.find_spec", importlib.util.find_spec)
    with pytest.raises(MissingExtraError, match=r'pip install "earmark\[review\]"'):
        require_reviewable("val")


@pytest.mark.parametrize(
    ("y", "p", "ids", "words"),
    [
        ([0, 0], [[1.0, 0.0], [0.5, 0.5]], ("a", "b"), "of 1 classes (A)"),
        (np.zeros(0, int), np.empty((0, 2)), (), "no items"),
        ([0, 1], np.eye(2), ("a",), "1 ids"),
        ([0, 1], np.eye(3)[:2], ("a", "b"), "3 probabilities"),
    ],
)
def test_what_cannot_be_reviewed_is_refused(y, p, ids, words):
    pytest.importorskip("cleanlab")
    import re

    with pytest.raises(UsageError, match=re.escape(words)):
        find_label_issues(y, p, ("A", "B"), ids=ids)
