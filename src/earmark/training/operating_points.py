"""Where to stand on the trade-offs of a classifier: thresholds by coverage or accuracy, boosts by recall.

Each search is exact on the rows it is given. Accuracy and recall change only where a row changes sides, so the
candidates are the rows' own confidences and turning points; nothing is searched on a grid.

Conventions: `scores` are probabilities times boosts, shape (n, k), not normalised; `costs` as in
`earmark.models.decision`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.models.calibration import Doubles
from earmark.models.decision import Costs
from earmark.models.estimator import Ints

__all__ = [
    "MIN_DECIDED",
    "OperatingPoints",
    "Reach",
    "boost_for_recall",
    "operating_points",
    "threshold_for_accuracy",
    "threshold_for_coverage",
]

MIN_DECIDED = 10
"""Decided rows below which their accuracy is not believed when a threshold is chosen by it."""

_BOOST_DECIMALS = 4
_ROUNDING = 1e-9
"""A share is reached if it is short of it by no more than this."""


@dataclass(frozen=True)
class Reach:
    """A value that was looked for, and what it reaches of what was wanted."""

    value: float
    achieved: float
    wanted: float

    @property
    def reached(self) -> bool:
        """Whether it is enough."""
        return self.achieved >= self.wanted - _ROUNDING


@dataclass(frozen=True)
class OperatingPoints:
    """Accuracy against coverage, from the most confident rows to all: one point per distinct confidence.

    ``coverage``, the share of rows decided at ``threshold``, rises strictly; ``n`` counts these rows.
    """

    threshold: Doubles
    coverage: Doubles
    accuracy: Doubles
    n: Ints


def operating_points(correct: npt.ArrayLike, confidence: npt.ArrayLike) -> OperatingPoints:
    """Trace accuracy against coverage as the threshold falls; arrays of shape (n,), empty without rows."""
    right, sure = np.asarray(correct, dtype=np.float64), np.asarray(confidence, dtype=np.float64)
    order = np.argsort(-sure, kind="stable")
    falling = sure[order]
    last = np.flatnonzero(np.diff(falling, append=-np.inf) < 0)
    n = last + 1
    accuracy = np.cumsum(right[order])[last] / n
    return OperatingPoints(falling[last], n / max(len(sure), 1), accuracy, n.astype(np.int64))


def threshold_for_coverage(points: OperatingPoints, coverage: float) -> Reach:
    """The highest threshold that decides at least this share of the rows."""
    at = int(np.searchsorted(points.coverage, coverage - _ROUNDING))
    return Reach(_threshold(points, at), float(points.coverage[at]), coverage)


def threshold_for_accuracy(
    points: OperatingPoints, accuracy: float, *, min_decided: int = MIN_DECIDED
) -> Reach:
    """The lowest threshold at which the decided rows are right often enough; else the one that comes nearest.

    It decides the most rows that it can: accuracy does not always fall with coverage. Thresholds that decide
    fewer than ``min_decided`` rows are left out, unless there are no others.
    """
    believed = points.n >= min(min_decided, int(points.n.max()))
    enough = np.flatnonzero(believed & (points.accuracy >= accuracy - _ROUNDING))
    best = np.flatnonzero(believed & (points.accuracy == points.accuracy[believed].max()))
    at = int(enough[-1] if len(enough) else best[-1])
    return Reach(_threshold(points, at), float(points.accuracy[at]), accuracy)


def boost_for_recall(scores: Doubles, costs: Costs, y: Ints, label: int, recall: float) -> Reach:
    """The least boost, at least 1, at which this share of a class's rows gets its label.

    Parameters
    ----------
    scores : ndarray, shape (n, k)
        Probabilities times the boosts of the other classes.
    costs : tuple of tuple of float
    y : ndarray of int, shape (n,)
    label : int
        The class.
    recall : float

    Returns
    -------
    Reach
        ``value`` has 4 decimals, rounded up; where too many rows cannot be turned it reaches the rest. Nothing
        is wanted of a class without rows.
    """
    needed = np.sort(_turning_boosts(scores[y == label], np.asarray(costs), label))
    if not len(needed):
        return Reach(1.0, recall, recall)
    possible = needed[np.isfinite(needed)]
    n_wanted = min(math.ceil(recall * len(needed) - _ROUNDING), len(possible))
    last = possible[n_wanted - 1] if n_wanted else 0.0
    value = 1.0 if last < 1 - _ROUNDING else _rounded_up(max(float(last), 1.0))
    return Reach(value, float((needed < value).mean()), recall)


def _threshold(points: OperatingPoints, at: int) -> float:
    """0 where all rows are to be decided, so that none of the future is left out; never above 1."""
    return 0.0 if at == len(points.n) - 1 else min(float(points.threshold[at]), 1.0)


def _turning_boosts(scores: Doubles, costs: Doubles, label: int) -> Doubles:
    """The boost of a class above which each row gets its label, shape (n,); infinite where none does.

    With a boost b the class costs A_c + b s_c C_cc, another class j costs A_j + b s_c C_cj, A being what the
    rest of the scores adds. The class wins from b = (A_c - A_j) / (s_c (C_cj - C_cc)), C_cc being 0.
    """
    own, rest = scores[:, [label]], scores.copy()
    rest[:, label] = 0.0
    without = rest @ costs
    excess = without[:, [label]] - without
    slope = own * costs[label]
    needed = np.where(excess > 0, np.inf, 0.0)
    np.divide(excess, slope, out=needed, where=slope > 0)
    rivals = (np.arange(scores.shape[1]) != label) & (scores > 0)
    turning = np.where(rivals, needed, 0.0).max(axis=1, initial=0.0)
    return np.asarray(np.where(own[:, 0] > 0, turning, np.inf))


def _rounded_up(boost: float) -> float:
    """The next number of 4 decimals that is greater: at the turning point itself the costs are only equal."""
    scale = 10**_BOOST_DECIMALS
    return float((math.floor(boost * scale) + 1) / scale)
