"""`thresholds` on a small trained task: what it leaves, that predictions follow it, and that the seal holds."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json

import numpy as np
import pytest
import tone_task
import yaml
from tone_task import write_tone

from earmark.data.seal import SEALED_FILE
from earmark.errors import RunError, SealError, UsageError
from earmark.inference.prediction import Prediction
from earmark.models.decision import THRESHOLDS_FILE, read_decision
from earmark.tasks.project import Project
from earmark.tasks.verbs.predict import predict
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.verbs.thresholds import decision_summary, thresholds, wanted_of
from earmark.tasks.verbs.train import TrainOptions, train
from earmark.training.thresholds import Wanted


@pytest.fixture
def project(tmp_path, tone_folder):
    project = Project.open(tone_task.task, tmp_path / "project", {"workers": 1})
    prepare(project, [tone_folder / "labels.csv"])
    return project


@pytest.fixture
def run(project):
    return train(project, TrainOptions(algorithms=("logistic",))).best


def contents(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_adds_three_files_and_changes_none(project, run):
    before = contents(run.path)
    dry = thresholds(project, run, Wanted("temperature", coverage=0.8), dry_run=True)
    assert dry.files == () and contents(run.path) == before
    tuned = thresholds(project, run, Wanted("temperature", coverage=0.8))
    after = contents(run.path)
    assert before.items() <= after.items()
    added = {THRESHOLDS_FILE, "thresholds_coverage.csv", "thresholds_coverage.png"}
    assert set(after) - set(before) == added == {path.name for path in tuned.files}
    assert read_decision(run.path) == tuned.chosen.decision == dry.chosen.decision
    assert (run.path / "thresholds_coverage.png").read_bytes().startswith(b"\x89PNG")
    with (run.path / "thresholds_coverage.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["threshold", "coverage", "accuracy", "n"]
    coverage = [float(line["coverage"]) for line in lines]
    assert coverage == sorted(set(coverage)) and coverage[-1] == 1
    assert int(lines[-1]["n"]) == tuned.n == len(project.splits.train_ids)


def test_the_same_choice_again_keeps_one_file_and_another_keeps_the_earlier(project, run):
    for coverage in (0.8, 0.8, 0.6):
        thresholds(project, run, Wanted("none", coverage=coverage))
    names = {path.name for path in run.path.glob("thresholds*.yaml")}
    assert names == {"thresholds.yaml", "thresholds.1.yaml"}


def test_predictions_follow_the_decision_and_an_option_replaces_its_threshold(project, run, tone_folder):
    sources = [str(tone_folder)]
    plain = predict(project, sources)
    assert plain.decision is None
    tuned = thresholds(project, run, Wanted("temperature", coverage=0.7, recall={"low": 0.95}))
    decision = tuned.chosen.decision
    decided = predict(project, sources)
    assert decided.decision == decision
    p = np.array([list(one.probabilities.values()) for one in plain.outcomes])
    expected = decision.decide(p)
    for i, one in enumerate(decided.outcomes):
        assert isinstance(one, Prediction)
        assert list(one.probabilities.values()) == pytest.approx(expected.probabilities[i])
        assert one.confidence == one.probabilities[run.classes[expected.labels[i]]]
        assert one.label == (run.classes[expected.labels[i]] if expected.decided[i] else "UNCERTAIN")
    labels = {one.label for one in decided.outcomes}
    assert "UNCERTAIN" in labels
    always = predict(project, sources, threshold=0.0)
    assert [run.classes[k] for k in expected.labels] == [one.label for one in always.outcomes]
    never = predict(project, sources, threshold=1.0)
    assert {one.label for one in never.outcomes} == {"UNCERTAIN"}


def test_a_file_edited_wrongly_stops_predictions_with_its_place(project, run, tone_folder):
    thresholds(project, run)
    path = run.path / THRESHOLDS_FILE
    document = yaml.safe_load(path.read_text())
    document["threshhold"] = 0.9
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(RunError, match=r"thresholds.yaml.*threshhold \(did you mean `threshold`"):
        predict(project, [str(tone_folder / "00.wav")])


def test_poisoned_test_rows_change_nothing_and_the_seal_stays_shut(project, run):
    wanted = Wanted(coverage=0.8)
    before = thresholds(project, run, wanted, dry_run=True).to_json()
    for item in project.manifest.subset(project.splits.test_ids):
        write_tone(item.uri, 3_900, 1)
    (project.data_folder / SEALED_FILE).write_bytes(b"poison")
    assert thresholds(project, run, wanted, dry_run=True).to_json() == before
    assert project.sealed.openings().count == 0


def test_rows_that_were_sealed_after_the_training_are_refused(project, run, tone_folder):
    other = dataclasses.replace(
        project.task, split=dataclasses.replace(project.task.split, test_fraction=0.5)
    )
    prepare(Project(other, project.effective), [tone_folder / "labels.csv"], reseal_reason="more test tones")
    with pytest.raises(SealError, match="sealed as test items by now"):
        thresholds(project, run)


def test_wishes_are_read_with_classes_in_any_case_and_costs_from_a_file(project, run):
    (project.root / "costs.yaml").write_text("low: {high: 3}\nhigh: {low: 1}\n")
    wanted = wanted_of(project, run, cost="costs.yaml", recall={"LOW": 0.9})
    assert wanted.cost == ((0, 3), (1, 0))
    assert wanted.recall == {"low": 0.9}
    with pytest.raises(UsageError, match="balanced-ordinal, or a file"):
        wanted_of(project, run, cost="nowhere.yaml")


def test_the_document_and_the_summary_hold_what_was_found(project, run):
    assert decision_summary(run) is None
    tuned = thresholds(project, run, Wanted("temperature", coverage=0.9))
    document = json.loads(json.dumps(tuned.to_json()))
    assert list(document) == [
        "task", "run", "n", "wanted", "decision", "calibration_losses", "before", "after", "same_rows",
        "differences", "warnings", "files",
    ]  # fmt: skip
    assert set(document["after"]) == {"metrics", "recall"}
    assert set(document["after"]["recall"]) == {"low", "high"}
    summary = decision_summary(run, project.settings.seed)
    assert summary["same_rows"] == document["same_rows"] and summary["before"] == document["before"]
    assert summary["record"]["after"]["coverage"] == round(
        document["after"]["metrics"]["coverage"]["value"], 4
    )
    assert {row["score"] for row in tuned.rows()} >= {"ece", "coverage", "accuracy_decided", "recall low"}
