"""Which of the prepared training rows take part in a training, in which folds, and how much they count.

A run that chose otherwise than the preparation records its choice, so that whatever looks at its rows later finds the
very same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from earmark.errors import UsageError
from earmark.evaluation.counts import stratified_rows
from earmark.training.folds import regrouped
from earmark.training.source_balance import source_weights

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset
    from earmark.features.progress import ProgressCallback
    from earmark.features.table import FeatureTable
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["RowChoice", "rows_of_run"]


@dataclass(frozen=True)
class RowChoice:
    """What is changed of the prepared training rows; as it stands, nothing.

    Parameters
    ----------
    left_out : mapping of column to tuple of str
        Rows whose manifest has one of these values take no part.
    limit : int
        So many rows, classes in proportion; 0: all.
    n_folds : int
        So many folds, drawn anew, grouped and stratified; 0: those that were prepared.
    balance_sources : bool
        Weights of `earmark.training.source_balance`.
    """

    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    limit: int = 0
    n_folds: int = 0
    balance_sources: bool = False

    def apply(self, project: Project, dataset: Dataset) -> Dataset:
        """The rows that take part.

        Raises
        ------
        UsageError
            None is left, they lie in a single fold, or there is no second source to balance.
        """
        seed = project.settings.seed
        if self.left_out:
            dataset = dataset.take(self._kept(project, dataset))
        if self.limit:
            dataset = dataset.take(stratified_rows(dataset.y, self.limit, seed=seed))
        if self.n_folds:
            dataset = regrouped(dataset, self.n_folds, seed=seed)
        if self != RowChoice() and len(np.unique(dataset.folds)) < 2:
            raise UsageError(
                f"{len(dataset)} rows are left, all in one fold; expected two folds or more to score on. Choose more "
                "rows."
            )
        if self.balance_sources:
            dataset = replace(dataset, weights=dataset.weights * source_weights(dataset.y, dataset.sources))
        return dataset

    def _kept(self, project: Project, dataset: Dataset) -> np.ndarray:
        table = project.manifest.subset(dataset.ids).table
        known = {row["id"]: row for row in table.iter_rows(named=True)}
        return np.array(
            [
                all(known[id].get(column) not in values for column, values in self.left_out.items())
                for id in dataset.ids
            ],
            dtype=bool,
        )

    def to_settings(self) -> dict[str, Any]:
        """What a run records; empty where nothing is changed."""
        plain = RowChoice()
        return {name: value for name, value in vars(self).items() if value != getattr(plain, name)}

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """What the run recorded."""
        recorded = dict(run.config["settings"].get("rows", {}))
        left_out = {name: tuple(values) for name, values in recorded.pop("left_out", {}).items()}
        return cls(left_out, **recorded)


def rows_of_run(
    project: Project, run: Run, progress: ProgressCallback | None = None
) -> tuple[Dataset, FeatureTable]:
    """The rows that a run was trained on, as they are now, and the table that they come from."""
    features = project.task.features(run.config["settings"]["features"])
    dataset, table = project.training_data(features, progress)
    return RowChoice.of_run(run).apply(project, dataset), table
