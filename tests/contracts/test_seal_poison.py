"""No training path reaches sealed rows: their audio becomes poison, their labels rubbish, and every number stays.

The seal must hold for `train`, `grid`, and `evaluate` on the validation folds; opening it is what `evaluate --split
test` alone does, and it writes the ledger first.
"""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import tone_task
from tone_task import write_tone

from earmark.data.manifest import Manifest
from earmark.data.seal import SEALED_FILE
from earmark.errors import SealError
from earmark.tasks.inputs import import_items
from earmark.tasks.project import Project
from earmark.tasks.task import Imported
from earmark.tasks.verbs.evaluate import evaluate
from earmark.tasks.verbs.grid import open_search, run_search
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.verbs.thresholds import thresholds
from earmark.tasks.verbs.train import TrainOptions, train
from earmark.training.strategy import Strategy


@pytest.fixture
def project(tmp_path, tone_folder):
    project = Project.open(tone_task.task, tmp_path / "project", {"workers": 1})
    prepare(project, [tone_folder / "labels.csv"])
    return project


def poison(project):
    """Make every sealed item's audio a very loud, very high tone and break the file of sealed labels."""
    for item in project.manifest.subset(project.splits.test_ids):
        write_tone(item.uri, 3_900, 1)
    (project.data_folder / SEALED_FILE).write_bytes(b"poison")


def numbers(project):
    trained = train(project)
    search = open_search(project, "xgboost", space={"max_depth": (2, 4)})
    searched = run_search(search)
    report = evaluate(project, trained.best).evaluation
    return (
        trained.dataset.hash,
        [run.key for run in trained.runs],
        [point.score for point in searched.points],
        {name: interval.value for name, interval in report.metrics.items()},
        report.p.tolist(),
    )


def test_poisoned_test_rows_change_no_number_of_training_grid_or_validation(project):
    before = numbers(project)
    poison(project)
    Project.open(tone_task.task, project.root)
    trained = train(project)
    assert trained.reused == {run.name for run in trained.runs}
    for run in trained.runs:
        assert not set(project.splits.test_ids) & set(run.out_of_fold()["id"])
    after = numbers(project)
    assert after == before


def test_training_never_asks_for_features_of_sealed_items(project):
    poison(project)
    train(project)
    cached = project.cache.check(
        {tone_task.spectrum.name: tone_task.spectrum.fingerprint().digest},
        [project.cache.identify(item.uri) for item in project.manifest.subset(project.splits.test_ids)],
    )
    assert cached[0].fresh == 0


def test_the_sealed_labels_are_not_in_the_manifest_and_opening_is_recorded(project):
    table = project.manifest.table
    sealed = table.filter(table["split"] == "test")
    assert sealed.height == len(project.splits.test_ids) > 0
    assert sealed["label"].null_count() == sealed.height
    run = train(project).best
    assert project.sealed.openings().count == 0
    tested = evaluate(project, run, split="test", reason="final score")
    assert tested.evaluation.n == sealed.height
    assert tested.evaluation.test_openings == 1
    assert project.sealed.openings().count == 1
    assert evaluate(project, run).evaluation.test_openings == 1


def test_broken_sealed_labels_refuse_to_open(project):
    run = train(project).best
    poison(project)
    with pytest.raises(SealError, match="changed or is missing"):
        evaluate(project, run, split="test")
    assert project.sealed.openings().count == 0


def test_test_scores_come_from_the_sealed_rows(project):
    run = train(project).best
    tested = evaluate(project, run, split="test").evaluation
    assert set(tested.ids) == set(project.splits.test_ids)
    assert np.isfinite(tested.metrics["balanced_accuracy"].value)


STRATEGIES = tuple(
    Strategy(name) for name in ("user", "weighted", "importance", "coral", "transfer", "blend")
)
SHARED_SINGERS = {11: 7, 12: 8, 13: 0, 14: 1}
"""Singers of the second source who sing in ours too: the first two are in the test set, the others train."""
WITH_ALL = TrainOptions(algorithms=("xgboost",), strategies=STRATEGIES)


def with_a_second_source(request):
    """Singers 11 to 15 are of another collection; four of them sing in ours too, whose fold or seal they then share."""
    import polars as pl

    found = import_items(request)
    table = found.manifest.table.with_columns(
        auxiliary=pl.col("id").str.extract(r"(\d+)").cast(pl.Int32) >= 33,
        source=pl.when(pl.col("id").str.extract(r"(\d+)").cast(pl.Int32) >= 33)
        .then(pl.lit("radio"))
        .otherwise(pl.lit("stage")),
        group=pl.col("group").replace(
            {f"singer{theirs}": f"singer{ours}" for theirs, ours in SHARED_SINGERS.items()}
        ),
    )
    return Imported(Manifest(table, root=request.root), found.report)


@pytest.fixture
def pooled(tmp_path, tone_folder):
    task = dataclasses.replace(tone_task.task, importer=with_a_second_source)
    project = Project.open(task, tmp_path / "pooled", {"workers": 1})
    prepare(project, [tone_folder / "labels.csv"])
    return project


def numbers_of_strategies(project):
    """Everything that training, thresholds, validation and label review say, without what names time or place."""
    trained = train(project, WITH_ALL)
    found = []
    for run in trained.runs:
        chosen = thresholds(project, run, dry_run=True).chosen.decision.to_dict()
        found.append((run.key, run.metrics, run.auxiliary_metrics, run.out_of_fold().rows(), chosen))
    report = evaluate(project, trained.runs[1]).evaluation
    sources = [score.to_json() for score in report.sources]
    return repr([found, sources, report.shift.auc, report.shift.features])


def test_poison_in_test_items_and_in_what_shares_their_singers_changes_no_number_of_any_strategy(pooled):
    purged = [id for id, row in pooled.splits.rows().items() if row["split"] == "purged"]
    assert purged, "some of the second source must be too near the test items"
    before = numbers_of_strategies(pooled)
    for item in pooled.manifest.subset(purged):
        write_tone(item.uri, 3_900, 1)
    poison(pooled)
    shutil.rmtree(pooled.runs_folder)
    shutil.rmtree(pooled.root / ".earmark" / "baselines", ignore_errors=True)
    assert numbers_of_strategies(Project.open(pooled.task, pooled.root, {"workers": 1})) == before


def test_folds_of_scored_items_are_those_without_a_second_source(pooled, tmp_path, tone_folder):
    """The rows that only train decide nothing of how the others are divided."""
    alone = dataclasses.replace(tone_task.task, importer=only_ours)
    other = Project.open(alone, tmp_path / "alone", {"workers": 1})
    prepare(other, [tone_folder / "labels.csv"])
    ours = other.splits.rows()
    beside = {id: row for id, row in pooled.splits.rows().items() if id in ours}
    assert beside == ours


def only_ours(request):
    found = with_a_second_source(request)
    kept = found.manifest.table.filter(~found.manifest.table["auxiliary"]).drop("auxiliary")
    return Imported(Manifest(kept, root=request.root), found.report)
