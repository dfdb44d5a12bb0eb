"""A trained model as it is asked: by windows, in blocks of one size, so that an answer depends on its window alone.

The last bit of a network's output depends on how many windows are asked at once, since other kernels multiply other
shapes. `ServedModel.answer` therefore asks blocks of `BLOCK` windows, always, and fills the last one up: a window gets
the same answer in a batch of thousands and alone, live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.windows import Windows
from earmark.errors import RunError
from earmark.models.sequence.base import SequencePrediction
from earmark.models.sequence.classifier import SequenceClassifier
from earmark.orderbook.lagged import RANKED
from earmark.tasks.market.level_series import LEVELS_VIEW

if TYPE_CHECKING:
    from earmark.tasks.settings import EffectiveSettings
    from earmark.training.runs import Run

__all__ = ["BLOCK", "ServedModel", "chosen_run", "dataset_record", "named_run", "served_model"]

BLOCK = 32
"""Windows per question; smaller blocks take other kernels for their last rows, larger ones make one window slow."""

TASK = "market"


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A classifier and what a prediction says of its origin.

    Attributes
    ----------
    classifier : SequenceClassifier
    name : str
        Of the algorithm.
    version : str
        Name of the run.
    view : str
        Schema view of its columns.
    group : str
        Of the feature store, from which it was trained.
    horizon_s : int
    interval_ms : int
        Distance of two rows of a window.
    levels, every : int
        Of the view ``levels``: levels per side that were read, and ticks from row to row.
    """

    classifier: SequenceClassifier
    name: str
    version: str
    view: str
    group: str
    horizon_s: int
    interval_ms: int
    levels: int = 0
    every: int = 1

    @property
    def reads_levels(self) -> bool:
        """Whether its rows are states of the raw book, and not samples."""
        return self.view == LEVELS_VIEW

    @property
    def schema(self) -> str:
        """Version and hash of the schema of its columns."""
        return self.classifier.schema

    @property
    def window(self) -> int:
        """Rows of a window."""
        return self.classifier.estimator.window

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a row, in order."""
        return self.classifier.columns

    @cached_property
    def history_rows(self) -> int:
        """Rows of a symbol, the newest included, on which an answer may depend."""
        trailing = RANKED if self.view == "v1_187" else 0
        if self.classifier.form == "rolling":
            trailing += self.classifier.scaling.rolling_window
        return self.window + trailing

    def answer(self, windows: Windows) -> SequencePrediction:
        """Answers for raw windows that are `usable`; see the module."""
        if not len(windows):
            return self.classifier.predict(windows)
        scaled, estimator = self.classifier.scaled(windows), self.classifier.estimator
        parts = []
        for start in range(0, len(windows), BLOCK):
            asked = np.minimum(np.arange(start, start + BLOCK), len(windows) - 1)
            parts.append((estimator.predict(scaled.take(asked)), min(BLOCK, len(windows) - start)))
        return SequencePrediction(
            *(
                np.concatenate([getattr(part, name)[:n] for part, n in parts])
                for name in ("probabilities", "confidence", "expected_return")
            )
        )


def chosen_run(project: str | Path, name: str | None = None) -> Run:
    """The named run; else the promoted one; else the newest.

    Raises
    ------
    RunError
        There is none.
    """
    from earmark.tasks.settings import load_settings
    from earmark.training.production import history, production_run
    from earmark.training.runs import list_runs

    settings = load_settings(project)
    root, name = settings.path("runs"), name or settings.settings.predict.run
    if name:
        return named_run(settings, name)
    if history(root, TASK):
        return production_run(root, TASK)
    runs = list_runs(root, TASK)
    if not runs:
        raise RunError(f"`{root}` holds no run of {TASK}. Run: earmark train {TASK}")
    return runs[-1]


def named_run(settings: EffectiveSettings, name: str) -> Run:
    """The run of that name, beginning, key or folder, or the ``latest``.

    Raises
    ------
    RunError
        There is none, or it is of another task.
    """
    from earmark.training.runs import load_run

    return load_run(name, root=settings.path("runs"), task=TASK)


def served_model(run: Run) -> ServedModel:
    """The model of a run.

    Raises
    ------
    RunError
        The run lacks the model.
    """
    source = dataset_record(run)["source"]
    return ServedModel(
        classifier=run.series_classifier(),
        name=run.algorithm,
        version=run.name,
        view=source["view"],
        group=source["group"],
        horizon_s=int(source["horizon_s"]),
        interval_ms=int(source["interval_ms"]),
        levels=int(source["levels"]) if source["view"] == LEVELS_VIEW else 0,
        every=int(source["every"]) if source["view"] == LEVELS_VIEW else 1,
    )


def dataset_record(run: Run) -> Mapping[str, Any]:
    """The record of the dataset that a run was trained on: ``dataset.json`` of then, without columns and hashes."""
    if not run.is_series:
        raise RunError(f"`{run.name}` was trained on rows, not on windows. Name a run of a series.")
    record: Mapping[str, Any] = run.config["data"]
    return record
