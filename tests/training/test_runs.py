"""Run folders are whole or absent, found, compared and ranked in the metric's own direction."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time

import pytest

from earmark.errors import RunError
from earmark.training.production import history, production_run, promote, rollback
from earmark.training.ranking import better, ranked
from earmark.training.runs import (
    RunWriter,
    best_run,
    clean_partial,
    compare,
    find_run,
    list_runs,
    load_run,
    show,
    slugify,
)


def write_run(root, slug="xgboost", *, task="zones", metrics=None, created=None, **config):
    metrics = {"accuracy": (0.5, "higher")} if metrics is None else metrics
    with RunWriter(root, task, slug) as writer:
        base = {
            "task": task,
            "key": f"key-of-{slug}",
            "created": created or f"2025-01-01T00:00:{len(list_runs(root)):02d}+00:00",
            "classes": ["YELLOW", "GREEN"],
            "recipe": {"algorithm": "xgboost", "params": {"max_depth": 6}},
            "hashes": {"rows": "r"},
        }
        writer.write_config(base | config)
        records = {
            name: {"value": value, "direction": way, "folds": []} for name, (value, way) in metrics.items()
        }
        writer.write_metrics(records, [])
    assert writer.run is not None
    return writer.run


def test_a_run_appears_when_it_is_complete(tmp_path):
    with RunWriter(tmp_path, "zones", "first") as writer:
        (writer.path / "model.bin").write_bytes(b"x")
        assert list_runs(tmp_path) == []
        writer.write_config({"task": "zones", "key": "k", "created": "c", "classes": [], "recipe": {}})
        assert list_runs(tmp_path) == []
    assert [run.path for run in list_runs(tmp_path)] == [writer.run.path]
    assert writer.run.name.endswith("-first") and not writer.path.exists()


def test_an_error_inside_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), RunWriter(tmp_path, "zones", "x"):
        raise ZeroDivisionError
    assert list((tmp_path / "zones").iterdir()) == []


def test_a_run_without_a_configuration_is_refused(tmp_path):
    with pytest.raises(RunError, match="write_config"), RunWriter(tmp_path, "zones", "x"):
        pass
    assert list_runs(tmp_path) == []


def test_runs_of_the_same_second_get_names_of_their_own(tmp_path):
    barrier, done = threading.Barrier(8), []

    def one(i):
        barrier.wait()
        done.append(write_run(tmp_path, "same", key=str(i), created=str(i)))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.path for run in done}) == 8
    assert sorted(run.key for run in list_runs(tmp_path)) == [str(i) for i in range(8)]


def test_leftovers_are_ignored_and_removed_when_old(tmp_path):
    run = write_run(tmp_path)
    fresh, old = (tmp_path / "zones" / f".partial-{name}" for name in ("fresh", "old"))
    for folder in (fresh, old):
        folder.mkdir()
        (folder / "run.toml").write_text((run.path / "run.toml").read_text())
    for path in (old / "run.toml", old):
        os.utime(path, (time.time() - 90_000,) * 2)
    assert [each.path for each in list_runs(tmp_path)] == [run.path]
    assert clean_partial(tmp_path / "zones") == [old]
    assert fresh.exists() and not old.exists()


def test_a_broken_run_is_logged_and_left_out(tmp_path, caplog):
    good, bad = write_run(tmp_path, "good"), write_run(tmp_path, "bad")
    (bad.path / "run.toml").write_text('task = "zo')
    with caplog.at_level(logging.WARNING):
        assert [run.path for run in list_runs(tmp_path)] == [good.path]
    assert bad.name in caplog.text
    (bad.path / "run.toml").write_text('task = "zones"')
    with pytest.raises(RunError, match="lacks key, created, recipe, classes"):
        load_run(bad.path)


def test_runs_are_found_by_name_beginning_key_and_latest(tmp_path):
    first = write_run(tmp_path, "aa", key="k1")
    second = write_run(tmp_path, "bb", key="k2")
    for name in (first.name, first.name[:-1], "k1", str(first.path)):
        assert load_run(name, root=tmp_path).path == first.path
    assert load_run("latest", root=tmp_path, task="zones").path == second.path
    with pytest.raises(RunError, match="fits 2 runs"):
        load_run("20", root=tmp_path)
    with pytest.raises(RunError, match=f"did you mean `{first.name}`"):
        load_run(first.name.replace("aa", "aaa"), root=tmp_path)
    with pytest.raises(RunError, match="it holds 0"):
        load_run("x", root=tmp_path / "nowhere")
    with pytest.raises(RunError, match="expected `meter`"):
        load_run(first.path, task="meter")


def test_a_key_finds_its_newest_run(tmp_path):
    write_run(tmp_path, "one", key="k", created="2025-01-01")
    newest = write_run(tmp_path, "two", key="k", created="2025-01-02")
    assert find_run(tmp_path, "zones", "k").path == newest.path
    assert find_run(tmp_path, "zones", "other") is None and find_run(tmp_path, "meter", "k") is None


def test_best_is_the_metrics_own_direction(tmp_path):
    low = write_run(tmp_path, "low", metrics={"accuracy": (0.4, "higher"), "log_loss": (0.7, "lower")})
    high = write_run(tmp_path, "high", metrics={"accuracy": (0.6, "higher"), "log_loss": (0.9, "lower")})
    undefined = write_run(
        tmp_path, "none", metrics={"accuracy": (None, "higher"), "log_loss": (None, "lower")}
    )
    runs = [low, high, undefined]
    assert best_run(runs, "accuracy").name == high.name and best_run(runs, "log_loss").name == low.name
    with pytest.raises(RunError, match="`f1`"):
        best_run(runs, "f1")


def test_ranking_puts_undefined_scores_last():
    assert ranked([0.2, math.nan, 0.9], "higher") == [2, 0, 1]
    assert ranked([0.2, math.nan, 0.9], "lower") == [0, 2, 1]
    assert better(0.9, 0.2, "higher") and better(0.2, 0.9, "lower") and not better(0.2, 0.2, "lower")
    assert better(0.1, math.nan, "higher") and not better(math.nan, 0.1, "lower")


def test_a_comparison_shows_what_differs(tmp_path):
    metrics = {"accuracy": (0.5, "higher"), "log_loss": (0.9, "lower"), "brier": (0.3, "lower")}
    first = write_run(tmp_path, "a", metrics=metrics)
    second = write_run(
        tmp_path,
        "b",
        metrics={
            "accuracy": (0.4, "higher"),
            "log_loss": (0.8, "lower"),
            "brier": (0.3, "lower"),
            "ece": (0.1, "lower"),
        },
        recipe={"algorithm": "xgboost", "params": {"max_depth": 4, "seed": 1}},
    )
    found = compare(first, second)
    assert found.config == {"recipe.params.max_depth": (6, 4), "recipe.params.seed": (None, 1)}
    assert {name: each["better"] for name, each in found.metrics.items()} == {
        "accuracy": "first",
        "log_loss": "second",
        "brier": "equal",
    }
    assert found.comparable
    other = write_run(tmp_path, "c", hashes={"rows": "others"})
    assert not compare(first, other).comparable
    with pytest.raises(RunError, match="runs of one task"):
        compare(first, write_run(tmp_path, "d", task="meter"))


def test_show_is_plain_data(tmp_path):
    run = write_run(tmp_path)
    assert json.loads(json.dumps(show(run)))["metrics"]["accuracy"]["value"] == 0.5


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("XGBoost, depth 6!", "xgboost-depth-6"),
        ("Énergie", "energie"),
        ("зоны", "run"),
        ("../../etc", "etc"),
        ("a" * 60, "a" * 40),
    ],
)
def test_slugs(text, slug):
    assert slugify(text) == slug


@pytest.fixture
def trained(tmp_path):
    from training_tables import METRICS, make_dataset

    from earmark.training.recipe import Recipe
    from earmark.training.train import train

    def one(strength):
        recipe = Recipe("logistic", params={"strength": strength})
        return train(
            recipe, make_dataset(), root=tmp_path, task="zones", metrics=METRICS, rank_by="accuracy"
        ).run

    return tmp_path, one(0.1), one(1.0)


def test_promotion_and_the_way_back(trained):
    root, first, second = trained
    with pytest.raises(RunError, match="No run of `zones` was promoted"):
        production_run(root, "zones")
    promote(root, first)
    promote(root, second, reason="better")
    assert production_run(root, "zones").name == second.name
    assert [entry["run"] for entry in history(root, "zones")] == [first.name, second.name]
    assert rollback(root, "zones").name == first.name == production_run(root, "zones").name
    with pytest.raises(RunError, match="at least 2"):
        rollback(root, "zones")
    assert [run.name for run in list_runs(root)] == [first.name, second.name]


def test_a_broken_model_is_not_promoted(trained):
    root, first, second = trained
    promote(root, first)
    (second.path / "coefficients.npz").write_bytes(b"broken")
    with pytest.raises(RunError):
        promote(root, second)
    assert production_run(root, "zones").name == first.name


def test_show_holds_the_thresholds_and_the_scores_of_rows_that_only_train(tmp_path):
    from earmark.models.decision import Decision, write_decision

    run = write_run(tmp_path)
    assert show(run)["decision"] is None and show(run)["auxiliary_metrics"] == {}
    decision = Decision(run.classes).with_threshold(0.6)
    write_decision(run.path, decision, {"rows": 3})
    assert show(run)["decision"] == {**decision.to_dict(), "record": {"rows": 3}}
