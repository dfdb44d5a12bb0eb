"""Permutation importance out of fold: how much the score drops when a feature is scrambled.

For each fold, the fold's own classifier scores the fold's held-out rows with one column permuted among
them; the drop of the metric over all held-out rows, averaged over seeded repeats, is the column's
importance [1]_. Nothing is refitted and no row is scored by a classifier that was trained on it, so the
figure says what the model uses on new items, and a column that only helps to memorise has importance near
0.

Conventions: a positive importance means that scrambling hurts, whichever direction of the metric is better.
Columns that carry the same information share it: each alone may look unimportant. Permuting a whole group
of columns together (``units``) answers that.

References
----------
.. [1] Breiman. Random forests. Machine Learning 45(1), 2001, section 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import UsageError
from earmark.evaluation.metrics import METRICS, Metric

__all__ = ["Importance", "by_group", "permutation_importance"]

_STACKED_VALUES = 20_000_000
"""Values of permuted rows scored in one call, 80 MB of float32: one call per column would spend its time in
calls.
"""


class SupportsPredict(Protocol):
    """A fitted classifier that checks its columns."""

    def predict_proba(self, X: NDArray[Any], columns: Sequence[str]) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Importance:
    """Drop of the metric when ``feature`` is scrambled: mean over repeats and standard deviation of one
    repeat.
    """

    feature: str
    importance: float
    spread: float


def permutation_importance(
    classifiers: Mapping[int, SupportsPredict],
    X: ArrayLike,
    columns: Sequence[str],
    y: ArrayLike,
    folds: ArrayLike,
    *,
    metric: str = "balanced_accuracy",
    n_repeats: int = 10,
    seed: int = 42,
    units: Mapping[str, Sequence[str]] | None = None,
) -> tuple[Importance, ...]:
    """Measure what each column is worth to the classifiers of a cross-validation.

    Parameters
    ----------
    classifiers : mapping of int to classifier
        For each fold number, the classifier that did not see that fold's rows.
    X : array, shape (n_items, n_columns)
        Features.
    columns : sequence of str
        Their names.
    y : array of int, shape (n_items,)
        True classes.
    folds : array of int, shape (n_items,)
        Fold of each item.
    metric : str, default "balanced_accuracy"
        Name of a metric.
    n_repeats : int, default 10
        Permutations per column; the same rows trade places in every column, so columns compare fairly.
    seed : int, default 42
        Seed of the permutations.
    units : mapping of str to sequence of str, optional
        Columns to scramble together under a name; each column by itself when absent.

    Returns
    -------
    tuple of Importance
        Most important first; equal ones in the order of `units`.
    """
    features, classes, fold_of = np.asarray(X, dtype=np.float32), np.asarray(y), np.asarray(folds)
    together = _positions(columns, units)
    _check(classifiers, features, columns, classes, fold_of, metric, n_repeats)
    scored = METRICS[metric]
    generator = np.random.default_rng(seed)
    rows_of = {int(fold): np.flatnonzero(fold_of == fold) for fold in np.unique(fold_of)}
    trades = {fold: [generator.permutation(rows) for _ in range(n_repeats)] for fold, rows in rows_of.items()}
    p = [
        _scrambled(classifiers[fold], features, rows, trades[fold], columns, list(together.values()))
        for fold, rows in rows_of.items()
    ]
    order = np.concatenate(list(rows_of.values()))
    base = _plain(classifiers, features, rows_of, columns)
    drops = _drops(scored, classes[order], base, np.concatenate(p, axis=2))
    rows = [
        Importance(name, float(drop.mean()), float(drop.std()))
        for name, drop in zip(together, drops, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.importance))


def by_group(columns: Sequence[str]) -> dict[str, list[str]]:
    """Collect columns named ``group.column`` by group, in order of appearance: the ``units`` of whole
    groups.
    """
    groups: dict[str, list[str]] = {}
    for name in columns:
        groups.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return groups


def _positions(columns: Sequence[str], units: Mapping[str, Sequence[str]] | None) -> dict[str, list[int]]:
    position = {name: i for i, name in enumerate(columns)}
    wanted = {name: (name,) for name in columns} if units is None else units
    unknown = sorted({name for names in wanted.values() for name in names} - position.keys())
    if unknown:
        raise UsageError(f"There is no column {', '.join(unknown)} among the {len(columns)} given.")
    return {unit: [position[name] for name in names] for unit, names in wanted.items()}


def _check(
    classifiers: Mapping[int, SupportsPredict],
    X: NDArray[Any],
    columns: Sequence[str],
    y: NDArray[Any],
    folds: NDArray[Any],
    metric: str,
    n_repeats: int,
) -> None:
    problems = []
    if X.ndim != 2 or X.shape != (len(y), len(columns)) or folds.shape != y.shape:
        problems.append(
            f"X has shape {X.shape}, y {y.shape}, folds {folds.shape} and {len(columns)} columns are named"
        )
    absent = sorted({int(fold) for fold in np.unique(folds)} - set(classifiers))
    if absent:
        problems.append(f"no classifier is given for folds {absent}")
    if metric not in METRICS:
        problems.append(f"there is no metric `{metric}`, expected one of {', '.join(METRICS)}")
    if n_repeats < 1:
        problems.append(f"n_repeats is {n_repeats}, expected at least 1")
    if problems:
        raise UsageError("Cannot measure importance: " + "; ".join(problems) + ".")


def _scrambled(
    classifier: SupportsPredict,
    X: NDArray[np.float32],
    rows: NDArray[np.intp],
    trades: Sequence[NDArray[np.intp]],
    columns: Sequence[str],
    units: Sequence[Sequence[int]],
) -> NDArray[np.float64]:
    """Probabilities of one fold's rows, shape (n_units, n_repeats, n_rows, n_classes)."""
    per_call = max(1, _STACKED_VALUES // max(1, len(trades) * len(rows) * X.shape[1]))
    parts = []
    for start in range(0, len(units), per_call):
        chunk = units[start : start + per_call]
        stack = np.broadcast_to(X[rows], (len(chunk), len(trades), len(rows), X.shape[1])).copy()
        for u, unit in enumerate(chunk):
            for r, trade in enumerate(trades):
                stack[u, r][:, unit] = X[trade][:, unit]
        p = classifier.predict_proba(stack.reshape(-1, X.shape[1]), columns)
        parts.append(np.asarray(p, dtype=np.float64).reshape(len(chunk), len(trades), len(rows), -1))
    return np.concatenate(parts)


def _plain(
    classifiers: Mapping[int, SupportsPredict],
    X: NDArray[np.float32],
    rows_of: Mapping[int, NDArray[np.intp]],
    columns: Sequence[str],
) -> NDArray[np.float64]:
    return np.concatenate(
        [classifiers[fold].predict_proba(X[rows], columns) for fold, rows in rows_of.items()]
    )


def _drops(
    metric: Metric, y: NDArray[Any], base: NDArray[np.float64], scrambled: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Loss against the plain score, shape (n_units, n_repeats), positive if scrambling hurts."""
    before = float(metric.function(y, base))
    after = np.array([[float(metric.function(y, p)) for p in repeats] for repeats in scrambled])
    return before - after if metric.direction == "higher" else after - before
