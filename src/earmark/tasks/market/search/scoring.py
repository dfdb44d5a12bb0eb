"""How a trial is scored, and when a group has been searched enough.

All scores are of the validation windows, and higher is better. A model whose predictions are nearly all of one class
has found the prior and nothing else; its score is cut, so that the search does not follow it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError
from earmark.models.constraints import closest
from earmark.models.sequence.monitor import collapse_grade, macro_f1

if TYPE_CHECKING:
    from earmark.models.estimator import Epoch

__all__ = [
    "COLLAPSE_FACTORS",
    "METRICS",
    "check_metric",
    "epoch_score",
    "has_converged",
    "objective",
    "penalised",
    "scores_of",
]

METRICS = ("val_f1", "val_accuracy", "val_mcc", "val_loss")
"""Macro-F1, accuracy, Matthews correlation, and log loss (its negative is the score)."""

COLLAPSE_FACTORS: Mapping[str, float] = {"total": 0.1, "severe": 0.3, "mild": 0.6}
"""What remains of a score, by the grade of the collapse (`models.sequence.monitor`)."""

CONVERGENCE_PATIENCE = 5
CONVERGENCE_DELTA = 0.005

_LEAST = 1e-12
_EPOCH_ENTRIES = {"val_f1": "validation_macro_f1", "val_accuracy": "validation_accuracy"}


def scores_of(y: NDArray[np.int64], probabilities: NDArray[Any]) -> dict[str, float]:
    """Every metric, and ``largest_share``: the share of predictions in their commonest class.

    Parameters
    ----------
    y : array of int, shape (n,)
    probabilities : array, shape (n, n_classes)
    """
    if not len(y):
        raise UsageError("No validation window can be scored. Collect more data, or fill missing values.")
    said = probabilities.argmax(axis=1).astype(np.int64)
    of_truth = probabilities[np.arange(len(y)), y].astype(np.float64)
    return {
        "val_f1": macro_f1(y, said),
        "val_accuracy": float((said == y).mean()),
        "val_mcc": _matthews(y, said),
        "val_loss": float(-np.log(np.maximum(of_truth, _LEAST)).mean()),
        "largest_share": float(np.bincount(said).max() / len(said)),
    }


def objective(scores: Mapping[str, float], metric: str) -> float:
    """The number that is maximised: the metric, or the negative of a loss, cut where predictions collapsed."""
    check_metric(metric)
    value = -scores[metric] if metric == "val_loss" else scores[metric]
    return penalised(value, scores["largest_share"])


def check_metric(metric: str) -> None:
    """Refuse a name that is no metric."""
    if metric not in METRICS:
        raise UsageError(
            f"There is no metric `{metric}`{closest(metric, METRICS)}. Choose one of: {', '.join(METRICS)}."
        )


def epoch_score(entry: Epoch, metric: str) -> float | None:
    """What the pruner is told of an epoch; None where the model says nothing of validation.

    The metric where the epoch has it, else the negative loss: the pruner compares epochs with epochs of other trials of
    the same model, never with final scores.
    """
    name = _EPOCH_ENTRIES.get(metric)
    if name is not None and name in entry:
        return penalised(entry[name], entry.get("largest_share", 0.0))
    loss = entry.get("validation_loss")
    return None if loss is None else -loss


def penalised(score: float, largest_share: float) -> float:
    """The score where predictions are spread, less of it where they collapsed; a loss becomes a larger one."""
    factor = COLLAPSE_FACTORS.get(collapse_grade(largest_share), 1.0)
    return score * factor if score > 0 else score / factor


def has_converged(
    scores: Sequence[float],
    *,
    patience: int = CONVERGENCE_PATIENCE,
    delta: float = CONVERGENCE_DELTA,
) -> bool:
    """Whether the newest `patience` trials have not improved on the best before them by more than `delta`.

    Parameters
    ----------
    scores : sequence of float
        Of finished trials in order; a pruned trial counts as no improvement (``-inf``).
    """
    earlier, newest = scores[:-patience], scores[-patience:]
    return bool(patience) and bool(earlier) and max(newest) <= max(earlier) + delta


def _matthews(y: NDArray[np.int64], said: NDArray[np.int64]) -> float:
    """Correlation of classes; 0 where labels or predictions are all of one."""
    n_classes = int(max(y.max(), said.max())) + 1
    true, predicted = (np.bincount(side, minlength=n_classes).astype(np.float64) for side in (y, said))
    n, right = float(len(y)), float((y == said).sum())
    spread = (n**2 - true @ true) * (n**2 - predicted @ predicted)
    return float((right * n - true @ predicted) / np.sqrt(spread)) if spread > 0 else 0.0
