"""Cross-validation with the folds drawn many times: what a recipe scores is not one throw of a die.

The score of one division of a few hundred rows moves by several points when the folds are drawn again, and so does
the difference of two recipes. Here all recipes are scored on the same draws, so that their differences can be taken
draw by draw. Nothing is written; the draws are of the training rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.models.estimator import Floats
from earmark.training.blend import blend
from earmark.training.crossval import OnEvent, cross_validate
from earmark.training.folds import balanced_folds, regrouped
from earmark.training.ranking import Metric
from earmark.training.recipe import Recipe, digest

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset

__all__ = ["redrawn", "repeated_scores"]


def repeated_scores(
    recipes: Sequence[Recipe],
    dataset: Dataset,
    auxiliary: Dataset | None,
    metric: Metric,
    *,
    draws: int,
    seed: int = 42,
    on_event: OnEvent | None = None,
) -> npt.NDArray[np.float64]:
    """Score of each recipe on each draw of the folds, shape (n_recipes, draws).

    Parameters
    ----------
    recipes : sequence of Recipe
    dataset : Dataset
        Training rows; their own folds say only how many there are.
    auxiliary : Dataset, optional
        Rows that only train; drawn anew too.
    metric : Metric
        ``function(y, probabilities)`` and ``direction``, by which weights of blends are chosen, too.
    draws : int
        At least 1.
    seed : int
        Of the draws.
    on_event : callable, optional
        Called with ``{"event": "draw", "done": 3, "total": 95}``.

    Raises
    ------
    UsageError
        Fewer than one draw.
    """
    if draws < 1:
        raise UsageError(f"{draws} draws of the folds were asked for, expected at least 1.")
    scores = np.zeros((len(recipes), draws))
    for draw in range(draws):
        rows, others = redrawn(dataset, auxiliary, seed=seed + draw)
        known: dict[str, Floats] = {}
        for position, recipe in enumerate(recipes):
            found = _probabilities(recipe, rows, others, metric, known)
            scores[position, draw] = float(metric.function(rows.y, found))
            if on_event is not None:
                done = draw * len(recipes) + position + 1
                on_event({"event": "draw", "done": done, "total": draws * len(recipes)})
    return scores


def redrawn(dataset: Dataset, auxiliary: Dataset | None, *, seed: int) -> tuple[Dataset, Dataset | None]:
    """The same rows with folds drawn anew; an auxiliary row of a scored group goes to the fold of that group."""
    rows = regrouped(dataset, dataset.n_folds, seed=seed)
    if auxiliary is None:
        return rows, None
    folds = balanced_folds(auxiliary.y, auxiliary.groups, dataset.n_folds, seed=seed)
    of_group = dict(zip(rows.groups.tolist(), rows.folds.tolist(), strict=True))
    folds = np.array(
        [of_group.get(group, fold) for group, fold in zip(auxiliary.groups.tolist(), folds, strict=True)]
    )
    return rows, replace(auxiliary, folds=folds)


def _probabilities(
    recipe: Recipe, rows: Dataset, others: Dataset | None, metric: Metric, known: dict[str, Floats]
) -> Floats:
    """Out of fold; a member that several blends share is fitted once."""
    key = digest(recipe.settings())
    if key not in known:
        members = [_probabilities(member, rows, others, metric, known) for member in recipe.members()]
        if members:
            fixed = recipe.fixed_weights()
            mixed = blend(members, rows.y, rows.folds, metric.function, metric.direction, fixed=fixed)
            known[key] = mixed.probabilities
        else:
            known[key] = cross_validate(
                lambda: recipe.make(rows.classes),
                rows,
                class_weight=recipe.class_weight,
                validation_fraction=recipe.validation_fraction,
                seed=recipe.seed,
                strategy=recipe.strategy,
                auxiliary=others,
            ).probabilities
    return known[key]
