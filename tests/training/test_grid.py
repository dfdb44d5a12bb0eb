"""A search computes each point once, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_tables import METRICS, make_dataset

from earmark.errors import UsageError
from earmark.training import grid as grid_module
from earmark.training.grid import Search, read_journal
from earmark.training.recipe import Recipe

SPACE = {"strength": [0.01, 0.1, 1.0], "preprocess.top_k": [None, 2]}


def search(tmp_path, *, rank_by="log_loss", space=SPACE, dataset=None, recipe=None, **options) -> Search:
    return Search(
        Recipe("logistic") if recipe is None else recipe,
        space,
        make_dataset() if dataset is None else dataset,
        METRICS,
        rank_by,
        tmp_path / "grid.jsonl",
        **options,
    )


@pytest.fixture
def fits(monkeypatch):
    """Counts points that are really computed."""
    computed = []
    original = grid_module.cross_validate

    def counting(*arguments, **options):
        computed.append(1)
        return original(*arguments, **options)

    monkeypatch.setattr(grid_module, "cross_validate", counting)
    return computed


def test_a_dry_run_computes_nothing(tmp_path, fits):
    points = search(tmp_path).points()
    assert len(points) == 6 and {point.status for point in points} == {"pending"} and not fits
    assert points[1].values == {"strength": 0.01, "preprocess.top_k": 2}
    assert not (tmp_path / "grid.jsonl").exists()


def test_a_finished_search_computes_nothing(tmp_path, fits):
    first = search(tmp_path).run()
    assert len(fits) == 6 and search(tmp_path).run() == first and len(fits) == 6
    assert all(len(point.folds) == 4 for point in first)


def test_a_search_goes_on_where_it_stopped(tmp_path, fits):
    search(tmp_path).run(limit=2)
    assert [point.status for point in search(tmp_path).points()] == ["done"] * 2 + ["pending"] * 4
    search(tmp_path).run()
    assert len(fits) == 6


def test_a_wider_grid_keeps_its_points(tmp_path, fits):
    search(tmp_path).run()
    search(tmp_path, space=SPACE | {"strength": [0.1, 10.0]}).run()
    assert len(fits) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": make_dataset(seed=2)},
        {"rank_by": "accuracy"},
        {"n_folds": 3},
        {"recipe": Recipe("ordinal")},
    ],
    ids=["data", "metric", "folds", "recipe"],
)
def test_other_data_folds_or_metrics_are_other_points(tmp_path, fits, change):
    search(tmp_path).run()
    search(tmp_path, **change).run()
    assert len(fits) == 12


def test_ranking_follows_the_metrics_direction(tmp_path):
    for metric, reverse in (("log_loss", False), ("accuracy", True)):
        each = search(tmp_path, rank_by=metric)
        each.run()
        scores = [point.score for point in each.summary()]
        assert len(scores) == 6 and scores == sorted(scores, reverse=reverse)


def test_the_best_recipe_carries_the_values(tmp_path):
    each = search(tmp_path)
    with pytest.raises(UsageError, match="No point"):
        each.best()
    each.run()
    winner = each.summary()[0]
    assert each.best().params["strength"] == winner.values["strength"]
    assert each.best().preprocess["top_k"] == winner.values["preprocess.top_k"]


def test_a_torn_last_line_costs_one_point(tmp_path, fits):
    search(tmp_path).run()
    journal = tmp_path / "grid.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    assert [point.status for point in search(tmp_path).points()].count("pending") == 1
    search(tmp_path).run()
    assert len(fits) == 7 and all(point.status == "done" for point in search(tmp_path).points())
    assert len(read_journal(journal)) == 6


def test_a_journal_of_rubbish_is_an_empty_one(tmp_path, fits):
    (tmp_path / "grid.jsonl").write_bytes(b'\x00\xff\n[1]\n{"key": 3}\n"text"\n')
    search(tmp_path).run()
    assert len(fits) == 6


def test_failed_points_are_recorded_and_tried_again(tmp_path, monkeypatch, fits):
    broken = METRICS | {"log_loss": METRICS["log_loss"]._replace(function=lambda y, p: 1 / 0)}
    each = Search(Recipe("logistic"), SPACE, make_dataset(), broken, "log_loss", tmp_path / "grid.jsonl")
    points = each.run()
    assert {point.status for point in points} == {"failed"} and "ZeroDivisionError" in points[0].error
    assert each.summary() == []
    again = search(tmp_path).run()
    assert {point.status for point in again} == {"done"} and len(fits) == 12


def test_reset_forgets(tmp_path):
    search(tmp_path).run()
    assert search(tmp_path).reset() == 6
    assert {point.status for point in search(tmp_path).points()} == {"pending"}


def test_three_folds(tmp_path):
    assert all(len(point.folds) == 3 for point in search(tmp_path, n_folds=3).run())


def test_workers_find_the_same_scores(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    alone = search(one).run()
    events = []
    together = search(two).run(workers=2, on_event=events.append)
    assert [(p.key, p.score) for p in together] == [(p.key, p.score) for p in alone]
    assert [event["done"] for event in events] == list(range(1, 7))


def test_an_interrupt_keeps_finished_points(tmp_path):
    def interrupt(event):
        if event["done"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path).run(on_event=interrupt)
    assert [point.status for point in search(tmp_path).points()].count("done") == 3


@pytest.mark.parametrize(
    ("space", "match"),
    [
        ({"strenght": [1.0]}, "did you mean `strength`"),
        ({"strength": [-1.0]}, "`strength` is -1.0"),
        ({"strength": []}, "at least one"),
        ({"preprocess.top_k": [0]}, "`top_k` is 0"),
        ({"preprocess.topk": [3]}, "did you mean `preprocess.top_k`"),
        ({"class_weight": "balanced"}, "expected a list"),
    ],
)
def test_a_wrong_space_is_refused_before_the_first_fit(tmp_path, space, match):
    with pytest.raises(UsageError, match=match):
        search(tmp_path, space=space)


def test_class_weights_can_be_searched(tmp_path):
    points = search(tmp_path, space={"class_weight": [None, "balanced"]}).run()
    assert all(point.status == "done" for point in points) and points[0].key != points[1].key


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_grid import search
search(Path(sys.argv[1]), space={"strength": [round(0.1 * i, 1) for i in range(1, 31)]}).run(
    on_event=lambda event: print(event["done"], flush=True)
)
"""


def test_a_killed_search_loses_at_most_the_point_in_flight(tmp_path):
    generator = np.random.default_rng(0)
    space = {"strength": [round(0.1 * i, 1) for i in range(1, 31)]}
    for _ in range(3):
        before = len(read_journal(tmp_path / "grid.jsonl"))
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        told = 0
        for _ in range(int(generator.integers(1, 6))):
            told = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        told = max([told, *(int(line) for line in process.stdout if line.strip().isdigit())])
        process.stdout.close()
        process.wait()
        assert len(read_journal(tmp_path / "grid.jsonl")) - before in (told, told + 1)
    points = search(tmp_path, space=space).run()
    assert all(point.status == "done" for point in points)
    lines = [
        json.loads(line)
        for line in (tmp_path / "grid.jsonl").read_text().splitlines()
        if line.startswith("{")
    ]
    assert len(lines) == len({line["key"] for line in lines}) == 30
