"""Soft targets of a fit: their checks, and rows in their place for estimators that take one class per row.

Targets are float32, shape (n, n_classes), each in [0, 1]; rows need not sum to 1, none is all zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError

__all__ = ["checked_targets", "one_hot", "spread_rows"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def one_hot(y: Ints, n_classes: int) -> Floats:
    """1 in the class of each row, 0 elsewhere."""
    return np.eye(n_classes, dtype=np.float32)[y]


def checked_targets(targets: Floats, n_rows: int, n_classes: int) -> Floats:
    """Targets as float32.

    Raises
    ------
    UsageError
        Another shape than (n_rows, n_classes), values outside [0, 1], or a row without any.
    """
    found = np.asarray(targets, dtype=np.float32)
    if found.shape != (n_rows, n_classes):
        raise UsageError(
            f"Targets have shape {found.shape}, expected ({n_rows}, {n_classes}): a row per row of X and a column per "
            "class. Take them from the same dataset."
        )
    if not ((found >= 0) & (found <= 1)).all() or not (found.max(axis=1) > 0).all():
        raise UsageError(
            "Targets must lie in [0, 1], with a value above 0 in every row. Check the soft labels."
        )
    return found


def spread_rows(X: Floats, weight: Floats | None, targets: Floats) -> tuple[Floats, Ints, Floats]:
    """A row per class that a row's target names, the row's weight divided among them in proportion.

    Returns
    -------
    X, y, weight : ndarray
        Rows stay in order, the classes of one row ascending; the total weight of each row is kept.
    """
    rows, y = np.nonzero(targets)
    share = targets / targets.sum(axis=1, keepdims=True)
    own = np.ones(len(X), dtype=np.float32) if weight is None else weight
    return X[rows], y.astype(np.int64), (own[rows] * share[rows, y]).astype(np.float32)
