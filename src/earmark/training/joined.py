"""Finished runs joined to one: the weighted mean of what their whole classifiers say, each with its own columns.

Unlike the members of an `ensemble`, which share rows and preprocessing and are trained together, these may be of
different algorithms, features and scalings. Weights are 0 to 1, one per member or one per member and class, and are
chosen on out-of-fold probabilities as in `earmark.training.blend`: for the score of a fold on the rows of the others.

A joined classifier is a folder with ``joined.json`` and ``members/<i>/``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from earmark.errors import RunError, SchemaError, UsageError
from earmark.models.classifier import Classifier
from earmark.models.estimator import Floats, Ints
from earmark.training.ranking import Direction

__all__ = ["KINDS", "JoinedClassifier", "Weighing", "load_classifier", "mixed", "weigh"]

Doubles = npt.NDArray[np.float64]

FILE = "joined.json"
FORMAT = 1
KINDS = ("equal", "global", "per-class")
"""Of weights: the plain mean, one per member, one per member and class."""

STEPS = {2: 20, 3: 10, 4: 5}
"""Members -> steps from 0 to 1 that are tried."""

_ROUNDS = 3
"""Passes over the classes."""


@dataclass(frozen=True)
class JoinedClassifier:
    """Members and their weights, shape (n_members, n_classes); offers what a `Classifier` does to who asks it."""

    members: tuple[Classifier, ...]
    weights: Doubles

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the members, which agree."""
        return self.members[0].classes

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of all members, once each."""
        return tuple(dict.fromkeys(name for member in self.members for name in member.columns))

    def predict_proba(self, X: Floats, columns: Sequence[str]) -> Floats:
        """Probabilities, float32, shape (n, n_classes); `columns` may hold more than the members' in any order."""
        own = [member.predict_proba(X[:, member.align(columns)], member.columns) for member in self.members]
        return mixed(own, self.weights).astype(np.float32)

    def align(self, columns: Sequence[str]) -> Ints:
        """Index into `columns` that selects `self.columns` in their order; raises SchemaError where one is missing."""
        position = {name: i for i, name in enumerate(columns)}
        missing = [name for name in self.columns if name not in position]
        if missing:
            raise SchemaError(
                f"{len(missing)} of {len(self.columns)} columns are missing, such as {missing[0]}. Extract the feature "
                "set that the run names."
            )
        return np.array([position[name] for name in self.columns], dtype=np.int64)

    def save(self, folder: str | Path) -> None:
        """Write the members, then what joins them."""
        path = Path(folder)
        for number, member in enumerate(self.members):
            member.save(path / "members" / str(number))
        record = {"format": FORMAT, "classes": self.classes, "weights": self.weights.tolist()}
        (path / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; raises RunError if it is damaged."""
        path = Path(folder)
        try:
            weights = np.array(
                json.loads((path / FILE).read_text(encoding="utf-8"))["weights"], dtype=np.float64
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"`{path}` holds no readable joined model ({error}). Join the runs again."
            ) from error
        return cls(tuple(Classifier.load(path / "members" / str(i)) for i in range(len(weights))), weights)


def load_classifier(folder: str | Path) -> Classifier | JoinedClassifier:
    """The classifier in a folder, of either kind."""
    joined = (Path(folder) / FILE).is_file()
    return JoinedClassifier.load(folder) if joined else Classifier.load(folder)


def mixed(members: Sequence[npt.NDArray[Any]] | npt.NDArray[Any], weights: Doubles) -> Doubles:
    """Weighted sum of probabilities, rows scaled to sum 1; the plain mean where the weights leave nothing.

    Parameters
    ----------
    members : sequence of ndarray, shape (n, n_classes), or one array of them
    weights : ndarray, shape (n_members, n_classes)
    """
    total = np.einsum("mnk,mk->nk", np.asarray(members, dtype=np.float64), weights)
    rows = total.sum(axis=1, keepdims=True)
    plain = np.mean(members, axis=0, dtype=np.float64)
    return np.where(rows > 0, total / np.where(rows > 0, rows, 1), plain)


@dataclass(frozen=True)
class Weighing:
    """Weights of a kind: of all rows, per fold without its rows, and every row mixed with the weights of its fold."""

    kind: str
    weights: Doubles
    fold_weights: Mapping[int, Doubles]
    probabilities: Doubles


def weigh(
    members: Sequence[Floats],
    y: Ints,
    fold: Ints,
    function: Callable[..., Any],
    direction: Direction,
    kind: str = "global",
) -> Weighing:
    """Choose weights by a metric on out-of-fold probabilities.

    Parameters
    ----------
    members : sequence of ndarray, shape (n, n_classes)
        Out-of-fold probabilities on the same folds.
    y, fold : ndarray of int, shape (n,)
    function, direction : callable, {"higher", "lower"}
        ``function(y, probabilities)``.
    kind : str
        One of `KINDS`. Among equal scores the weights nearest to equal ones win.
    """
    if kind not in KINDS or len(members) not in STEPS:
        raise UsageError(
            f"{len(members)} runs with weights {kind!r}; expected {min(STEPS)} to {max(STEPS)} runs and weights out of "
            f"{', '.join(KINDS)}."
        )
    stacked, sign = np.asarray(members, dtype=np.float64), 1.0 if direction == "higher" else -1.0

    def choose(rows: npt.NDArray[np.bool_]) -> Doubles:
        def score(weights: Doubles) -> float:
            return sign * float(function(y[rows], mixed(stacked[:, rows], weights)))

        return _chosen(len(members), stacked.shape[2], kind, score)

    folds = {int(name): choose(fold != name) for name in np.unique(fold)}
    p = np.zeros(stacked.shape[1:])
    for name, weights in folds.items():
        p[fold == name] = mixed(stacked[:, fold == name], weights)
    return Weighing(kind, choose(np.ones(len(y), dtype=bool)), folds, p)


def _chosen(n_members: int, n_classes: int, kind: str, score: Callable[[Doubles], float]) -> Doubles:
    best = np.full((n_members, n_classes), 1 / n_members)
    if kind == "equal":
        return best
    tried = sorted(_simplex(n_members), key=lambda w: float(((w - 1 / n_members) ** 2).sum()))
    found = score(best)
    for weights in tried:
        candidate = np.repeat(weights[:, None], n_classes, axis=1)
        found, best = _better(score(candidate), candidate, found, best)
    for _ in range(_ROUNDS if kind == "per-class" else 0):
        before = found
        for label, weights in itertools.product(range(n_classes), tried):
            candidate = best.copy()
            candidate[:, label] = weights
            found, best = _better(score(candidate), candidate, found, best)
        if found == before:
            break
    return best


def _better(score: float, candidate: Doubles, found: float, best: Doubles) -> tuple[float, Doubles]:
    return (score, candidate) if score > found else (found, best)


def _simplex(n_members: int) -> Iterator[Doubles]:
    """All weights in equal steps from 0 to 1 that sum to 1."""
    steps = STEPS[n_members]
    for head in itertools.product(range(steps + 1), repeat=n_members - 1):
        if sum(head) <= steps:
            yield np.array([*head, steps - sum(head)]) / steps
