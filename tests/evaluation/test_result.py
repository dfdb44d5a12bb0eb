"""The evaluation object: the promised JSON shape, plain verdicts, goals, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from earmark.errors import UsageError
from earmark.evaluation.baselines import model
from earmark.evaluation.intervals import Interval
from earmark.evaluation.metrics import METRICS
from earmark.evaluation.plane import Plane
from earmark.evaluation.result import Evaluation, Goal, GoalOutcome, Opening

CLASSES = ("YELLOW", "GREEN", "PURPLE")
SCORE_KEYS = {"value", "low", "high"}


def test_the_json_has_exactly_the_promised_shape(evaluation):
    document = json.loads(evaluation.to_json_text())
    assert list(document) == [
        "task", "run", "split", "n", "metrics", "baselines", "per_class", "test_openings",
        "sources", "domain_shift_auc", "analyses",
    ]  # fmt: skip
    assert (document["task"], document["split"], document["n"]) == ("zones", "test", 60)
    assert list(document["metrics"]) == list(METRICS)
    assert all(set(score) == SCORE_KEYS for score in document["metrics"].values())
    assert list(document["baselines"]) == ["majority", "prior", "bpm-rule", "fast10"]
    for scores in document["baselines"].values():
        assert all(set(score) == SCORE_KEYS for score in scores.values())
    assert list(document["per_class"]) == list(CLASSES)
    for row in document["per_class"].values():
        assert set(row) == {"precision", "recall", "f1", "support"}
        assert set(row["recall"]) == SCORE_KEYS
    assert document["test_openings"] == 1
    assert [(row["source"], row["n"], row["in_headline"]) for row in document["sources"]] == [
        ("disc", 30, True), ("file", 30, True), ("deam", 40, False),
    ]  # fmt: skip
    assert all(set(row["accuracy"]) == SCORE_KEYS for row in document["sources"])
    assert document["domain_shift_auc"] == {"value": 0.81, "low": 0.7, "high": 0.9}
    assert document["analyses"] == {
        "drops": {
            "title": "Drops",
            "sentences": ["They help."],
            "files": ["drops/drops.csv", "drops/drops.png"],
        }
    }


def test_the_json_of_a_bare_evaluation_has_the_same_keys(make_evaluation):
    bare = make_evaluation(sources=(), shift=None, plane=None, analyses=())
    document = json.loads(bare.to_json_text())
    assert (document["sources"], document["domain_shift_auc"], document["analyses"]) == ([], None, {})


def test_goals_count_on_their_split(make_evaluation):
    goals = (Goal("accuracy", 0.1, split="val"), Goal("accuracy", 0.8, split="test"), Goal("ece", 0.9))
    val, test = (make_evaluation(goals=goals, split=split) for split in ("val", "test"))
    assert [outcome.goal for outcome in val.goal_outcomes] == [goals[0], goals[2]] and val.other_goals == (
        goals[1],
    )
    assert "Goals reached: cross-validated accuracy > 0.10" in val.verdict()
    assert val.verdict().endswith("Measured on the sealed test only: holdout accuracy > 0.80.")
    assert "Goals missed: holdout accuracy > 0.80 (measured" in test.verdict()
    assert test.verdict().endswith("Measured out of fold only: cross-validated accuracy > 0.10.")
    with pytest.raises(UsageError, match="expected val or test"):
        Goal("accuracy", 0.8, split="holdout")


def test_folds_are_scored_one_by_one(make_evaluation):
    folds = np.arange(60) % 5
    evaluation = make_evaluation(folds=folds)
    right = evaluation.p.argmax(axis=1) == evaluation.y
    expected = [float(right[folds == fold].mean()) for fold in range(5)]
    assert evaluation.fold_scores["accuracy"] == pytest.approx(expected)
    assert make_evaluation().fold_scores == {}


def test_undefined_scores_are_null_and_nothing_is_nan(make_evaluation):
    empty = make_evaluation(n=0, y=np.zeros(0, int), p=np.empty((0, 3)), baselines=(), goals=(), groups=None)
    document = json.loads(empty.to_json_text(), parse_constant=pytest.fail)
    assert document["metrics"]["accuracy"] == {"value": None, "low": None, "high": None}
    assert empty.verdict() == "Nothing was scored: no tracks."
    assert empty.errors == ()


def test_the_verdict_names_score_baseline_and_goals(evaluation):
    text = evaluation.verdict()
    own = evaluation.metrics["balanced_accuracy"]
    assert text.startswith(
        f"Balanced accuracy {own.value:.2f} [{own.low:.2f}, {own.high:.2f}] on 60 tracks, better than"
    )
    assert "the best baseline (fast10" in text
    assert f"Goals missed: accuracy > 0.80 (measured {evaluation.metrics['accuracy'].value:.2f})" in text
    assert "Goals reached: PURPLE recall > 0.50" in text and "ECE < 0.90" in text


def test_a_model_behind_its_baseline_is_said_to_be_worse(make_evaluation):
    base = make_evaluation()
    oracle = model("oracle", np.eye(3)[base.y])
    text = make_evaluation(baselines=(oracle,)).verdict()
    assert ", worse than the best baseline (oracle, 1.00; difference -" in text


def test_an_unclear_difference_is_said_to_be_unclear(make_evaluation):
    base = make_evaluation()
    almost = base.p.copy()
    i = int((almost.argmax(axis=1) == base.y).argmax())
    almost[i] = np.eye(3)[(base.y[i] + 1) % 3]
    assert (
        "not clearly better than the best baseline (almost"
        in make_evaluation(baselines=(model("almost", almost),)).verdict()
    )
    same = make_evaluation(baselines=(model("same", base.p),)).verdict()
    assert "level with the best baseline (same" in same


def test_without_groups_to_resample_the_bounds_are_left_out(make_evaluation):
    text = make_evaluation(groups=np.zeros(60)).verdict()
    assert "nan" not in text and "not clearly better than the best baseline (fast10" in text


def test_a_lower_headline_compares_downwards(make_evaluation):
    base = make_evaluation(headline="log_loss")
    assert base.best_baseline.name in {"prior", "fast10"}
    assert base.verdict().startswith("Log loss")
    assert "better than" in base.verdict()


def test_a_headline_that_rules_do_not_have_skips_them(make_evaluation):
    rules_only = make_evaluation(headline="log_loss", baselines=make_evaluation().baselines[:1])
    assert rules_only.best_baseline is None
    assert "no baseline" in rules_only.verdict()


def test_goals_look_in_the_direction_of_their_metric():
    inside = Interval(0.5, 0.4, 0.6)
    assert GoalOutcome(Goal("accuracy", 0.45), inside).reached
    assert not GoalOutcome(Goal("accuracy", 0.5), inside).reached
    assert (
        GoalOutcome(Goal("log_loss", 0.7), inside).reached
        and GoalOutcome(Goal("log_loss", 0.7), inside).certain
    )
    assert not GoalOutcome(Goal("log_loss", 0.45), inside).certain
    assert not GoalOutcome(Goal("accuracy", 0.1), Interval(*[float("nan")] * 3)).reached


def test_errors_are_sorted_by_confidence_and_complete(evaluation):
    predicted = evaluation.p.argmax(axis=1)
    assert len(evaluation.errors) == int((predicted != evaluation.y).sum())
    confidence = [error.confidence for error in evaluation.errors]
    assert confidence == sorted(confidence, reverse=True)
    first = evaluation.errors[0]
    i = evaluation.ids.index(first.id)
    assert first.actual == CLASSES[evaluation.y[i]] and first.predicted == CLASSES[predicted[i]]
    assert first.probability_of_truth == pytest.approx(evaluation.p[i, evaluation.y[i]])


def test_openings_are_counted_by_run(make_evaluation):
    openings = (Opening("1", "a"), Opening("2", "a"), Opening("3", "b"))
    evaluation = make_evaluation(openings=openings)
    assert (evaluation.test_openings, evaluation.test_runs) == (3, 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ids": ("one",)}, "'ids': 1"),
        ({"classes": ("A", "B")}, "3 probabilities for 2 classes"),
        ({"headline": "acc"}, "no metric `acc`"),
        ({"goals": (Goal("recall", 0.5, "PINK"),)}, "PINK"),
        ({"folds": np.zeros(3, int)}, "'folds': 3"),
        ({"plane": Plane(np.zeros((2, 2)), np.zeros(2))}, "'plane': 2"),
    ],
)
def test_a_contradictory_evaluation_is_refused(changes, words, make_evaluation):
    with pytest.raises(UsageError, match=words):
        make_evaluation(**changes)


def test_an_unknown_goal_is_refused():
    with pytest.raises(UsageError, match="no goal for `recall`"):
        Goal("recall", 0.5)


def test_it_cannot_be_changed(evaluation):
    with pytest.raises(AttributeError):
        evaluation.task = "meter"
    assert isinstance(evaluation, Evaluation)
