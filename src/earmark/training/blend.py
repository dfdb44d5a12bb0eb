"""Weights of a blend of models, chosen on out-of-fold probabilities, and an honest score of that choice.

Choosing weights is learning, so a score on the rows that chose them is too good. `blend` therefore chooses,
for each fold, on the rows of the other folds, and reports the blend of this fold's rows with those weights:
no row takes part in the choice that it is scored with. The weights of the final model are chosen on all
rows, and no score of that choice is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.models.ensemble import search_weights, weighted_mean
from earmark.models.estimator import Floats, Ints
from earmark.training.ranking import Direction

__all__ = ["Blend", "blend"]


@dataclass(frozen=True)
class Blend:
    """Attributes
    ----------
    weights : tuple of float
        Chosen on all rows: for the final model.
    fold_weights : dict
        Fold -> weights chosen without it.
    probabilities : ndarray, shape (n, n_classes)
        Each row blended with the weights chosen without its fold: for the score.
    """

    weights: tuple[float, ...]
    fold_weights: dict[int, tuple[float, ...]]
    probabilities: Floats

    def of_folds(self, members: Sequence[Floats], fold: Ints) -> Floats:
        """Further rows, e.g. of another source, blended with the weights of the fold that left them out.

        Parameters
        ----------
        members : sequence of ndarray, shape (n, n_classes) each
        fold : ndarray, shape (n,), int
        """
        mixed = np.zeros_like(members[0])
        for name, weights in self.fold_weights.items():
            here = fold == name
            mixed[here] = weighted_mean([p[here] for p in members], weights)
        return mixed


def blend(
    members: Sequence[Floats],
    y: Ints,
    fold: Ints,
    function: Callable[..., Any],
    direction: Direction,
    fixed: Sequence[float] | None = None,
) -> Blend:
    """Choose blend weights by a metric on out-of-fold probabilities.

    Parameters
    ----------
    members : sequence of ndarray, shape (n, n_classes) each
        Out-of-fold probabilities of each member on the same folds.
    y, fold : ndarray, shape (n,), int
    function : callable
        ``function(y, probabilities) -> float``.
    direction : {"higher", "lower"}
        Which way the metric is better.
    fixed : sequence of float, optional
        Weights to use as they are; nothing is chosen then.
    """

    def choose(rows: npt.NDArray[np.bool_]) -> tuple[float, ...]:
        if fixed is not None:
            return tuple(fixed)
        return search_weights([p[rows] for p in members], y[rows], function, direction)

    names = [int(name) for name in np.unique(fold)]
    fold_weights = {name: choose(fold != name) for name in names}
    chosen = Blend(choose(np.ones(len(y), dtype=bool)), fold_weights, np.zeros_like(members[0]))
    return replace(chosen, probabilities=chosen.of_folds(members, fold))
