"""The runs of several strategies in one table: the scored rows decide, the other source stands beside.

All runs of a table were cross-validated on the same rows and folds, so the difference of two is taken row by row
and its interval comes from resampling whole groups. The best of several strategies on one set of folds is somewhat
too good by being chosen; the sentence therefore says which strategies are *clearly* better than scored rows alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.dataset import Dataset
from earmark.data.parquet import write_bytes_atomic
from earmark.evaluation.intervals import Difference, Interval, bootstrap_intervals, paired_difference
from earmark.evaluation.metrics import METRICS
from earmark.evaluation.result import show_difference, show_interval, words_of
from earmark.training.runs import Run

__all__ = ["StrategyRow", "compare_strategies", "sentence_of", "write_table"]

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
        Of the ranking metric over the run of the same algorithm on scored rows alone; None for that run itself.
    beside : float or None
        The ranking metric on rows of the other source, each predicted by the fold that left it out.
    """

    run: Run
    metric: str
    metrics: Mapping[str, Interval]
    recall: Mapping[str, float]
    gain: Difference | None
    beside: float | None

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
            **{name: f"{self.metrics[name].value:.2f}" for name in SHOWN if name != self.metric},
            **{f"recall {name}": f"{value:.2f}" for name, value in self.recall.items()},
            f"other source {self.metric}": "" if self.beside is None else f"{self.beside:.2f}",
            "run": self.run.name,
        }

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
        }


def compare_strategies(
    runs: Sequence[Run], dataset: Dataset, metric: str, *, seed: int = 42
) -> tuple[StrategyRow, ...]:
    """A row per run, best first by `metric`.

    Parameters
    ----------
    runs : sequence of Run
        All scored on the rows of `dataset`.
    dataset : Dataset
    metric : str
        A name of `METRICS`.
    """
    p = {run.name: _probabilities(run, dataset) for run in runs}
    alone = {run.algorithm: p[run.name] for run in runs if run.strategy == "user"}
    rows = [_row(run, p[run.name], alone.get(run.algorithm), dataset, metric, seed) for run in runs]
    sign = -1 if METRICS[metric].direction == "higher" else 1
    return tuple(
        sorted(rows, key=lambda row: sign * np.nan_to_num(row.metrics[metric].value, nan=-sign * np.inf))
    )


def sentence_of(rows: Sequence[StrategyRow]) -> str:
    """Which strategy is worth it, in plain words; empty where nothing was compared with scored rows alone."""
    compared = [row for row in rows if row.gain is not None and row.run.strategy != "auxiliary"]
    if not compared:
        return ""
    metric = compared[0].metric
    higher = METRICS[metric].direction == "higher"
    clear = [row for row in compared if row.gain and row.gain.is_clear and (row.gain.value > 0) == higher]
    first = compared[0]
    assert first.gain is not None
    parts = []
    if clear:
        named = ", ".join(f"{row.strategy} ({row.run.algorithm}, {_gain(row)})" for row in clear[:3])
        parts.append(f"Worth it by {words_of(metric)}: {named}, clearly better than scored rows alone.")
    else:
        parts.append(
            f"No strategy is clearly better than scored rows alone by {words_of(metric)}; the best, {first.strategy} "
            f"with {first.run.algorithm}, differs by {_gain(first)}."
        )
    others = [row for row in rows if row.run.strategy == "auxiliary"]
    if others:
        parts.append(
            f"The other source alone reaches {show_interval(others[0].metrics[metric])} on scored rows"
            + (f", and {others[0].beside:.2f} on its own." if others[0].beside is not None else ".")
        )
    if len(compared) > 1:
        parts.append(
            f"{len(rows)} runs were compared on the same folds: the best of them looks somewhat better than it is."
        )
    return " ".join(parts)


def write_table(rows: Sequence[StrategyRow], path: Path) -> Path:
    """Write the table as CSV, whole or not at all."""
    buffer = io.StringIO()
    table = [row.to_row() for row in rows]
    writer = csv.DictWriter(buffer, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_bytes_atomic(path, buffer.getvalue().encode())
    return path


def strategy_label(run: Run) -> str:
    """The strategy of a run with its alignment and search, as in the name of the run."""
    from earmark.training.strategy import Strategy

    settings = dict(run.config["recipe"].get("strategy", {}))
    weights = settings.get("member_weights")
    return Strategy(**(settings | {"member_weights": tuple(weights) if weights else None})).label


def _row(
    run: Run, p: np.ndarray, alone: np.ndarray | None, dataset: Dataset, metric: str, seed: int
) -> StrategyRow:
    intervals = bootstrap_intervals(dataset.y, p, dataset.groups, seed)
    guess = p.argmax(axis=1)
    recall = {
        name: float(np.mean(guess[dataset.y == code] == code)) if (dataset.y == code).any() else float("nan")
        for code, name in enumerate(dataset.classes)
    }
    gain = None
    if alone is not None and run.strategy != "user":
        gain = paired_difference(METRICS[metric], dataset.y, p, alone, dataset.groups, seed)
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
    return show_difference(row.gain)
