"""Scores of a classifier: what each measures, on which convention, and what an undefined score is.

Every metric compares true classes ``y`` with predicted probabilities ``p``:

* ``y``: integers, shape (n_items,): positions in the task's class order (YELLOW 0, GREEN 1, PURPLE 2, say);
* ``p``: shape (n_items, n_classes): rows are probabilities, each row sums to 1;
* the *prediction* is the most probable class, the first of several equals; its probability is the
  *confidence*;
* ``weights``: how often each item counts, shape (n_items,) or (n_replicates, n_items). With two axes one call
  scores every replicate at once, shape (n_replicates,): a bootstrap of 2,000 replicates is one matrix product
  (`earmark.evaluation.intervals`). A weight of 2 is exactly the item repeated; a weight of 0, the item left
  out.

Decided cases. A ratio 0/0 is undefined and is ``nan``; a mean over classes leaves undefined classes out:

* nothing to score (no items, or all weights 0): every metric is ``nan``;
* one class in ``y``: balanced accuracy is that class's recall; macro F1 averages the classes that are true or
  predicted somewhere; quadratic kappa is ``nan`` if truth and prediction are the same single class;
* truth or prediction of one class only: Matthews correlation is ``nan``, nothing varies together;
* a class never predicted: its precision is ``nan``, its F1 is 0 as long as it has items;
* a class without items: its recall is ``nan``.

Metrics
-------
====================== ========= ===========================================================================
name                   direction what it measures
====================== ========= ===========================================================================
``accuracy``           higher    share of items predicted right
``balanced_accuracy``  higher    mean recall of the classes: chance is 1/n_classes whatever their shares [1]
``macro_f1``           higher    mean F1 of the classes
``macro_precision``    higher    mean precision of the classes that are predicted; mean recall is
                                 ``balanced_accuracy``
``weighted_f1``        higher    mean F1 of the classes, weighted by how many items each has
``mcc``                higher    Matthews correlation of truth and prediction, -1 to 1; chance is 0 [6]
``quadratic_kappa``    higher    agreement beyond chance of ordered classes, squared distances [2]
``ordinal_cost``       lower     mean cost of the errors; by default the distance in class order
``log_loss``           lower     mean negative natural logarithm of the truth's probability, nats
``brier``              lower     mean squared distance of the probabilities from the truth, 0 to 2 [3]
``ece``                lower     expected calibration error: gap of confidence and accuracy in bins [4]
``selective_accuracy`` higher    mean accuracy over all coverages: 1 - area under risk-coverage [5]
====================== ========= ===========================================================================

References
----------
.. [1] Brodersen, Ong, Stephan, Buhmann. The balanced accuracy and its posterior distribution. ICPR 2010.
.. [2] Cohen. Weighted kappa. Psychological Bulletin 70(4), 1968.
.. [3] Brier. Verification of forecasts expressed in terms of probability. Monthly Weather Review 78(1), 1950.
.. [4] Guo, Pleiss, Sun, Weinberger. On calibration of modern neural networks. ICML 2017.
.. [5] Geifman, El-Yaniv. Selective classification for deep neural networks. NeurIPS 2017.
.. [6] Gorodkin. Comparing two K-category assignments by a K-category correlation coefficient. Computational Biology
   and Chemistry 28, 2004.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import UsageError

__all__ = [
    "METRICS",
    "PROBABILITY_METRICS",
    "CoverageCurve",
    "Metric",
    "MetricFunction",
    "ReliabilityBins",
    "accuracy",
    "balanced_accuracy",
    "brier",
    "confusion_matrix",
    "coverage_curve",
    "ece",
    "evaluate_all",
    "f1_per_class",
    "log_loss",
    "macro_f1",
    "macro_precision",
    "mcc",
    "ordinal_cost",
    "precision_per_class",
    "quadratic_kappa",
    "recall_per_class",
    "reliability_bins",
    "selective_accuracy",
    "validate",
    "weighted_f1",
]

FloatArray = NDArray[np.float64]
Score = np.float64 | FloatArray

ECE_BINS = 10
"""Bins of equal width; 10 rather than the 15 of [4], whose test sets are a hundred times larger."""

_ROW_SUM_TOLERANCE = 1e-3
"""How far a row of probabilities may be from 1: float32 softmax over many classes strays by about 1e-6."""


class MetricFunction(Protocol):
    """A score of probabilities against classes that takes item weights."""

    def __call__(self, y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score: ...


class Metric(NamedTuple):
    """A metric and which way is better."""

    function: MetricFunction
    direction: Literal["higher", "lower"]


def validate(
    y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None
) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Check classes, probabilities and weights, and return them as arrays.

    Parameters
    ----------
    y : array of int, shape (n_items,)
        True classes, 0 to n_classes - 1.
    p : array of float, shape (n_items, n_classes)
        Probabilities, finite, in [0, 1], each row summing to 1 within 1e-3.
    weights : array of float, shape (n_items,) or (n_replicates, n_items), optional
        How often each item counts, finite and not negative; 1 each when absent.

    Returns
    -------
    y, p, weights : arrays
        Integer and float64 arrays of the shapes above.

    Raises
    ------
    UsageError
        If a shape, type or range is wrong; all problems found are named together.
    """
    classes, probabilities = np.asarray(y), np.asarray(p, dtype=np.float64)
    problems = _shape_problems(classes, probabilities)
    item_weights = np.ones(classes.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    if not problems:
        problems = _value_problems(classes, probabilities) + _weight_problems(item_weights, len(classes))
    if problems:
        raise UsageError("Cannot score: " + "; ".join(problems) + ".")
    return classes.astype(np.intp), probabilities, item_weights


def _shape_problems(y: NDArray[Any], p: FloatArray) -> list[str]:
    problems = []
    if y.ndim != 1:
        problems.append(f"y has shape {y.shape}, expected (n_items,)")
    if y.size and not np.issubdtype(y.dtype, np.integer):
        problems.append(f"y has type {y.dtype}, expected integer positions in the class order")
    if p.ndim != 2:
        problems.append(f"p has shape {p.shape}, expected (n_items, n_classes)")
    if not problems and len(y) != len(p):
        problems.append(f"y has {len(y)} items and p has {len(p)} rows, expected as many")
    return problems


def _value_problems(y: NDArray[Any], p: FloatArray) -> list[str]:
    problems = []
    if y.size and not (y.min() >= 0 and y.max() < p.shape[1]):
        problems.append(f"y runs from {y.min()} to {y.max()}, expected 0 to {p.shape[1] - 1}")
    if not np.isfinite(p).all():
        problems.append(f"p holds {np.count_nonzero(~np.isfinite(p))} values that are not finite")
    elif p.size and not (p.min() >= 0 and p.max() <= 1 + _ROW_SUM_TOLERANCE):
        problems.append(f"p runs from {p.min():g} to {p.max():g}, expected 0 to 1")
    elif p.size and np.abs(p.sum(axis=1) - 1).max() > _ROW_SUM_TOLERANCE:
        row = int(np.abs(p.sum(axis=1) - 1).argmax())
        problems.append(f"row {row} of p sums to {p[row].sum():g}, expected 1")
    return problems


def _weight_problems(weights: FloatArray, n_items: int) -> list[str]:
    if weights.ndim not in (1, 2) or weights.shape[-1] != n_items:
        return [f"weights have shape {weights.shape}, expected ({n_items},) or (n_replicates, {n_items})"]
    if weights.size and not (np.isfinite(weights).all() and weights.min() >= 0):
        return ["weights must be finite and not negative"]
    return []


def confusion_matrix(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> FloatArray:
    """Count items by true and predicted class.

    Returns
    -------
    array, shape (n_classes, n_classes) or (n_replicates, n_classes, n_classes)
        Rows are true classes, columns predictions. All zero without items.
    """
    classes, probabilities, item_weights = validate(y, p, weights)
    n_classes = probabilities.shape[1]
    cell = classes * n_classes + _prediction(probabilities)
    counts = item_weights @ np.eye(n_classes * n_classes)[cell]
    return np.asarray(counts.reshape(*item_weights.shape[:-1], n_classes, n_classes))


def accuracy(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Share of items predicted right, 0 to 1; ``nan`` without items."""
    matrix = confusion_matrix(y, p, weights=weights)
    return _ratio(matrix.trace(axis1=-2, axis2=-1), matrix.sum(axis=(-2, -1)))


def recall_per_class(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> FloatArray:
    """Share of each true class that is found, shape (..., n_classes); ``nan`` for a class without items."""
    matrix = confusion_matrix(y, p, weights=weights)
    return np.asarray(_ratio(_diagonal(matrix), matrix.sum(axis=-1)))


def precision_per_class(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> FloatArray:
    """Share of each predicted class that is right, shape (..., n_classes); ``nan`` if never predicted."""
    matrix = confusion_matrix(y, p, weights=weights)
    return np.asarray(_ratio(_diagonal(matrix), matrix.sum(axis=-2)))


def f1_per_class(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> FloatArray:
    """Harmonic mean of precision and recall, shape (..., n_classes); ``nan`` without truth or prediction."""
    return _f1(confusion_matrix(y, p, weights=weights))


def balanced_accuracy(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Mean recall of the classes that have items, 0 to 1 [1]; ``nan`` without items."""
    return _mean_defined(recall_per_class(y, p, weights=weights))


def macro_f1(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Mean F1 of the classes that are true or predicted somewhere, 0 to 1; ``nan`` without items."""
    return _mean_defined(f1_per_class(y, p, weights=weights))


def macro_precision(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Mean precision of the classes that are predicted somewhere, 0 to 1; ``nan`` without items."""
    return _mean_defined(precision_per_class(y, p, weights=weights))


def mcc(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Matthews correlation of truth and prediction over the classes, -1 to 1 [6].

    ``nan`` without items, and where truth or prediction is one class only.
    """
    matrix = confusion_matrix(y, p, weights=weights)
    total = matrix.sum(axis=(-2, -1))
    true, said = matrix.sum(axis=-1), matrix.sum(axis=-2)
    covariance = _diagonal(matrix).sum(axis=-1) * total - (true * said).sum(axis=-1)
    spread = (total**2 - (true**2).sum(axis=-1)) * (total**2 - (said**2).sum(axis=-1))
    return _ratio(covariance, np.sqrt(np.maximum(spread, 0)))


def weighted_f1(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Mean F1 of the classes weighted by their number of items, 0 to 1; ``nan`` without items."""
    matrix = confusion_matrix(y, p, weights=weights)
    support = matrix.sum(axis=-1)
    return _ratio((support * np.nan_to_num(_f1(matrix))).sum(axis=-1), support.sum(axis=-1))


def quadratic_kappa(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Agreement beyond chance with squared distances in class order, -1 to 1 [2].

    ``nan`` without items, and where truth and prediction are one and the same class: chance agrees fully
    there.
    """
    matrix = confusion_matrix(y, p, weights=weights)
    distance = np.square(_class_distance(matrix.shape[-1]))
    total = matrix.sum(axis=(-2, -1))
    by_chance = matrix.sum(axis=-1)[..., :, None] * matrix.sum(axis=-2)[..., None, :]
    observed = (distance * matrix).sum(axis=(-2, -1)) * total
    return _score(1 - np.asarray(_ratio(observed, (distance * by_chance).sum(axis=(-2, -1)))))


def ordinal_cost(
    y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None, cost: ArrayLike | None = None
) -> Score:
    """Mean cost of the predictions; ``nan`` without items.

    Parameters
    ----------
    cost : array, shape (n_classes, n_classes), optional
        Cost of predicting the column's class where the row's is true, not negative. The default is the
        distance in class order: 1 for neighbours, 2 between the ends of three ordered classes.
    """
    matrix = confusion_matrix(y, p, weights=weights)
    n_classes = matrix.shape[-1]
    table = _class_distance(n_classes) if cost is None else np.asarray(cost, dtype=np.float64)
    if table.shape != (n_classes, n_classes) or not np.isfinite(table).all() or (table < 0).any():
        raise UsageError(
            f"The cost matrix has shape {table.shape}; expected ({n_classes}, {n_classes}), "
            "of finite values, none negative."
        )
    return _ratio((table * matrix).sum(axis=(-2, -1)), matrix.sum(axis=(-2, -1)))


def log_loss(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Mean negative natural logarithm of the true class's probability, nats; ``nan`` without items.

    Probabilities are kept above the float64 epsilon, so one impossible item costs 36 nats and not infinity.
    """
    classes, probabilities, item_weights = validate(y, p, weights)
    of_truth = probabilities[np.arange(len(classes)), classes]
    return _weighted_mean(-np.log(np.clip(of_truth, np.finfo(np.float64).eps, 1.0)), item_weights)


def brier(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Mean over items of the squared distance of probabilities from truth over the classes, 0 to 2 [3]."""
    classes, probabilities, item_weights = validate(y, p, weights)
    truth = np.eye(probabilities.shape[1])[classes]
    return _weighted_mean(np.square(probabilities - truth).sum(axis=1), item_weights)


def ece(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None, n_bins: int = ECE_BINS) -> Score:
    """Mean gap between confidence and accuracy in bins of confidence, 0 to 1 [4]; ``nan`` without items."""
    classes, probabilities, item_weights = validate(y, p, weights)
    correct = (_prediction(probabilities) == classes).astype(np.float64)
    gap = _in_bins(probabilities, n_bins) * (correct - _confidence(probabilities))[:, None]
    return _ratio(np.abs(item_weights @ gap).sum(axis=-1), item_weights.sum(axis=-1))


def selective_accuracy(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Mean over items of the accuracy among items at least as confident, 0 to 1 [5]; ``nan`` without items.

    High if the confident predictions are the right ones: what a user gains who lets the model abstain.
    """
    classes, probabilities, item_weights = validate(y, p, weights)
    order, tie_end = _by_confidence(probabilities)
    correct = (_prediction(probabilities) == classes)[order]
    kept = item_weights[..., order]
    right_so_far, so_far = np.cumsum(kept * correct, axis=-1), np.cumsum(kept, axis=-1)
    at_item = np.asarray(_ratio(right_so_far[..., tie_end], so_far[..., tie_end]))
    return _ratio((kept * np.nan_to_num(at_item)).sum(axis=-1), kept.sum(axis=-1))


@dataclass(frozen=True)
class CoverageCurve:
    """Accuracy against coverage: one point per distinct confidence, from the most confident items to all.

    ``coverage`` is the share of items kept at ``threshold`` (confidence at least that), ``accuracy`` the
    share of those predicted right; arrays of shape (n_thresholds,), empty without items.
    """

    coverage: FloatArray
    accuracy: FloatArray
    threshold: FloatArray


def coverage_curve(y: ArrayLike, p: ArrayLike) -> CoverageCurve:
    """Trace accuracy against coverage as the confidence threshold falls."""
    classes, probabilities, _ = validate(y, p)
    order, tie_end = _by_confidence(probabilities)
    last = np.unique(tie_end)
    kept = last + 1.0
    right = np.cumsum((_prediction(probabilities) == classes)[order])[last]
    threshold = _confidence(probabilities)[order][last]
    return CoverageCurve(kept / max(len(classes), 1), right / kept, threshold)


@dataclass(frozen=True)
class ReliabilityBins:
    """Confidence and accuracy in bins of equal width: ``edges`` (n_bins + 1,), the others (n_bins,).

    ``confidence`` and ``accuracy`` are means over the bin's items, ``nan`` in an empty bin.
    """

    edges: FloatArray
    count: NDArray[np.int64]
    confidence: FloatArray
    accuracy: FloatArray


def reliability_bins(y: ArrayLike, p: ArrayLike, *, n_bins: int = ECE_BINS) -> ReliabilityBins:
    """Sort items into bins of confidence [4]; bins are closed below, the last one also above."""
    classes, probabilities, _ = validate(y, p)
    members = _in_bins(probabilities, n_bins)
    count = members.sum(axis=0)
    confidence = np.asarray(_ratio(_confidence(probabilities) @ members, count))
    right = (_prediction(probabilities) == classes).astype(np.float64) @ members
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    return ReliabilityBins(edges, count.astype(np.int64), confidence, np.asarray(_ratio(right, count)))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "accuracy": Metric(accuracy, "higher"),
        "balanced_accuracy": Metric(balanced_accuracy, "higher"),
        "macro_f1": Metric(macro_f1, "higher"),
        "weighted_f1": Metric(weighted_f1, "higher"),
        "macro_precision": Metric(macro_precision, "higher"),
        "mcc": Metric(mcc, "higher"),
        "quadratic_kappa": Metric(quadratic_kappa, "higher"),
        "ordinal_cost": Metric(ordinal_cost, "lower"),
        "log_loss": Metric(log_loss, "lower"),
        "brier": Metric(brier, "lower"),
        "ece": Metric(ece, "lower"),
        "selective_accuracy": Metric(selective_accuracy, "higher"),
    }
)
"""Every scalar metric by name, with the direction in which it is better."""

PROBABILITY_METRICS = frozenset({"log_loss", "brier", "ece", "selective_accuracy"})
"""Metrics that say something only of a model with graded probabilities, not of a rule that answers 0 or 1."""


def evaluate_all(y: ArrayLike, p: ArrayLike, classes: Sequence[str]) -> dict[str, Any]:
    """Score one set of predictions with every metric.

    Parameters
    ----------
    y : array of int, shape (n_items,)
        True classes.
    p : array, shape (n_items, n_classes)
        Probabilities.
    classes : sequence of str
        Class names in order.

    Returns
    -------
    dict
        ``n``; ``metrics`` {name: float}; ``per_class`` {class: {precision, recall, f1, support}};
        ``confusion``, nested lists of counts, rows true and columns predicted. Undefined scores are ``nan``.
    """
    matrix = confusion_matrix(y, p)
    if matrix.shape[0] != len(classes):
        raise UsageError(f"p has {matrix.shape[0]} columns; expected one for each of {', '.join(classes)}.")
    scores = zip(precision_per_class(y, p), recall_per_class(y, p), f1_per_class(y, p), strict=True)
    return {
        "n": int(matrix.sum()),
        "metrics": {name: float(metric.function(y, p)) for name, metric in METRICS.items()},
        "per_class": {
            name: dict(zip(("precision", "recall", "f1"), map(float, row), strict=True))
            | {"support": int(support)}
            for name, row, support in zip(classes, scores, matrix.sum(axis=1), strict=True)
        },
        "confusion": matrix.astype(int).tolist(),
    }


def _prediction(p: FloatArray) -> NDArray[np.intp]:
    return p.argmax(axis=1) if p.size else np.zeros(len(p), dtype=np.intp)


def _confidence(p: FloatArray) -> FloatArray:
    return np.asarray(p.max(axis=1)) if p.size else np.zeros(len(p))


def _by_confidence(p: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Order items by falling confidence; for each position, the last position with the same confidence."""
    order = np.argsort(-_confidence(p), kind="stable")
    falling = -_confidence(p)[order]
    return order, np.searchsorted(falling, falling, side="right") - 1


def _in_bins(p: FloatArray, n_bins: int) -> FloatArray:
    if n_bins < 1:
        raise UsageError(f"n_bins is {n_bins}; expected at least 1.")
    position = np.minimum((_confidence(p) * n_bins).astype(np.intp), n_bins - 1)
    return np.asarray(np.eye(n_bins)[position])


def _class_distance(n_classes: int) -> FloatArray:
    position = np.arange(n_classes, dtype=np.float64)
    return np.abs(position[:, None] - position[None, :])


def _diagonal(matrix: FloatArray) -> FloatArray:
    return np.asarray(np.diagonal(matrix, axis1=-2, axis2=-1))


def _f1(matrix: FloatArray) -> FloatArray:
    return np.asarray(_ratio(2 * _diagonal(matrix), matrix.sum(axis=-1) + matrix.sum(axis=-2)))


def _ratio(numerator: ArrayLike, denominator: ArrayLike) -> Score:
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    return _score(np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0))


def _weighted_mean(values: FloatArray, weights: FloatArray) -> Score:
    return _ratio(weights @ values, weights.sum(axis=-1))


def _mean_defined(values: FloatArray) -> Score:
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def _score(values: FloatArray) -> Score:
    return values[()] if values.ndim == 0 else values
