"""What each group of features is worth: the cross-validated score without it, over seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from earmark.data.dataset import Dataset
from earmark.evaluation.metrics import METRICS
from earmark.tasks.meter.training.settings import seed_summary
from earmark.tasks.project import Project
from earmark.tasks.verbs.train import TrainOptions, chosen_features, chosen_metric, recipes_of
from earmark.training.crossval import cross_validate
from earmark.training.recipe import Recipe

__all__ = ["Ablated", "ablate"]


@dataclass(frozen=True)
class Ablated:
    """The score without a group (``none``: with all), its spread over seeds, and how far it lies from all."""

    left_out: str
    n_columns: int
    score: float
    spread: float
    delta: float
    n_seeds: int

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))


def ablate(project: Project, options: TrainOptions, *, n_seeds: int = 1) -> Iterator[Ablated]:
    """A row with all groups, then one without each, in the order of the feature set; nothing is kept of the fits.

    Parameters
    ----------
    project : Project
    options : TrainOptions
        One algorithm; its features are taken apart.
    n_seeds : int
        Fits per row: a difference smaller than the spread over seeds says nothing.
    """
    (recipe,) = recipes_of(project, options)
    metric, features = chosen_metric(project, options), chosen_features(project, options)
    dataset, _ = project.training_data(features)
    whole, spread = _score(recipe, dataset, metric, n_seeds)
    yield Ablated("none", len(dataset.columns), whole, spread, 0.0, n_seeds)
    groups = dict.fromkeys(column.rpartition(".")[0] for column in dataset.columns)
    for group in groups if len(groups) > 1 else ():
        kept = [column for column in dataset.columns if column.rpartition(".")[0] != group]
        score, spread = _score(recipe, dataset.select(kept), metric, n_seeds)
        yield Ablated(group, len(kept), score, spread, score - whole, n_seeds)


def _score(recipe: Recipe, dataset: Dataset, metric: str, n_seeds: int) -> tuple[float, float]:
    scores = []
    for seed in range(recipe.seed, recipe.seed + n_seeds):
        own = replace(
            recipe, seed=seed, params={name: v for name, v in recipe.params.items() if name != "seed"}
        )
        out = cross_validate(
            lambda own=own: own.make(dataset.classes),  # type: ignore[misc]
            dataset,
            class_weight=own.class_weight,
            validation_fraction=own.validation_fraction,
            seed=seed,
        )
        scores.append(float(METRICS[metric].function(dataset.y, out.probabilities)))
    return seed_summary(scores)
