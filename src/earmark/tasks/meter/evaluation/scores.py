"""Scores of meter predictions, as the field counts them.

Conventions: ``y`` positions of the primary classes, shape (n,); ``p`` probabilities, shape (n, n_classes), the largest
is the answer; ``targets`` how well each class describes an item, shape (n, n_classes), above 0 for every annotated one.

==================== =========================================================================================
``accuracy``         share right, with its Wilson interval
``balanced``         mean recall of the classes that occur, with its interval over groups
``binary``           share right among items of class 3 and 4, where any other answer is wrong
``polymetric``       share whose answer is any annotated meter; ``accuracy`` counts the primary one alone
``remapped``         accuracy where an answer outside the set's classes is put inside: 9 becomes 3 where 3 is in it (a
                     bar of three threes), any other answer the likeliest class of the set
``ece``, ``brier``   of the probabilities
==================== =========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.counts import wilson
from earmark.evaluation.intervals import Interval, bootstrap_interval
from earmark.evaluation.metrics import balanced_accuracy, brier, confusion_matrix, coverage_curve, ece

__all__ = ["Counted", "MeterScores", "remapped", "score_meters"]

Ints = NDArray[np.int64]
Floats = NDArray[np.floating[Any]]

COVERAGES = (0.25, 0.5, 0.75, 0.9, 1.0)
"""Shares of items, the most confident first, whose accuracy is shown."""


@dataclass(frozen=True)
class Counted:
    """Right answers of items, and the Wilson interval of their share."""

    n_right: int
    n: int

    @property
    def share(self) -> Interval:
        """Share right; ``nan`` without items."""
        return wilson(self.n_right, self.n)

    def to_json(self) -> dict[str, Any]:
        """``n_right``, ``n``, ``value``, ``low``, ``high``."""
        return {"n_right": self.n_right, "n": self.n, **self.share.to_json()}


@dataclass(frozen=True)
class MeterScores:
    """Scores of one set of items; the module says what each is."""

    classes: tuple[str, ...]
    accuracy: Counted
    balanced: Interval
    per_class: Mapping[str, Counted]
    binary: Counted
    polymetric: Counted
    remapped: Counted
    confusion: Ints
    ece: float
    brier: float
    coverage: Mapping[float, float]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; undefined numbers are None."""
        counted = {
            name: getattr(self, name).to_json() for name in ("accuracy", "binary", "polymetric", "remapped")
        }
        return {
            **counted,
            "balanced_accuracy": self.balanced.to_json(),
            "per_class": {name: one.to_json() for name, one in self.per_class.items()},
            "confusion": {"classes": list(self.classes), "rows": self.confusion.tolist()},
            "ece": _or_none(self.ece),
            "brier": _or_none(self.brier),
            "coverage": {f"{share:g}": _or_none(right) for share, right in self.coverage.items()},
        }


def score_meters(
    y: Ints,
    p: Floats,
    targets: Floats,
    classes: Sequence[str],
    *,
    sets: NDArray[Any] | None = None,
    groups: NDArray[Any] | None = None,
    seed: int = 42,
) -> MeterScores:
    """Score predictions.

    Parameters
    ----------
    y, p, targets : arrays
        See above.
    classes : sequence of str
    sets : array of str, shape (n,), optional
        The data set of each item, whose classes its remapped answer is one of; default: all in one.
    groups : array, shape (n,), optional
        What intervals of the balanced accuracy resample.
    seed : int
    """
    said = p.argmax(axis=1)
    right = said == y
    of_set = np.zeros(len(y), dtype=np.int64) if sets is None else np.unique(sets, return_inverse=True)[1]
    inside = remapped(y, p, of_set, classes)
    curve = coverage_curve(y, p)
    positions = [i for i, name in enumerate(classes) if name in ("3", "4")]
    return MeterScores(
        tuple(classes),
        _counted(right),
        bootstrap_interval(balanced_accuracy, y, p, groups, seed),
        {name: _counted(right[y == i]) for i, name in enumerate(classes) if (y == i).any()},
        _counted(right[np.isin(y, positions)]),
        _counted(targets[np.arange(len(y)), said] > 0),
        _counted(inside.argmax(axis=1) == y),
        confusion_matrix(y, p).astype(np.int64),
        float(ece(y, p)),
        float(brier(y, p)),
        {share: _accuracy_at(curve.coverage, curve.accuracy, share) for share in COVERAGES},
    )


def remapped(y: Ints, p: Floats, of_set: Ints, classes: Sequence[str]) -> NDArray[np.float64]:
    """Probabilities of the classes that occur in each item's set, shape (n, n_classes); rows sum to 1."""
    result = np.zeros(p.shape)
    for code in np.unique(of_set):
        rows = of_set == code
        allowed = np.isin(np.arange(len(classes)), y[rows])
        result[rows] = _inside(np.asarray(p[rows], dtype=np.float64), allowed, list(classes))
    return result


def _inside(p: NDArray[np.float64], allowed: NDArray[np.bool_], classes: list[str]) -> NDArray[np.float64]:
    kept = np.where(allowed, p, 0.0)
    if "9" in classes and "3" in classes:
        nine, three = classes.index("9"), classes.index("3")
        if allowed[three] and not allowed[nine]:
            # All of the nine's probability: it was the largest, so three's becomes it.
            kept[:, three] += np.where(p.argmax(axis=1) == nine, p[:, nine], 0.0)
    total = kept.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, kept / np.maximum(total, 1e-300), allowed / allowed.sum()))


def _counted(right: NDArray[np.bool_]) -> Counted:
    return Counted(int(right.sum()), len(right))


def _accuracy_at(coverage: NDArray[Any], accuracy: NDArray[Any], share: float) -> float:
    """Accuracy at the smallest coverage that reaches `share`."""
    reached = np.flatnonzero(coverage >= share - 1e-12)
    return float(accuracy[reached[0]]) if len(reached) else float("nan")


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
