"""Scores by rule: for each class a few soft conditions on feature columns; their mean is the class's score.

A condition is 1 where it holds and falls off linearly beyond its bound, so a track just outside counts
almost fully:

============================ ================================================================
condition                    score of a value x
============================ ================================================================
``below(column, t)``         1 up to t, then 2 - x/t, 0 from 2 t on
``above(column, t)``         x/t up to t, then 1; 0 for x at 0 or less
``between(column, a, b)``    1 from a to b, falling to 0 one width (b - a) outside
============================ ================================================================

A value that is not a number satisfies no condition: its score is 0. All bounds are positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import SchemaError, UsageError

__all__ = ["Condition", "RuleSet", "above", "below", "between"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Condition:
    """A soft condition on one column: the corners of its score, linear between and constant outside them.

    Made by `below`, `above` and `between`.
    """

    column: str
    corners: tuple[float, ...]
    scores: tuple[float, ...]

    def score(self, values: ArrayLike) -> FloatArray:
        """Score values, shape (n_items,), each 0 to 1; 0 for ``nan``."""
        array = np.asarray(values, dtype=np.float64)
        return np.where(np.isnan(array), 0.0, np.interp(array, self.corners, self.scores))


def below(column: str, bound: float) -> Condition:
    """1 up to ``bound``, falling to 0 at twice the bound."""
    _check_bounds(column, bound)
    return Condition(column, (bound, 2 * bound), (1.0, 0.0))


def above(column: str, bound: float) -> Condition:
    """1 from ``bound`` on, falling to 0 at 0."""
    _check_bounds(column, bound)
    return Condition(column, (0.0, bound), (0.0, 1.0))


def between(column: str, low: float, high: float) -> Condition:
    """1 from ``low`` to ``high``, falling to 0 one width outside."""
    _check_bounds(column, low, high)
    width = high - low
    return Condition(column, (low - width, low, high, high + width), (0.0, 1.0, 1.0, 0.0))


@dataclass(frozen=True)
class RuleSet:
    """Conditions per class; the class with the best mean score wins.

    Parameters
    ----------
    conditions : mapping of str to sequence of Condition
        Per class, in class order.
    threshold : float
        Best score below which there is no decision.
    """

    conditions: Mapping[str, Sequence[Condition]]
    threshold: float = 0.0

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        return tuple(self.conditions)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the conditions read, each once, in order of first mention."""
        return tuple(dict.fromkeys(one.column for some in self.conditions.values() for one in some))

    def scores(self, X: ArrayLike, columns: Sequence[str]) -> FloatArray:
        """Score items.

        Parameters
        ----------
        X : array, shape (n_items, n_columns)
            Features.
        columns : sequence of str
            Their names; more than needed is fine.

        Returns
        -------
        array, shape (n_items, n_classes)
            Mean score of each class, 0 to 1.

        Raises
        ------
        SchemaError
            If a column is missing; all missing ones are named.
        """
        position = {name: i for i, name in enumerate(columns)}
        missing = [name for name in self.columns if name not in position]
        if missing:
            raise SchemaError(
                f"The rules need {len(missing)} columns that are not given: {', '.join(missing)}. "
                "Extract the feature set that holds them."
            )
        values = np.asarray(X)
        per_class = [
            np.mean([one.score(values[:, position[one.column]]) for one in some], axis=0)
            for some in self.conditions.values()
        ]
        return np.stack(per_class, axis=1)


def _check_bounds(column: str, *bounds: float) -> None:
    if not all(np.isfinite(bounds)) or bounds[0] <= 0 or list(bounds) != sorted(set(bounds)):
        raise UsageError(
            f"Condition on `{column}` has bounds {bounds}; expected positive numbers in rising order."
        )
