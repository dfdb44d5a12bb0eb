"""Training and evaluating where openSMILE's tables stand in for DEAM's audio: beside labelled tracks, and alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from earmark.errors import SchemaError, UsageError
from earmark.tasks.project import Project
from earmark.tasks.verbs.evaluate import evaluate
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.verbs.train import TrainOptions, train
from earmark.tasks.zones.deam.tree import write_deam_tree
from earmark.tasks.zones.task import task
from earmark.training.strategy import Strategy

QUICK = {"features": "common22", "algorithms": ("xgboost",), "parameters": {"xgboost": {"n_trees": 15}}}


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return write_deam_tree(tmp_path_factory.mktemp("tables") / "deam", 24, seed=5, audio=False)


@pytest.fixture(scope="module")
def beside(tmp_path_factory, tables):
    """Songs of another tree as labelled tracks, with DEAM's tables beside them."""
    root = tmp_path_factory.mktemp("beside")
    own = sorted((write_deam_tree(root / "own", 15, seed=9, csv=False) / "MEMD_audio").iterdir())
    zones = ("YELLOW", "GREEN", "PURPLE")
    lines = [f"{path},{zones[number % 3]}" for number, path in enumerate(own)]
    (root / "labels.csv").write_text("\n".join(["path,zone", *lines]) + "\n", encoding="utf-8")
    # Their baselines need minutes of extraction and have nothing to do with tables.
    project = Project.open(replace(task, rules=(), baselines=()), root, {"workers": 1})
    prepare(project, [root / "labels.csv"], options={"deam": tables})
    return project


def test_scored_tracks_alone_train_on_any_features_and_say_nothing_of_the_tables(beside):
    options = TrainOptions(**(QUICK | {"features": "fast10"}))
    trained = train(beside, options)
    assert trained.auxiliary is None and trained.best.auxiliary_out_of_fold() is None
    found = evaluate(beside, trained.best).evaluation
    assert {source.source for source in found.sources} == {"user"} and found.shift is None
    with pytest.raises(UsageError, match="Pass --align moments"):
        train(beside, replace(options, features="common22", strategies=(Strategy("weighted"),)))
    with pytest.raises(SchemaError, match="Choose the feature set common22"):
        train(beside, replace(options, strategies=(Strategy("weighted", align="moments"),)))


def test_a_mapping_makes_tables_train_and_only_columns_of_one_unit_are_compared(beside):
    chosen = tuple(Strategy(name, align="moments") for name in ("user", "weighted"))
    trained = train(beside, TrainOptions(**QUICK, strategies=chosen))
    assert all(run.auxiliary_metrics for run in trained.runs)
    found = evaluate(beside, trained.runs[1]).evaluation
    assert [source.source for source in found.sources] == ["user", "deam"]
    features = beside.task.features("common22")
    foreign = set(beside.needs_mapping(features))
    assert found.shift is not None and foreign
    assert {row.feature for row in found.shift.features} == set(features.columns) - foreign
    assert any("other units" in warning for warning in found.warnings)


def test_alone_they_are_trained_on_and_scored_without_the_baselines_they_cannot_give(tmp_path, tables):
    project = Project.open(task, tmp_path, {"workers": 1})
    prepare(project, [], options={"deam": tables})
    run = train(project, TrainOptions(**QUICK)).best
    for split in ("val", "test"):
        found = evaluate(project, run, split=split).evaluation
        assert {rival.name for rival in found.baselines} == {"majority", "prior"}
        assert any("left out" in warning and "BPM rule" in warning for warning in found.warnings)
        assert np.isfinite(found.metrics["balanced_accuracy"].value)
