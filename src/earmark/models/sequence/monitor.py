"""Numbers that a training follows: the rate of an epoch, macro-F1, and whether predictions have collapsed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from earmark.models.estimator import Ints
from earmark.models.schedule import cosine_rate

__all__ = ["collapse_grade", "epoch_rate", "macro_f1"]

COLLAPSE = (("total", 0.99), ("severe", 0.90), ("mild", 0.75))
"""Share of validation predictions in one class from which a collapse counts as such."""


def collapse_grade(share: float) -> str:
    """``mild``, ``severe``, ``total`` or nothing, by the share of predictions in one class."""
    return next((grade for grade, least in COLLAPSE if share >= least), "")


def epoch_rate(params: Mapping[str, Any], epoch: int) -> float:
    """The learning rate of an epoch, by the parameters."""
    if params["schedule"] == "constant":
        return float(params["learning_rate"])
    return cosine_rate(
        epoch,
        rate=params["learning_rate"],
        floor=min(params["learning_rate_floor"], params["learning_rate"]),
        period=params["restart_epochs"],
        factor=params["restart_factor"],
    )


def macro_f1(y: Ints, predicted: Ints) -> float:
    """Mean F1 over the classes that occur among labels or predictions."""
    scores = []
    for c in np.union1d(y, predicted):
        both = np.sum((y == c) & (predicted == c))
        scores.append(2 * both / (np.sum(y == c) + np.sum(predicted == c)))
    return float(np.mean(scores))
