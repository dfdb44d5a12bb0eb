"""The runs of several strategies in one table: the scored rows decide, the other source stands beside.

All runs of a table were cross-validated on the same rows and folds, so the difference of two is taken row by row
and its interval comes from resampling whole groups. Among many differences one looks large by chance: their intervals
are simultaneous (Bonferroni), so that with 95 % confidence *all* of a table hold their value. And one division into
folds is one throw of a die: with ``--draws`` the folds are drawn anew for all strategies alike, and a strategy is
called worth it only if its gain also outlasts the draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.dataset import Dataset
from earmark.data.parquet import write_bytes_atomic
from earmark.evaluation.intervals import Difference, Interval, bootstrap_intervals, paired_difference
from earmark.evaluation.metrics import METRICS
from earmark.evaluation.result import show_difference, show_interval, words_of
from earmark.evaluation.tables import csv_text
from earmark.features.progress import Progress, ProgressCallback
from earmark.tasks.project import Project
from earmark.tasks.verbs.train import TrainedModels, TrainOptions, recipes_of
from earmark.training.repeats import repeated_scores
from earmark.training.runs import Run

__all__ = [
    "StrategyRow",
    "compare_strategies",
    "drawn_scores",
    "sentence_of",
    "strategy_label",
    "write_table",
]

N_REPLICATES = 20_000
"""Draws of the bootstrap: simultaneous intervals of twenty rows end where one draw in a thousand lies."""

SHOWN = ("accuracy", "macro_f1", "weighted_f1", "ordinal_cost")
"""Metrics of the table beside the one that ranks."""


@dataclass(frozen=True)
class StrategyRow:
    """One run in the table.

    Attributes
    ----------
    metrics : mapping of metric to Interval
        Out of fold, on scored rows.
    recall : mapping of class to float
    gain : Difference or None
        Of the ranking metric over the run of the same algorithm on scored rows alone; None for that run itself. Its
        interval is simultaneous over the table.
    drawn : array, shape (n_draws,), or None
        The same gain on folds drawn anew.
    beside : float or None
        The ranking metric on rows of the other source, each predicted by the fold that left it out.
    """

    run: Run
    metric: str
    metrics: Mapping[str, Interval]
    recall: Mapping[str, float]
    gain: Difference | None
    beside: float | None
    drawn: np.ndarray | None = None

    @property
    def is_worth_it(self) -> bool:
        """Whether the gain is clear here, and outlasts other draws of the folds where these were made."""
        if self.gain is None or not self.gain.is_clear:
            return False
        sign = 1 if METRICS[self.metric].direction == "higher" else -1
        lasting = self.drawn is None or sign * self.drawn.mean() > self.drawn.std()
        return sign * self.gain.value > 0 and bool(lasting)

    @property
    def strategy(self) -> str:
        """Name with what was chosen for it, e.g. ``weighted moments``."""
        return strategy_label(self.run)

    def to_row(self) -> dict[str, Any]:
        """For a table or CSV: text for people, one column per fact."""
        own = self.metrics[self.metric]
        return {
            "strategy": self.strategy,
            "algorithm": self.run.algorithm,
            self.metric: show_interval(own),
            "against user": "" if self.gain is None else show_difference(self.gain),
            **({} if self.drawn is None else {"on other folds": _show_drawn(self.drawn)}),
            **{name: f"{self.metrics[name].value:.2f}" for name in SHOWN if name != self.metric},
            **{f"recall {name}": f"{value:.2f}" for name, value in self.recall.items()},
            f"other source {self.metric}": "" if self.beside is None else f"{self.beside:.2f}",
            "run": self.run.name,
        }

    def short_columns(self) -> list[str]:
        """Those keys of `to_row` that fit on a terminal; the run gives way to the scores on other folds."""
        last = "run" if self.drawn is None else "on other folds"
        return ["strategy", "algorithm", self.metric, "against user", last]

    def to_json(self) -> dict[str, Any]:
        """Numbers, for ``--format json``."""
        return {
            "strategy": self.strategy,
            "algorithm": self.run.algorithm,
            "run": self.run.name,
            "metrics": {name: interval.to_json() for name, interval in self.metrics.items()},
            "recall": dict(self.recall),
            "against_user": None if self.gain is None else self.gain.to_json(),
            "other_source": self.beside,
            "against_user_draws": None if self.drawn is None else [float(gain) for gain in self.drawn],
        }


def compare_strategies(
    runs: Sequence[Run],
    dataset: Dataset,
    metric: str,
    *,
    seed: int = 42,
    drawn: Mapping[str, np.ndarray] | None = None,
) -> tuple[StrategyRow, ...]:
    """A row per run, best first by `metric`.

    Parameters
    ----------
    runs : sequence of Run
        All scored on the rows of `dataset`.
    dataset : Dataset
    metric : str
        A name of `METRICS`.
    drawn : mapping of run name to array, shape (n_draws,), optional
        Scores on folds drawn anew, from `drawn_scores`.
    """
    p = {run.name: _probabilities(run, dataset) for run in runs}
    alone = {run.algorithm: run.name for run in runs if run.strategy == "user"}
    n_compared = max(1, sum(run.strategy != "user" and run.algorithm in alone for run in runs))
    rows = []
    for run in runs:
        rival = alone.get(run.algorithm) if run.strategy != "user" else None
        row = _row(run, p[run.name], None if rival is None else p[rival], dataset, metric, seed, n_compared)
        if drawn is not None:
            row = replace(row, drawn=drawn[run.name] - drawn[rival] if rival else None)
        rows.append(row)
    sign = -1 if METRICS[metric].direction == "higher" else 1
    return tuple(
        sorted(rows, key=lambda row: sign * np.nan_to_num(row.metrics[metric].value, nan=sign * np.inf))
    )


def drawn_scores(
    project: Project,
    trained: TrainedModels,
    options: TrainOptions,
    draws: int,
    *,
    progress: ProgressCallback | None = None,
) -> dict[str, np.ndarray]:
    """Scores of what `train` has trained on folds drawn anew, shape (draws,) by the run's name."""

    def tell(event: Mapping[str, Any]) -> None:
        if progress is not None:
            progress(Progress("other folds", event["done"], event["total"]))

    scores = repeated_scores(
        recipes_of(project, options),
        trained.dataset,
        trained.auxiliary,
        METRICS[trained.metric],
        draws=draws,
        seed=project.settings.seed,
        on_event=tell,
    )
    return {run.name: row for run, row in zip(trained.runs, scores, strict=True)}


def sentence_of(rows: Sequence[StrategyRow]) -> str:
    """Which strategy is worth it, in plain words; empty where nothing was compared with scored rows alone."""
    compared = [row for row in rows if row.gain is not None and row.run.strategy != "auxiliary"]
    if not compared:
        return ""
    parts = [_worth_sentence(compared)]
    others = [row for row in rows if row.run.strategy == "auxiliary"]
    if others:
        own = "" if others[0].beside is None else f", and {others[0].beside:.2f} on its own"
        reached = show_interval(others[0].metrics[others[0].metric])
        parts.append(f"The other source alone reaches {reached} on scored rows{own}.")
    if compared[0].drawn is None:
        parts.append(
            "One division into folds is one throw of a die: --draws 5 repeats the comparison on others."
        )
    return " ".join(parts)


def _worth_sentence(compared: Sequence[StrategyRow]) -> str:
    metric, first = words_of(compared[0].metric), compared[0]
    worth = [row for row in compared if row.is_worth_it]
    if worth:
        named = ", ".join(f"{row.strategy} ({row.run.algorithm}, {_gain(row)})" for row in worth[:3])
        return f"Worth it by {metric}: {named}, clearly better than scored rows alone."
    lost = [row for row in compared if row.gain is not None and row.gain.is_clear and row.gain.value > 0]
    if lost and lost[0].drawn is not None and METRICS[first.metric].direction == "higher":
        return (
            f"No strategy is worth it by {metric}: {lost[0].strategy} ({lost[0].run.algorithm}, {_gain(lost[0])}) "
            "looks better on these folds and not on others."
        )
    return (
        f"No strategy is clearly better than scored rows alone by {metric}; the best, {first.strategy} with "
        f"{first.run.algorithm}, differs by {_gain(first)}."
    )


def write_table(rows: Sequence[StrategyRow], path: Path) -> Path:
    """Write the table as CSV, whole or not at all."""
    write_bytes_atomic(path, csv_text([row.to_row() for row in rows]).encode())
    return path


def strategy_label(run: Run) -> str:
    """The strategy of a run with its alignment and search, as in the name of the run."""
    from earmark.training.strategy import Strategy

    settings = dict(run.config["recipe"].get("strategy", {}))
    weights = settings.get("member_weights")
    return Strategy(**(settings | {"member_weights": tuple(weights) if weights else None})).label


def _row(
    run: Run,
    p: np.ndarray,
    alone: np.ndarray | None,
    dataset: Dataset,
    metric: str,
    seed: int,
    n_compared: int,
) -> StrategyRow:
    intervals = bootstrap_intervals(dataset.y, p, dataset.groups, seed)
    guess = p.argmax(axis=1)
    recall = {
        name: float(np.mean(guess[dataset.y == code] == code)) if (dataset.y == code).any() else float("nan")
        for code, name in enumerate(dataset.classes)
    }
    gain = None
    if alone is not None:
        gain = paired_difference(
            METRICS[metric],
            dataset.y,
            p,
            alone,
            dataset.groups,
            seed,
            n_replicates=N_REPLICATES,
            level=1 - 0.05 / n_compared,
        )
    beside = run.auxiliary_metrics.get(metric, {}).get("value")
    return StrategyRow(run, metric, intervals, recall, gain, beside)


def _probabilities(run: Run, dataset: Dataset) -> np.ndarray:
    from earmark.errors import RunError

    table = run.out_of_fold()
    if table["id"].to_list() != list(dataset.ids):
        raise RunError(f"`{run.name}` was scored on other rows than these {len(dataset)}. Train it again.")
    return table.select(f"probability_{name}" for name in dataset.classes).to_numpy()


def _gain(row: StrategyRow) -> str:
    assert row.gain is not None
    drawn = "" if row.drawn is None else f" here, {_show_drawn(row.drawn)} on other folds"
    return show_difference(row.gain) + drawn


def _show_drawn(gains: np.ndarray) -> str:
    return f"{gains.mean():+.2f} ± {gains.std():.2f}"
