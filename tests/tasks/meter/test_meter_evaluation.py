"""Scores of meters by hand, records and their gate, and the whole way on a small project."""

from __future__ import annotations

import json

import numpy as np
import pytest
from meter_projects import CLASSES, make_project

from earmark.data.seal import LEDGER_FILE, read_ledger
from earmark.errors import RunError, UsageError
from earmark.tasks.meter.evaluation.evaluate import MeterOptions, evaluate_meter, save_record
from earmark.tasks.meter.evaluation.records import (
    Answers,
    compare,
    newest_accepted,
    read_records,
    regressions,
)
from earmark.tasks.meter.evaluation.scores import remapped, score_meters
from earmark.tasks.verbs.train import TrainOptions, train


def _answers_as_p(said):
    p = np.full((len(said), 6), 0.02)
    p[np.arange(len(said)), [CLASSES.index(name) for name in said]] = 0.9
    return p


def test_scores_by_hand():
    labels, said = ["3", "3", "4", "4", "4", "5"], ["3", "9", "4", "3", "4", "7"]
    y = np.array([CLASSES.index(name) for name in labels])
    targets = np.eye(6)[y]
    targets[3, 0] = 0.5  # the fourth is in 3, too
    scores = score_meters(y, _answers_as_p(said), targets, CLASSES)
    assert (scores.accuracy.n_right, scores.accuracy.n) == (3, 6)
    assert scores.balanced.value == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert {name: (one.n_right, one.n) for name, one in scores.per_class.items()} == {
        "3": (1, 2),
        "4": (2, 3),
        "5": (0, 1),
    }
    assert (scores.binary.n_right, scores.binary.n) == (3, 5)
    assert scores.polymetric.n_right == 4
    assert (
        scores.remapped.n_right == 4
    )  # the 9 becomes 3; the 7 becomes the likeliest of 3, 4, 5, which are level
    assert scores.confusion.sum() == 6 and scores.confusion[0, CLASSES.index("9")] == 1
    assert json.dumps(scores.to_json(), allow_nan=False)


def test_remapped_answers_stay_in_their_set():
    y = np.array([0, 1, 4])
    p = np.array([[0.1, 0.2, 0, 0.1, 0.6, 0], [0.1, 0.2, 0, 0.7, 0, 0], [0.4, 0, 0, 0, 0.6, 0]])
    inside = remapped(y, p, np.array([0, 0, 1]), CLASSES)
    np.testing.assert_array_equal(inside.argmax(axis=1), [0, 1, 4])
    np.testing.assert_allclose(inside.sum(axis=1), 1)
    empty = remapped(np.array([0]), np.array([[0, 1.0, 0, 0, 0, 0]]), np.array([0]), CLASSES)
    np.testing.assert_array_equal(empty, [[1, 0, 0, 0, 0, 0]])


def _answers(n_right, n=200, shift=0):
    right = (np.arange(n) + shift) % n < n_right
    return Answers({f"f{i}": ("34"[i % 2], "34"[i % 2] if right[i] else "5") for i in range(n)})


def test_the_gate_minds_what_is_significant_and_strictly_a_single_file():
    before = _answers(180)
    assert regressions(compare(_answers(179), before)) == []
    assert [line.split(":")[0] for line in regressions(compare(_answers(179), before, strict=True))] == [
        "total",
        "4",
    ]
    worse = regressions(compare(_answers(150), before))
    assert worse[0].startswith("total: 180 -> 150 right (30 lost, 0 gained, p = 0.000)") and len(worse) == 3
    churn = _answers(180, shift=60)  # as good, on other files
    assert regressions(compare(churn, before, strict=True)) == []
    with pytest.raises(RunError, match="other files"):
        compare(_answers(10, n=20), before)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("meter"))
    return project, train(project, TrainOptions(algorithms=("logistic",))).best


def test_evaluating_leaves_the_seal_closed_unless_the_test_is_asked_for(trained):
    project, run = trained
    found = evaluate_meter(project, run, MeterOptions())
    assert found.scores.accuracy.n == len(project.splits.train_ids)
    assert found.scores.accuracy.share.value > 0.7 > found.controls["majority"].accuracy.share.value
    assert "svm_mfcc" in found.controls and set(found.apart["dataset"]) == {"meter2800", "ballroom"}
    assert set(found.apart["style"]) == {"waltz", "polka"} and not found.apart["genre"]
    assert (
        found.scores.polymetric.n_right > found.scores.accuracy.n_right
    )  # 3 is an annotated meter of every 4
    assert read_ledger(project.data_folder / LEDGER_FILE) == []
    small = evaluate_meter(project, run, MeterOptions(limit=6, controls=False))
    assert sorted(small.data.class_counts.values()) == [0, 0, 0, 0, 3, 3]
    only = evaluate_meter(project, run, MeterOptions(meter="4", datasets=("ballroom",), controls=False))
    assert set(only.data.y) == {1} and {row["dataset"] for row in only.rows()} == {"ballroom"}
    for options, match in ((MeterOptions(split="train"), "split"), (MeterOptions(meter="6"), "meter is '6'")):
        with pytest.raises(UsageError, match=match):
            evaluate_meter(project, run, options)


def test_the_second_label_set_is_scored_beside_the_first(trained):
    project, run = trained
    split = "test" if "clip-000" in project.splits.test_ids else "tuning"
    found = evaluate_meter(project, run, MeterOptions(split=split, controls=False))
    assert found.corrected is not None
    gap = found.corrected.per_class["4"].n - found.scores.per_class["4"].n
    assert gap == 1 and found.corrected.accuracy.n == found.scores.accuracy.n


def test_the_sealed_test_is_recorded_and_a_worse_run_rejected(trained):
    project, run = trained
    whole = evaluate_meter(project, run, MeterOptions(split="test"), reason="final")
    assert read_ledger(project.data_folder / LEDGER_FILE)[-1]["reason"] == "final"
    assert whole.data.is_soft and whole.scores.accuracy.n == len(project.splits.test_ids)
    first = save_record(project, whole)
    again = save_record(project, whole)
    assert first.accepted and first.before is None and again.accepted and again.before == run.name
    bad = train(project, TrainOptions(algorithms=("logistic",), features="noise", metric="accuracy")).best
    flipped = evaluate_meter(project, bad, MeterOptions(split="test", controls=False))
    object.__setattr__(flipped, "p", 1 / 5 * (1 - whole.p))  # the wrong answer wherever the other was sure
    saved = save_record(project, flipped)
    assert not saved.accepted and saved.reasons[0].startswith("total")
    records = read_records(saved.path.parent)
    assert [record["status"] for record in records] == ["accepted", "accepted", "rejected"]
    answers = Answers({name: tuple(pair) for name, pair in records[0]["answers"].items()})
    assert newest_accepted(records, answers, "original")["when"] == records[1]["when"]
    assert records[0]["scores"]["accuracy"]["n_right"] == whole.scores.accuracy.n_right
    with pytest.raises(UsageError, match="sealed test"):
        save_record(project, evaluate_meter(project, run, MeterOptions(controls=False)))


def test_no_score_of_the_test_is_in_what_a_training_leaves(trained):
    project, run = trained
    evaluate_meter(project, run, MeterOptions(split="test", controls=False))
    texts = [path.read_text(errors="ignore") for path in run.path.glob("*.json*")]
    assert not any(id in text for text in texts for id in project.splits.test_ids)
    assert not set(run.out_of_fold()["id"]) & set(project.splits.test_ids)
