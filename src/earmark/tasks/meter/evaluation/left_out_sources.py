"""What a model is worth on a source that it never heard: each source in turn is left out of the training.

The run is fitted again as its final model was, with the same settings and the same length, on the rows of all other
sources; rows whose group reaches into the source are left out, too. Beside it stands the score of the same rows out of
fold, where other rows of their source did train: what lies between the two, the source told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.data.dataset import Dataset
from earmark.errors import RunError
from earmark.evaluation.counts import wilson
from earmark.evaluation.intervals import Interval
from earmark.evaluation.metrics import balanced_accuracy
from earmark.tasks.project import Project
from earmark.training.fit import fit_final
from earmark.training.joined import JoinedClassifier
from earmark.training.recipe import Recipe
from earmark.training.runs import Run, load_run
from earmark.training.strategy import Strategy

__all__ = ["LeftOut", "leave_sources_out", "recipe_of"]

_FIELDS = ("algorithm", "params", "preprocess", "class_weight", "validation_fraction", "seed")


@dataclass(frozen=True)
class LeftOut:
    """Scores of one source's rows: out of fold (``known``), and by a model without the source (``unknown``).

    ``unknown`` is None where the other sources hold a single class.
    """

    source: str
    n: int
    known: Interval
    unknown: Interval | None
    known_balanced: float
    unknown_balanced: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields by name, intervals as objects."""
        unknown = None if self.unknown is None else self.unknown.to_json()
        return {**vars(self), "known": self.known.to_json(), "unknown": unknown}


def leave_sources_out(project: Project, run: Run, data: Dataset, p: np.ndarray) -> list[LeftOut]:
    """A row per source of the rows, the largest first; none where all rows are of one source.

    Parameters
    ----------
    data : Dataset
        The run's training rows.
    p : ndarray, shape (n, n_classes)
        Their out-of-fold probabilities.
    """
    names, counts = np.unique(data.sources, return_counts=True)
    if len(names) < 2:
        return []
    return [_left_out(project, run, data, p, str(names[i])) for i in np.argsort(-counts, kind="stable")]


def _left_out(project: Project, run: Run, data: Dataset, p: np.ndarray, source: str) -> LeftOut:
    inside = data.sources == source
    others = ~inside & ~np.isin(data.groups, data.groups[inside])
    y, right = data.y[inside], p[inside].argmax(axis=1) == data.y[inside]
    known = wilson(int(right.sum()), len(y)), float(balanced_accuracy(y, p[inside]))
    if len(np.unique(data.y[others])) < 2:
        return LeftOut(source, len(y), known[0], None, known[1], None)
    q = _refitted(project, run, data.take(others)).predict_proba(data.X[inside], data.columns)
    now_right = q.argmax(axis=1) == y
    return LeftOut(
        source,
        len(y),
        known[0],
        wilson(int(now_right.sum()), len(y)),
        known[1],
        float(balanced_accuracy(y, q)),
    )


def _refitted(project: Project, run: Run, data: Dataset) -> JoinedClassifier:
    """The run's model on other rows, of each of its members if it was joined."""
    members = run.config["fit"].get("members", [])
    if run.algorithm == "joined":
        loaded = [load_run(name, root=project.runs_folder, task=run.task) for name in members]
        parts = [_refitted(project, member, data).members[0] for member in loaded]
        return JoinedClassifier(tuple(parts), np.array(run.config["fit"]["weights"], dtype=np.float64))
    recipe = recipe_of(run)
    columns = project.task.features(run.config["settings"]["features"]).columns
    classifier = fit_final(
        lambda: recipe.make(data.classes),
        data.select(columns),
        length=run.config["fit"].get("final_length"),
        class_weight=recipe.class_weight,
        seed=recipe.seed,
        validation_fraction=recipe.validation_fraction,
    )
    return JoinedClassifier((classifier,), np.ones((1, len(data.classes))))


def recipe_of(run: Run) -> Recipe:
    """The recipe that a run recorded, without a second source.

    Raises
    ------
    RunError
        The run was trained with rows of another source, which cannot be left out one by one.
    """
    recorded = run.config["recipe"]
    if run.strategy != Strategy().name:
        raise RunError(
            f"`{run.name}` was trained by strategy {run.strategy} with a second source; expected one of scored rows "
            "alone. Name another run."
        )
    return Recipe(**{name: recorded[name] for name in _FIELDS if name in recorded})
