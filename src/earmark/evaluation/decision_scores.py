"""Scores of decisions: probabilities that were calibrated, labels that were chosen by cost, and abstention.

The metrics of `earmark.evaluation.metrics` take the most probable class as the prediction. A decision may
choose another, and may choose none. So here

* ``ece``, ``log_loss`` and ``brier`` are of the calibrated probabilities;
* ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``ordinal_cost`` and the recalls are of the chosen labels
  of all rows, decided or not: what the labels are worth if the threshold is ignored;
* ``coverage`` is the share of rows decided, ``accuracy_decided`` the accuracy of these, ``nan`` if there are
  none; ``cost`` the mean cost by the decision's own costs, where it has other than equal ones.

Intervals are those of `earmark.evaluation.intervals`, over groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.evaluation.intervals import (
    Difference,
    Interval,
    bootstrap_interval,
    bootstrap_intervals,
    paired_difference,
    per_class_intervals,
)
from earmark.evaluation.metrics import METRICS, CoverageCurve, Score, ordinal_cost
from earmark.models.decision import Costs, Decided, zero_one_costs
from earmark.training.operating_points import operating_points

__all__ = ["DecisionScores", "coverage_curve_of", "gains", "score_decisions"]

OF_PROBABILITIES = ("ece", "log_loss", "brier")
OF_LABELS = ("accuracy", "balanced_accuracy", "macro_f1", "ordinal_cost")


@dataclass(frozen=True)
class DecisionScores:
    """Scores with intervals: by name, and the recall of each class."""

    metrics: Mapping[str, Interval]
    recall: Mapping[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """``metrics`` and ``recall``, each ``{name: {value, low, high}}``; None for what is undefined."""
        return {
            "metrics": {name: score.to_json() for name, score in self.metrics.items()},
            "recall": {name: score.to_json() for name, score in self.recall.items()},
        }


def score_decisions(
    y: ArrayLike,
    decided: Decided,
    classes: Sequence[str],
    groups: ArrayLike | None = None,
    seed: int = 42,
    *,
    costs: Costs | None = None,
) -> DecisionScores:
    """Score decisions on rows with known classes.

    Parameters
    ----------
    y : array of int, shape (n,)
        True classes.
    decided : Decided
        Of the same rows.
    classes : sequence of str
    groups : array, shape (n,), optional
        What is drawn together for the intervals.
    seed : int, default 42
    costs : tuple of tuple of float, optional
        For ``cost``, the mean cost; left out for equal costs, which the accuracy tells.
    """
    chosen, q = _one_hot(decided, len(classes)), decided.probabilities
    interval = partial(bootstrap_interval, y=y, p=chosen, groups=groups, seed=seed)
    of_q = {name: METRICS[name] for name in OF_PROBABILITIES}
    of_labels = {name: METRICS[name] for name in OF_LABELS}
    metrics = bootstrap_intervals(y, q, groups, seed, metrics=of_q)
    metrics |= bootstrap_intervals(y, chosen, groups, seed, metrics=of_labels)
    if costs is not None and costs != zero_one_costs(len(classes)):
        metrics["cost"] = interval(partial(ordinal_cost, cost=np.asarray(costs)))
    metrics["coverage"] = interval(partial(_share_decided, decided.decided))
    metrics["accuracy_decided"] = interval(partial(_accuracy_decided, decided.decided))
    per_class = per_class_intervals(y, chosen, classes, groups, seed)
    return DecisionScores(metrics, {name: scores["recall"] for name, scores in per_class.items()})


def gains(
    y: ArrayLike, before: Decided, after: Decided, groups: ArrayLike | None = None, seed: int = 42
) -> dict[str, Difference]:
    """After minus before of each metric that both have, on the same draws."""
    n_classes = before.probabilities.shape[1]
    pairs = dict.fromkeys(OF_PROBABILITIES, (after.probabilities, before.probabilities))
    pairs |= dict.fromkeys(OF_LABELS, (_one_hot(after, n_classes), _one_hot(before, n_classes)))
    return {name: paired_difference(METRICS[name], y, a, b, groups, seed) for name, (a, b) in pairs.items()}


def coverage_curve_of(y: ArrayLike, decided: Decided) -> CoverageCurve:
    """Accuracy of the chosen labels against the share of rows kept, as the threshold falls."""
    points = operating_points(decided.labels == np.asarray(y), decided.confidence)
    return CoverageCurve(points.coverage, points.accuracy, points.threshold)


def _one_hot(decided: Decided, n_classes: int) -> NDArray[np.float64]:
    return np.asarray(np.eye(n_classes)[decided.labels])


def _share_decided(
    decided: NDArray[np.bool_], y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None
) -> Score:
    return _ratio(decided, np.ones(len(decided)), weights)


def _accuracy_decided(
    decided: NDArray[np.bool_], y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None
) -> Score:
    return _ratio(decided & (np.asarray(p).argmax(axis=1) == np.asarray(y)), decided, weights)


def _ratio(part: NDArray[Any], whole: NDArray[Any], weights: ArrayLike | None) -> Score:
    w = np.ones(len(part)) if weights is None else np.asarray(weights, dtype=np.float64)
    top, bottom = np.asarray(w @ part.astype(np.float64)), np.asarray(w @ whole.astype(np.float64))
    ratio: NDArray[np.float64] = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return np.float64(ratio) if ratio.ndim == 0 else ratio
