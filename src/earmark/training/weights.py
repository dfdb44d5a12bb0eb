"""What each row counts in a fit."""

from __future__ import annotations

import numpy as np

from earmark.errors import UsageError
from earmark.models.estimator import Floats, Ints

__all__ = ["ClassWeight", "balanced_weights", "training_weights"]

ClassWeight = str | None


def balanced_weights(y: Ints) -> Floats:
    """n / (k n_c) for each row, shape (n,): every class that is present weighs the same in total; the mean
    is 1.
    """
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return (len(y) / (len(counts) * counts))[codes].astype(np.float32)


def training_weights(y: Ints, weights: Floats, class_weight: ClassWeight) -> Floats:
    """Sample weights of the rows that are fitted, times their class weights if asked for."""
    if class_weight not in (None, "balanced"):
        raise UsageError(f'class_weight is {class_weight!r}, expected none or "balanced".')
    return weights * balanced_weights(y) if class_weight else weights
