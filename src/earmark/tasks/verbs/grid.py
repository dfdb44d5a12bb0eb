"""`grid`: a search over the task's parameter grid on the training folds, resumable point by point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earmark.errors import UsageError
from earmark.evaluation.metrics import METRICS
from earmark.features.progress import Progress, ProgressCallback
from earmark.tasks.project import Project
from earmark.tasks.verbs.train import TrainOptions, chosen_features, chosen_metric, recipes_of, training_rows
from earmark.training.crossval import OnEvent
from earmark.training.grid import Point, Search

__all__ = ["Searched", "open_search", "run_search", "space_of"]

N_FOLDS = 3


@dataclass(frozen=True)
class Searched:
    """All points in the grid's order, and the done ones from best to worst."""

    points: tuple[Point, ...]
    best_first: tuple[Point, ...]
    journal: Path


def open_search(
    project: Project,
    algorithm: str,
    *,
    options: TrainOptions | None = None,
    space: Mapping[str, Any] | None = None,
    n_folds: int | None = N_FOLDS,
) -> Search:
    """The search of an algorithm over `space` or the task's grid, on this project's training rows.

    Raises
    ------
    UsageError
        The task declares no grid for the algorithm and none was given, or too few rows have all features.
    """
    options = replace(options or TrainOptions(), algorithms=(algorithm,))
    (recipe,) = recipes_of(project, options)
    features = chosen_features(project, options)
    dataset = training_rows(project, features, options)
    journal = project.runs_folder / project.task.name / ".grid" / f"{recipe.algorithm}-{features.name}.jsonl"
    metric = chosen_metric(project, options)
    return Search(
        recipe, space or space_of(project, recipe.algorithm), dataset, METRICS, metric, journal, n_folds
    )


def space_of(project: Project, algorithm: str) -> Mapping[str, Any]:
    """The grid that the task declares for an algorithm."""
    grids = project.task.grids
    if algorithm not in grids:
        raise UsageError(
            f"task `{project.task.name}` declares no grid for {algorithm}; it has one for "
            f"{', '.join(grids) or 'none'}. Give the values: --set max_depth=4,6,8"
        )
    return grids[algorithm]


def run_search(
    search: Search,
    *,
    workers: int = 1,
    limit: int | None = None,
    progress: ProgressCallback | None = None,
    on_event: OnEvent | None = None,
) -> Searched:
    """Compute the points that are not done; everything finished is kept on any interruption.

    `on_event` hears of every point, as `earmark.training.grid.Search.run` tells it.
    """
    failed = 0

    def tell(event: Mapping[str, Any]) -> None:
        nonlocal failed
        failed += event["status"] == "failed"
        if on_event is not None:
            on_event(dict(event))
        if progress is not None:
            progress(Progress("grid", event["done"], event["total"], failed, str(event["values"])))

    points = search.run(workers=workers, limit=limit, on_event=tell)
    return Searched(tuple(points), tuple(search.summary()), search.journal)
