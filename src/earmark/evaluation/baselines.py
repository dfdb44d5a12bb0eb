"""What a model must beat on the same items and folds: the majority, the class shares, a rule, another model.

A score alone says little: 60 % accuracy is good on three equal classes and poor where one class holds 60 %.
Each baseline here gives probabilities for the very items the model was scored on, and knows of the labels
only what the model knew: per fold, the labels of the other folds.

A baseline is *graded* if its probabilities mean something (class shares, another model) and not graded if
it only answers (a rule, the majority). Scores of probabilities such as log loss are left out for the
latter.

Conventions: ``y`` integer class positions, shape (n_items,); ``folds`` integers, shape (n_items,);
probabilities float64, shape (n_items, n_classes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import SchemaError, UsageError
from earmark.evaluation.intervals import Difference, Interval, bootstrap_intervals, paired_difference
from earmark.evaluation.metrics import METRICS, PROBABILITY_METRICS, Metric

__all__ = [
    "Baseline",
    "ComparisonRow",
    "compare",
    "majority",
    "majority_of",
    "model",
    "prior",
    "prior_of",
    "rule",
]

FloatArray = NDArray[np.float64]
Columns = Mapping[str, NDArray[np.floating]]

_MAJORITY = "always the most frequent class of the training part"
_PRIOR = "class shares of the training part as probabilities"


@dataclass(frozen=True)
class Baseline:
    """Predictions to stand beside the model's.

    Parameters
    ----------
    name : str
        As shown in tables.
    probabilities : array, shape (n_items, n_classes)
        For the same items in the same order as the model's.
    graded : bool
        Whether the probabilities mean more than an answer.
    description : str
        One line for readers.
    """

    name: str
    probabilities: FloatArray
    graded: bool = True
    description: str = ""


@dataclass(frozen=True)
class ComparisonRow:
    """One line of the comparison.

    ``metrics`` holds what applies to it; ``behind`` is the model's headline score minus this one's, on the
    same draws, and None in the model's own row.
    """

    name: str
    description: str
    metrics: Mapping[str, Interval]
    behind: Difference | None = None


def majority(y: ArrayLike, folds: ArrayLike, n_classes: int) -> Baseline:
    """Answer the most frequent class of the other folds; of several equals, the first."""
    shares = _shares_of_other_folds(y, folds, n_classes)
    answers = np.eye(n_classes)[shares.argmax(axis=1)]
    return Baseline("majority", answers, graded=False, description=_MAJORITY)


def prior(y: ArrayLike, folds: ArrayLike, n_classes: int) -> Baseline:
    """Give every item the class shares of the other folds as its probabilities."""
    shares = _shares_of_other_folds(y, folds, n_classes)
    return Baseline("prior", shares, description=_PRIOR)


def majority_of(training_y: ArrayLike, n_items: int, n_classes: int) -> Baseline:
    """Answer the most frequent class of the training labels, for a test set of ``n_items``."""
    shares = _shares(training_y, n_classes)
    answers = np.tile(np.eye(n_classes)[shares.argmax()], (n_items, 1))
    return Baseline("majority", answers, graded=False, description=_MAJORITY)


def prior_of(training_y: ArrayLike, n_items: int, n_classes: int) -> Baseline:
    """Give every item of a test set the class shares of the training labels."""
    return Baseline("prior", np.tile(_shares(training_y, n_classes), (n_items, 1)), description=_PRIOR)


def rule(
    name: str,
    answer: Callable[[Columns], ArrayLike],
    columns: Columns,
    n_classes: int,
    *,
    description: str = "",
) -> Baseline:
    """Turn a fixed rule on feature columns into a baseline.

    Parameters
    ----------
    name : str
        As shown in tables.
    answer : callable
        Takes ``{column: array (n_items,)}``, returns class positions, shape (n_items,).
    columns : mapping
        Feature columns of the scored items.
    n_classes : int
        Number of classes.

    Raises
    ------
    SchemaError
        If the rule asks for a column that is not there.
    UsageError
        If the rule answers something else than one class position per item.
    """
    try:
        positions = np.asarray(answer(columns))
    except KeyError as missing:
        raise SchemaError(
            f"The rule `{name}` needs the column {missing}, which is not among the {len(columns)} given. "
            "Extract the feature set that holds it."
        ) from missing
    n_items = len(next(iter(columns.values()), ()))
    if positions.shape != (n_items,) or not np.isin(positions, np.arange(n_classes)).all():
        raise UsageError(
            f"The rule `{name}` answered {positions.shape} values; expected {n_items} class positions, "
            f"each 0 to {n_classes - 1}."
        )
    return Baseline(name, np.eye(n_classes)[positions.astype(np.intp)], graded=False, description=description)


def model(name: str, probabilities: ArrayLike, *, description: str = "") -> Baseline:
    """Take another model's out-of-fold probabilities as a baseline."""
    return Baseline(name, np.asarray(probabilities, dtype=np.float64), description=description)


def compare(
    probabilities: ArrayLike,
    baselines: Sequence[Baseline],
    y: ArrayLike,
    groups: ArrayLike | None = None,
    seed: int = 42,
    *,
    name: str = "model",
    headline: str = "balanced_accuracy",
    metrics: Mapping[str, Metric] = METRICS,
) -> tuple[ComparisonRow, ...]:
    """Score the model and its baselines on the same items and draws.

    Parameters
    ----------
    probabilities : array, shape (n_items, n_classes)
        The model's out-of-fold or test probabilities.
    baselines : sequence of Baseline
        Their rows follow the model's, in this order.
    y, groups, seed
        As in `earmark.evaluation.intervals.bootstrap_interval`.
    name : str
        The model's name in the first row.
    headline : str
        Metric on which each baseline is compared with the model, draw by draw.
    metrics : mapping
        Metrics to show.
    """
    if headline not in METRICS:
        raise UsageError(f"There is no metric `{headline}`; expected one of {', '.join(METRICS)}.")
    own = ComparisonRow(name, "", bootstrap_intervals(y, probabilities, groups, seed, metrics=metrics))
    return (own, *(_row(one, probabilities, y, groups, seed, headline, metrics) for one in baselines))


def _row(
    baseline: Baseline,
    probabilities: ArrayLike,
    y: ArrayLike,
    groups: ArrayLike | None,
    seed: int,
    headline: str,
    metrics: Mapping[str, Metric],
) -> ComparisonRow:
    other = baseline.probabilities
    apply = {
        key: metric for key, metric in metrics.items() if baseline.graded or key not in PROBABILITY_METRICS
    }
    return ComparisonRow(
        baseline.name,
        baseline.description,
        bootstrap_intervals(y, other, groups, seed, metrics=apply),
        paired_difference(METRICS[headline], y, probabilities, other, groups, seed),
    )


def _shares(y: ArrayLike, n_classes: int) -> FloatArray:
    counts = np.bincount(np.asarray(y, dtype=np.intp), minlength=n_classes).astype(np.float64)
    if not counts.sum():
        raise UsageError("There are no training labels; a baseline of class shares needs at least one.")
    return np.asarray(counts / counts.sum())


def _shares_of_other_folds(y: ArrayLike, folds: ArrayLike, n_classes: int) -> FloatArray:
    classes, fold_of = np.asarray(y), np.asarray(folds)
    if classes.shape != fold_of.shape:
        raise UsageError(f"y has {classes.shape} and folds {fold_of.shape}; expected a fold for each item.")
    names, code = np.unique(fold_of, return_inverse=True)
    if len(names) == 1:
        raise UsageError(
            f"All {len(classes)} items are in fold {names[0]}; expected at least two folds. "
            "To score a test set, give the training labels to `majority_of` or `prior_of`."
        )
    per_fold = np.zeros((len(names), n_classes))
    np.add.at(per_fold, (code, classes.astype(np.intp)), 1.0)
    others = per_fold.sum(axis=0) - per_fold
    return np.asarray((others / others.sum(axis=1, keepdims=True))[code])
