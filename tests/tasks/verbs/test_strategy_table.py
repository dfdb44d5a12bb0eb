"""The table of strategies: best first, gains against the same algorithm, a sentence that luck does not fool."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earmark.data.dataset import Dataset
from earmark.evaluation.metrics import METRICS
from earmark.tasks.verbs.strategies import compare_strategies, sentence_of, write_table
from earmark.training.folds import balanced_folds
from earmark.training.recipe import Recipe
from earmark.training.runs import Run
from earmark.training.strategy import Strategy
from earmark.training.train import train

CLASSES = ("YELLOW", "GREEN", "PURPLE")


def rows_of(n: int, seed: int, *, noise: float, **changes: object) -> Dataset:
    rng = np.random.default_rng(seed)
    y = (np.arange(n) // 2) % 3
    groups = np.array([f"{seed}-{i // 2}" for i in range(n)])
    X = np.column_stack([y + noise * rng.normal(size=n), rng.normal(size=(n, 4))]).astype(np.float32)
    values = {
        "ids": tuple(f"{seed}-{i:03d}" for i in range(n)),
        "columns": tuple(f"c.{i}" for i in range(5)),
        "X": X,
        "y": y,
        "classes": CLASSES,
        "groups": groups,
        "folds": balanced_folds(y, groups, 3, seed=seed),
        "sources": np.array(["user"] * n),
    }
    return Dataset(**(values | changes))


@pytest.fixture(scope="module")
def own() -> Dataset:
    """Few rows with a weak signal."""
    return rows_of(30, 1, noise=0.8)


@pytest.fixture(scope="module")
def runs(own: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Runs beside a second source that knows the answer far better than so few rows can."""
    other = rows_of(300, 2, noise=0.2, sources=np.array(["deam"] * 300), split="auxiliary")
    root = tmp_path_factory.mktemp("runs")
    return [
        train(
            Recipe("logistic", strategy=Strategy(name)),
            own,
            root=root,
            task="zones",
            metrics=METRICS,
            rank_by="balanced_accuracy",
            auxiliary=other,
        ).run
        for name in ("user", "weighted", "auxiliary")
    ]


def test_rows_are_ranked_and_compared_with_own_rows_alone(own: Dataset, runs: list[Run]) -> None:
    table = compare_strategies(runs, own, "balanced_accuracy")
    values = [row.metrics["balanced_accuracy"].value for row in table]
    assert values == sorted(values, reverse=True)
    by_name = {row.strategy: row for row in table}
    assert by_name["user"].gain is None
    gain = by_name["weighted"].gain
    assert gain is not None
    own_value = by_name["user"].metrics["balanced_accuracy"].value
    assert gain.value == pytest.approx(by_name["weighted"].metrics["balanced_accuracy"].value - own_value)
    beside = {name: row.beside for name, row in by_name.items()}
    assert beside["auxiliary"] is not None and beside["auxiliary"] > 0.8, beside


def test_more_comparisons_make_wider_intervals(own: Dataset, runs: list[Run]) -> None:
    few = {row.strategy: row.gain for row in compare_strategies(runs[:2], own, "balanced_accuracy")}
    many = {row.strategy: row.gain for row in compare_strategies(runs, own, "balanced_accuracy")}
    assert few["weighted"] is not None and many["weighted"] is not None
    assert many["weighted"].low <= few["weighted"].low and many["weighted"].high >= few["weighted"].high


def test_a_gain_that_other_folds_do_not_show_is_not_worth_it(own: Dataset, runs: list[Run]) -> None:
    base = np.full(5, 0.5)
    lasting = {run.name: base + (0.0 if run.strategy == "user" else 0.2) for run in runs}
    lucky = {
        run.name: base + (0.0 if run.strategy == "user" else np.array([0.2, -0.2, 0.1, -0.1, 0]))
        for run in runs
    }
    clear = [
        row if row.gain is None else replace(row, gain=replace(row.gain, value=0.2, low=0.1, high=0.3))
        for row in compare_strategies(runs, own, "balanced_accuracy", drawn=lasting)
    ]
    assert sentence_of(clear).startswith("Worth it by balanced accuracy: weighted (logistic, +0.20")
    unlucky = [replace(row, drawn=None if row.drawn is None else lucky[row.run.name] - base) for row in clear]
    assert "looks better on these folds and not on others" in sentence_of(unlucky)
    assert "--draws" not in sentence_of(unlucky) and "--draws" in sentence_of(
        compare_strategies(runs, own, "balanced_accuracy")
    )


def test_a_lower_score_is_better_where_the_metric_says_so(own: Dataset, runs: list[Run]) -> None:
    table = compare_strategies(runs, own, "log_loss")
    values = [row.metrics["log_loss"].value for row in table]
    assert values == sorted(values)
    for row in table:
        if row.gain is not None and row.gain.is_clear:
            assert row.is_worth_it == (row.gain.value < 0)


def test_the_table_is_written_whole(own: Dataset, runs: list[Run], tmp_path: Path) -> None:
    table = compare_strategies(runs, own, "balanced_accuracy")
    path = write_table(table, tmp_path / "strategies.csv")
    with path.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["strategy"] for row in read] == [row.strategy for row in table]
    assert {"algorithm", "balanced_accuracy", "against user", "recall PURPLE", "run"} <= set(read[0])
