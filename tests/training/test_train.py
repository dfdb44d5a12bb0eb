"""From recipe to run: keys, reuse, blends, and trainings killed at any point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from training_tables import METRICS, QUICK_NEURAL, accuracy, make_dataset

from earmark.errors import RunError, UsageError
from earmark.training import recipe as recipe_module
from earmark.training.blend import blend
from earmark.training.recipe import Recipe
from earmark.training.runs import list_runs
from earmark.training.train import train

XGB = Recipe("xgboost", params={"n_trees": 15})


def run_of(root, recipe=XGB, dataset=None, **options):
    options = {"root": root, "task": "zones", "metrics": METRICS, "rank_by": "accuracy"} | options
    return train(recipe, make_dataset() if dataset is None else dataset, **options)


def test_a_run_holds_model_folds_scores_and_configuration(tmp_path):
    dataset = make_dataset()
    run = run_of(tmp_path, hashes={"split": "abc"}, settings={"command": "train zones"}).run
    assert run.task == "zones" and run.algorithm == "xgboost" and run.classes == dataset.classes
    table = run.out_of_fold()
    p = table.select(f"probability_{name}" for name in dataset.classes).to_numpy()
    assert run.metrics["accuracy"]["value"] == accuracy(dataset.y, p)
    assert run.metrics["log_loss"]["direction"] == "lower" and len(run.metrics["accuracy"]["folds"]) == 4
    for fold, classifier in run.fold_classifiers().items():
        rows = dataset.folds == fold
        np.testing.assert_array_equal(classifier.predict_proba(dataset.X[rows], dataset.columns), p[rows])
    assert run.classifier().columns == dataset.columns
    assert run.config["hashes"]["split"] == "abc" and run.config["settings"]["command"] == "train zones"
    assert run.config["recipe"]["params"]["max_depth"] == 6 and "numpy" in run.config["versions"]
    assert (run.path / "model.ubj").is_file() and (run.path / "preprocess.json").is_file()
    assert list((tmp_path / "zones" / ".work").iterdir()) == []


def test_unfinished_work_is_kept_for_a_month(tmp_path):
    work = tmp_path / "zones" / ".work"
    for name, days in (("recent", 20), ("ancient", 40)):
        (work / name / "fold-0").mkdir(parents=True)
        for path in (work / name / "fold-0", work / name):
            os.utime(path, (time.time() - days * 86_400,) * 2)
    run_of(tmp_path)
    assert [path.name for path in work.iterdir()] == ["recent"]


def test_an_identical_training_is_found_not_repeated(tmp_path):
    first = run_of(tmp_path)
    again = run_of(tmp_path)
    assert not first.reused and again.reused and again.run.path == first.run.path
    assert not run_of(tmp_path, reuse=False).reused


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": Recipe("xgboost", params={"n_trees": 16})},
        {"recipe": Recipe("xgboost", params={"n_trees": 15}, seed=1)},
        {"recipe": Recipe("xgboost", params={"n_trees": 15}, preprocess={"top_k": 3})},
        {"dataset": make_dataset(seed=1)},
        {"hashes": {"split": "other"}},
    ],
    ids=["parameter", "seed", "preprocessing", "data", "split"],
)
def test_anything_that_changes_the_numbers_changes_the_key(change, tmp_path):
    run_of(tmp_path)
    assert not run_of(tmp_path, **change).reused


def test_what_does_not_change_the_numbers_keeps_the_key(tmp_path):
    run_of(tmp_path)
    spelled = Recipe("xgb", params={"n_trees": 15, "max_depth": 6})
    assert run_of(tmp_path, spelled, settings={"note": "again"}, slug="named").reused


def test_edited_code_changes_the_key_and_comments_do_not(tmp_path):
    source = tmp_path / "module.py"
    forms = []
    for text in ('"""Doc."""\nX = 1\n', "# why\n\nX = 1  # one\n", "X = 2\n"):
        source.write_text(text)
        forms.append(recipe_module._normal_form(source))
    assert forms[0] == forms[1] != forms[2]


def test_the_same_training_twice_leaves_the_same_files(tmp_path):
    one, two = (run_of(tmp_path / name).run.path for name in ("a", "b"))
    names = sorted(
        path.relative_to(one) for path in one.rglob("*") if path.is_file() and path.name != "run.toml"
    )
    assert names == sorted(p.relative_to(two) for p in two.rglob("*") if p.is_file() and p.name != "run.toml")
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_a_failed_training_leaves_no_run(tmp_path):
    def broken(y, p):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_of(tmp_path, metrics=METRICS | {"broken": METRICS["accuracy"]._replace(function=broken)})
    assert list_runs(tmp_path) == [] and not list((tmp_path / "zones").glob(".partial-*"))


def test_an_unknown_ranking_metric_is_refused_before_the_fit(tmp_path):
    with pytest.raises(UsageError, match="did you mean `accuracy`"):
        run_of(tmp_path, rank_by="acuracy")
    assert not list(tmp_path.iterdir())


def test_undefined_scores_are_null(tmp_path):
    nan = METRICS["accuracy"]._replace(function=lambda y, p: float("nan"))
    assert run_of(tmp_path, metrics=METRICS | {"nothing": nan}).run.metrics["nothing"]["value"] is None


@pytest.fixture(scope="module")
def blended(tmp_path_factory):
    pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("runs")
    params = {"xgboost__n_trees": 15} | {
        f"neural_network__{key}": value for key, value in QUICK_NEURAL.items()
    }
    return root, run_of(root, Recipe("ensemble", params=params)).run


def test_an_ensemble_trains_its_members_once(blended):
    root, run = blended
    assert sorted(each.algorithm for each in list_runs(root)) == ["ensemble", "neural_network", "xgboost"]
    assert run_of(root).reused  # the xgboost member is the run that this recipe alone would leave
    assert run.config["fit"]["members"] == [r.name for r in list_runs(root) if r.algorithm != "ensemble"]


def test_an_ensembles_folds_and_model_are_its_members_blended(blended):
    root, run = blended
    dataset = make_dataset()
    p = run.out_of_fold().select(f"probability_{name}" for name in dataset.classes).to_numpy()
    for fold, classifier in run.fold_classifiers().items():
        rows = dataset.folds == fold
        np.testing.assert_allclose(
            classifier.predict_proba(dataset.X[rows], dataset.columns), p[rows], atol=1e-6
        )
    members = [each.classifier() for each in list_runs(root) if each.algorithm != "ensemble"]
    expected = sum(
        weight * member.predict_proba(dataset.X, dataset.columns)
        for weight, member in zip(run.config["fit"]["weights"], members, strict=True)
    )
    np.testing.assert_allclose(
        run.classifier().predict_proba(dataset.X, dataset.columns), expected, atol=1e-6
    )


def test_an_ensemble_of_members_without_seeds(tmp_path):
    params = {"members": ("random_forest", "logistic"), "random_forest__n_trees": 10, "weights": (0.5, 0.5)}
    run = run_of(tmp_path, Recipe("ensemble", params=params, seed=5)).run
    assert run.config["fit"]["weights"] == [0.5, 0.5]
    assert {"scikit-learn", "scipy"} <= run.config["versions"].keys()
    forest = next(each for each in list_runs(tmp_path) if each.algorithm == "random_forest")
    assert forest.config["recipe"]["params"]["seed"] == 5
    alone = Recipe("random_forest", params={"n_trees": 10}, seed=5)
    assert run_of(tmp_path, alone).run.name == forest.name


def test_metrics_lines_hold_epochs_and_fold_scores(tmp_path):
    run = run_of(tmp_path).run
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    scores = [line["scores"]["accuracy"] for line in lines if "scores" in line]
    assert scores == run.metrics["accuracy"]["folds"]
    assert {line["stage"] for line in lines} == {"fold-0", "fold-1", "fold-2", "fold-3", "final"}


def test_weights_of_a_fold_do_not_see_its_labels():
    generator = np.random.default_rng(0)
    y, fold = generator.integers(0, 3, 90), np.arange(90) % 5
    members = [generator.dirichlet(np.ones(3), 90).astype(np.float32) for _ in range(2)]
    changed = np.where(fold == 3, (y + 1) % 3, y)
    first = blend(members, y, fold, accuracy, "higher")
    second = blend(members, changed, fold, accuracy, "higher")
    assert first.fold_weights[3] == second.fold_weights[3]
    np.testing.assert_array_equal(first.probabilities[fold == 3], second.probabilities[fold == 3])


def test_a_blend_of_noise_scores_at_chance_and_not_at_the_best_of_the_grid():
    generator = np.random.default_rng(1)
    honest, naive = [], []
    for _ in range(60):
        y, fold = generator.integers(0, 3, 60), np.arange(60) % 5
        members = [generator.dirichlet(np.ones(3), 60).astype(np.float32) for _ in range(2)]
        mix = blend(members, y, fold, accuracy, "higher")
        honest.append(accuracy(y, mix.probabilities))
        naive.append(max(accuracy(y, w * members[0] + (1 - w) * members[1]) for w in np.arange(1, 10) / 10))
    assert abs(np.mean(honest) - 1 / 3) < 0.03
    assert np.mean(naive) - 1 / 3 > 0.03


def start(root: Path, algorithm: str, pause_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "training_tables", str(root), algorithm, str(pause_s)]
    return subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)


def kill_at(root: Path, algorithm: str, wanted: str) -> None:
    process = start(root, algorithm, 0.02)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == wanted:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, "the training ended before it could be killed"


@pytest.mark.parametrize(
    ("algorithm", "moments"),
    [
        ("neural_network", ["epoch fold-0 20", "epoch fold-2 7", "epoch final 3"]),
        ("xgboost", ["fold fold-1", "epoch final 3"]),
    ],
)
def test_a_training_killed_and_resumed_ends_in_the_same_model(algorithm, moments, tmp_path):
    if algorithm == "neural_network":
        pytest.importorskip("torch")
    params = QUICK_NEURAL if algorithm == "neural_network" else {"n_trees": 20}
    recipe = Recipe(algorithm, params=params)
    whole = run_of(tmp_path / "whole", recipe).run
    killed = tmp_path / "killed"
    for moment in moments:
        kill_at(killed, algorithm, moment)
        assert list_runs(killed) == []
    events = []
    resumed = run_of(killed, recipe, on_event=events.append).run
    folds = [event for event in events if event["event"] == "fold"]
    assert [event["reused"] for event in folds][:2] == [True, True]
    assert {p.name for p in resumed.path.iterdir()} == {p.name for p in whole.path.iterdir()}
    for path in (p for p in whole.path.rglob("*") if p.is_file() and p.name != "run.toml"):
        assert (resumed.path / path.relative_to(whole.path)).read_bytes() == path.read_bytes(), path.name
    assert resumed.key == whole.key


def test_two_trainings_of_one_key_do_not_mix(tmp_path):
    process = start(tmp_path, "xgboost", 0.2)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        with pytest.raises(RunError, match="Another process is training"):
            run_of(tmp_path, Recipe("xgboost", params={"n_trees": 20}))
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    assert not run_of(tmp_path, Recipe("xgboost", params={"n_trees": 20})).reused


def test_a_full_disk_leaves_no_half_run_and_an_error_of_the_system(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError):
            train(
                Recipe("xgboost", params={"n_trees": 20}), make_dataset(), root=tmp_path, task="zones",
                metrics=METRICS, rank_by="accuracy",
            )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "zones").iterdir()] == [".work"]
