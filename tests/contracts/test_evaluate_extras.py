"""What an evaluation does besides scoring: label review, a task's own analyses, rows that only train."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest
import tone_task

from earmark.data.manifest import Manifest
from earmark.errors import RunError, SealError, UsageError
from earmark.evaluation.plots import importance_figure, save_png
from earmark.tasks.inputs import import_items
from earmark.tasks.project import Project
from earmark.tasks.task import Analysis, Imported
from earmark.tasks.verbs.evaluate import Extras, evaluate
from earmark.tasks.verbs.label_issues import review_labels
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.verbs.train import TrainOptions, train

LOGISTIC = TrainOptions(algorithms=("logistic",))


def levels(request):
    """An analysis as a task would have it: one table, one picture, what it was told."""
    path = save_png(importance_figure([], "nothing"), request.folder / "levels.png")
    rows = [
        {"tone": id, "level": float(x)}
        for id, x in zip(request.dataset.ids, request.dataset.X[:, 1], strict=True)
    ]
    told = f"{request.run.name}, {request.evaluation.n} tones, map {request.options.get('map')}"
    return Analysis("Levels <b>", (told,), {"levels": rows}, (path,))


@pytest.fixture
def project(tmp_path, tone_folder):
    task = dataclasses.replace(tone_task.task, analyses={"levels": levels})
    project = Project.open(task, tmp_path / "project", {"workers": 1})
    prepare(project, [tone_folder / "labels.csv"])
    return project


def ledger(project):
    path = project.data_folder / "ledger.jsonl"
    return path.read_text() if path.exists() else ""


def test_an_analysis_is_in_the_report_and_beside_it(project):
    run = train(project, LOGISTIC).best
    evaluated = evaluate(project, run, extras=Extras(analyses=("levels", "levels"), options={"map": "2d"}))
    (section,) = evaluated.evaluation.analyses
    assert section.sentences == (f"{run.name}, {evaluated.evaluation.n} tones, map 2d",)
    assert section.files == ("levels/levels.png", "levels/levels.csv")
    with (evaluated.folder / "levels" / "levels.csv").open(newline="") as file:
        assert {row["tone"] for row in csv.DictReader(file)} == set(project.splits.train_ids)
    page = evaluated.report.read_text(encoding="utf-8")
    assert "Levels &lt;b&gt;" in page and "data:image/png;base64," in page and "levels/levels.csv" in page
    document = json.loads((evaluated.folder / "metrics.json").read_text())
    assert document["analyses"]["levels"]["files"] == list(section.files)


def test_the_test_set_is_analysed_in_its_own_folder(project):
    run = train(project, LOGISTIC).best
    evaluated = evaluate(project, run, split="test", extras=Extras(analyses=("levels",)))
    assert (run.path / "test" / "levels" / "levels.csv").is_file() and not (run.path / "levels").exists()
    assert evaluated.evaluation.fold_scores == {} and evaluated.evaluation.shift is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (lambda request: Analysis("x", tables={"../levels": []}), r"\.\./levels; expected plain file names"),
        (lambda request: Analysis("x", files=(request.run.path / "report.html",)), "expected files below"),
    ],
)
def test_an_analysis_stays_in_its_folder(project, found, words):
    run = train(project, LOGISTIC).best
    other = Project(dataclasses.replace(project.task, analyses={"odd": found}), project.effective)
    with pytest.raises(UsageError, match=words):
        evaluate(other, run, extras=Extras(analyses=("odd",)))


def test_what_cannot_be_done_is_refused_before_the_seal_is_opened(project):
    run = train(project, LOGISTIC).best
    before = ledger(project)
    with pytest.raises(SealError, match="label review of the sealed test"):
        evaluate(project, run, split="test", extras=Extras(label_issues=True))
    with pytest.raises(UsageError, match="'levls', did you mean levels|'levls'.*Known: levels"):
        evaluate(project, run, split="test", extras=Extras(analyses=("levls",)))
    assert ledger(project) == before


def test_labels_are_reviewed_under_names_of_the_run(project):
    pytest.importorskip("cleanlab")
    run = train(project, LOGISTIC).best
    first = evaluate(project, run, extras=Extras(label_issues=True))
    stamp = run.config["created"][:19].translate(str.maketrans("T", "-", "-:"))
    assert [path.name for path in first.review_files] == [
        f"label_quality_report_{stamp}.csv", f"noisy_labels_{stamp}.csv", f"tracks_to_review_{stamp}.json",
    ]  # fmt: skip
    contents = [path.read_bytes() for path in first.review_files]
    assert review_labels(first.evaluation, first.folder) == (
        first.evaluation.label_review,
        first.review_files,
    )
    assert [path.read_bytes() for path in first.review_files] == contents
    with first.review_files[0].open(newline="") as file:
        assert {row["track_id"] for row in csv.DictReader(file)} == set(project.splits.train_ids)
    assert "Labels in doubt" in first.report.read_text(encoding="utf-8")


def import_with_others(request):
    """The last four singers are of another collection and only train."""
    import polars as pl

    found = import_items(request)
    others = pl.col("group").is_in([f"singer{number}" for number in range(12, 16)])
    table = found.manifest.table.with_columns(
        auxiliary=others, source=pl.when(others).then(pl.lit("radio")).otherwise(pl.lit("stage"))
    )
    return Imported(Manifest(table, root=request.root), found.report)


@pytest.fixture
def pooled(tmp_path, tone_folder):
    task = dataclasses.replace(tone_task.task, importer=import_with_others)
    project = Project.open(task, tmp_path / "pooled", {"workers": 1})
    prepare(project, [tone_folder / "labels.csv"])
    return project


def test_rows_that_only_train_are_scored_beside_and_compared(pooled):
    run = train(pooled, LOGISTIC).best
    evaluated = evaluate(pooled, run)
    stage, radio = evaluated.evaluation.sources
    assert (stage.source, stage.in_headline, stage.n) == ("stage", True, evaluated.evaluation.n)
    assert (radio.source, radio.in_headline, radio.n) == ("radio", False, 12)
    assert stage.scores["accuracy"].value == evaluated.evaluation.metrics["accuracy"].value
    rows = run.auxiliary_out_of_fold()
    answers = rows.select("probability_low", "probability_high").to_numpy().argmax(axis=1)
    assert radio.scores["accuracy"].value == pytest.approx(
        float(np.mean(answers == rows["label"].to_numpy()))
    )
    assert evaluated.evaluation.shift.names == ("stage", "radio")
    with (evaluated.folder / "domain_shift.csv").open(newline="") as file:
        assert {row["feature"] for row in csv.DictReader(file)} == set(tone_task.task.features().columns)
    assert (evaluated.folder / "prediction_analysis.png").stat().st_size > 0
    assert "trains only" in evaluated.report.read_text(encoding="utf-8")
    on_test = evaluate(pooled, run, split="test").evaluation
    assert [score.source for score in on_test.sources] == ["stage"] and on_test.shift is None


def test_other_auxiliary_rows_than_the_run_s_are_refused(pooled, tone_folder):
    run = train(pooled, LOGISTIC).best
    labels = tone_folder / "labels.csv"
    labels.write_text("\n".join(labels.read_text().splitlines()[:-1]) + "\n")
    prepare(pooled, [labels])
    with pytest.raises(RunError, match="auxiliary rows .* have changed"):
        evaluate(pooled, run)
