"""How sure a score is: bootstrap intervals over groups, and the paired difference of two models.

A score on a few hundred items is a rough estimate, and items of one group (artist, album, recording) are not
independent. So whole groups are drawn with replacement, as many as there are, and the metric is computed on
each draw; the interval runs between the 2.5 and 97.5 percentiles of 2,000 draws (percentile bootstrap,
clustered) [1]_. A draw is a row of item weights, and all draws are scored by one call of the metric
(`earmark.evaluation.metrics`).

Two models on the same items are compared draw by draw on the same weights: the interval of the difference is
narrower than the two intervals suggest, because hard items are hard for both.

Decided cases: with fewer than two groups nothing is known about the spread, and the bounds are ``nan``; draws
in which a metric is undefined (a class may be missing) are left out.

References
----------
.. [1] Davison, Hinkley. Bootstrap Methods and their Application. Cambridge University Press, 1997, ch. 2,
   3.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import UsageError
from earmark.evaluation.metrics import (
    METRICS,
    Metric,
    MetricFunction,
    f1_per_class,
    precision_per_class,
    recall_per_class,
    validate,
)

__all__ = [
    "Difference",
    "Interval",
    "bootstrap_interval",
    "bootstrap_intervals",
    "bootstrap_weights",
    "paired_difference",
    "per_class_intervals",
]

FloatArray = NDArray[np.float64]

N_REPLICATES = 2000
"""Draws: the Monte Carlo error of a 95 % bound is then about a twentieth of the interval's width."""

_BLOCK_WEIGHTS = 4_000_000
"""Weights held at once, 32 MB of float64: draws over many items are scored in blocks."""


@dataclass(frozen=True)
class Interval:
    """A score with the bounds of its interval; bounds are ``nan`` if fewer than two groups were scored."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Return ``{value, low, high}`` with None for what is undefined."""
        return {"value": _or_none(self.value), "low": _or_none(self.low), "high": _or_none(self.high)}

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Difference:
    """Metric of model A minus metric of model B on the same items.

    ``share_better`` is the share of draws in which A is better in the metric's direction, ties counted half.
    """

    value: float
    low: float
    high: float
    share_better: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0

    def to_json(self) -> dict[str, float | None]:
        """Return the fields with None for what is undefined."""
        bounds = Interval(self.value, self.low, self.high).to_json()
        return bounds | {"share_better": _or_none(self.share_better)}


def bootstrap_interval(
    metric: MetricFunction,
    y: ArrayLike,
    p: ArrayLike,
    groups: ArrayLike | None = None,
    seed: int = 42,
    *,
    n_replicates: int = N_REPLICATES,
    level: float = 0.95,
) -> Interval:
    """Score predictions and give the score's interval over groups.

    Parameters
    ----------
    metric : callable
        Takes ``y``, ``p`` and ``weights`` and returns one score per row of weights.
    y : array of int, shape (n_items,)
        True classes.
    p : array, shape (n_items, n_classes)
        Probabilities.
    groups : array, shape (n_items,), optional
        Group of each item, of any type; each item is its own group when absent.
    seed : int, default 42
        Seed of the draws: the same seed and groups give the same draws for every metric and model.
    n_replicates : int, default 2000
        Number of draws.
    level : float, default 0.95
        Share of draws inside the interval, in (0, 1).
    """
    draws = _draw({"score": metric}, y, p, groups, seed, n_replicates)["score"]
    return Interval(float(metric(y, p)), *_bounds(draws, level))


def bootstrap_intervals(
    y: ArrayLike,
    p: ArrayLike,
    groups: ArrayLike | None = None,
    seed: int = 42,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    n_replicates: int = N_REPLICATES,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Score predictions with several metrics on the same draws; parameters as in `bootstrap_interval`."""
    functions = {name: metric.function for name, metric in metrics.items()}
    draws = _draw(functions, y, p, groups, seed, n_replicates)
    return {
        name: Interval(float(function(y, p)), *_bounds(draws[name], level))
        for name, function in functions.items()
    }


def per_class_intervals(
    y: ArrayLike,
    p: ArrayLike,
    classes: Sequence[str],
    groups: ArrayLike | None = None,
    seed: int = 42,
    *,
    n_replicates: int = N_REPLICATES,
    level: float = 0.95,
) -> dict[str, dict[str, Interval]]:
    """Give precision, recall and F1 of each class with their intervals: {class: {"precision": ..., ...}}."""
    draws = _draw(_PER_CLASS, y, p, groups, seed, n_replicates)
    values = {name: np.asarray(function(y, p)) for name, function in _PER_CLASS.items()}
    if any(len(value) != len(classes) for value in values.values()):
        raise UsageError(
            f"p has {len(values['recall'])} columns; expected one for each of {', '.join(classes)}."
        )
    return {
        label: {
            name: Interval(float(values[name][k]), *_bounds(draws[name][:, k], level)) for name in _PER_CLASS
        }
        for k, label in enumerate(classes)
    }


def paired_difference(
    metric: MetricFunction | Metric,
    y: ArrayLike,
    p_a: ArrayLike,
    p_b: ArrayLike,
    groups: ArrayLike | None = None,
    seed: int = 42,
    *,
    n_replicates: int = N_REPLICATES,
    level: float = 0.95,
) -> Difference:
    """Compare two models on the same items: metric of A minus metric of B, on the same draws.

    Parameters
    ----------
    metric : callable or Metric
        A `Metric` brings its direction; a bare callable is taken as better when higher.
    y : array of int, shape (n_items,)
        True classes.
    p_a, p_b : array, shape (n_items, n_classes)
        Probabilities of the two models.
    groups, seed, n_replicates, level
        As in `bootstrap_interval`.
    """
    function, direction = metric if isinstance(metric, Metric) else (metric, "higher")
    of_a = _draw({"score": function}, y, p_a, groups, seed, n_replicates)["score"]
    of_b = _draw({"score": function}, y, p_b, groups, seed, n_replicates)["score"]
    gap = of_a - of_b
    gain = (gap if direction == "higher" else -gap)[~np.isnan(gap)]
    share = float(np.mean((gain > 0) + 0.5 * (gain == 0))) if gain.size else float("nan")
    return Difference(float(function(y, p_a)) - float(function(y, p_b)), *_bounds(gap, level), share)


def bootstrap_weights(
    groups: ArrayLike, n_replicates: int = N_REPLICATES, seed: int = 42
) -> Iterator[FloatArray]:
    """Yield blocks of draws: how often each item counts when whole groups are drawn with replacement.

    Parameters
    ----------
    groups : array, shape (n_items,)
        Group of each item.
    n_replicates : int
        Number of draws over all blocks.
    seed : int
        Seed of the draws.

    Yields
    ------
    array, shape (n_block, n_items)
        As many groups as there are, drawn with replacement, in each row; nothing with fewer than two groups.
    """
    if n_replicates < 1:
        raise UsageError(f"n_replicates is {n_replicates}; expected at least 1.")
    names, code = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return
    generator = np.random.default_rng(seed)
    share = np.full(len(names), 1 / len(names))
    block = max(1, _BLOCK_WEIGHTS // len(code))
    for start in range(0, n_replicates, block):
        size = min(block, n_replicates - start)
        yield generator.multinomial(len(names), share, size=size).astype(np.float64)[:, code]


def _draw(
    functions: Mapping[str, MetricFunction],
    y: ArrayLike,
    p: ArrayLike,
    groups: ArrayLike | None,
    seed: int,
    n_replicates: int,
) -> dict[str, FloatArray]:
    """Score every draw with every function, shape (n_replicates, ...); no rows with fewer than two groups."""
    classes, probabilities, _ = validate(y, p)
    group_of = np.arange(len(classes)) if groups is None else np.asarray(groups)
    if group_of.shape != classes.shape:
        raise UsageError(
            f"groups have shape {group_of.shape}; expected one for each of the {len(classes)} items."
        )
    blocks = [
        {
            name: np.asarray(function(classes, probabilities, weights=weights))
            for name, function in functions.items()
        }
        for weights in bootstrap_weights(group_of, n_replicates, seed)
    ]
    if not blocks:
        return {
            name: np.empty((0, *np.shape(function(classes, probabilities))))
            for name, function in functions.items()
        }
    return {name: np.concatenate([block[name] for block in blocks]) for name in functions}


def _bounds(draws: FloatArray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise UsageError(f"level is {level}; expected a share between 0 and 1, such as 0.95.")
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


_PER_CLASS: Mapping[str, MetricFunction] = {
    "precision": precision_per_class,
    "recall": recall_per_class,
    "f1": f1_per_class,
}
