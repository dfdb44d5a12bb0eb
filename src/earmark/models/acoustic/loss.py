"""Binary cross-entropy over windows and devices, each cell with a weight of its own.

A cell is one window's label of one device. Its weight is the row's, times W if another device masks this one while on:
a machine that cannot be heard teaches nothing of itself. ``pos_weight`` balances what is left, so it is taken from the
same weights. Weights have mean 1 over the known cells before W, so that W scales a gradient and nothing undoes it.

Conventions: labels (n, n_devices), 0 or 1, NaN where unknown; masks are pairs (by, hides) of positions of devices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional

from earmark.errors import UsageError

__all__ = ["LARGEST_POS_WEIGHT", "cell_losses", "cell_weights", "pos_weight"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

LARGEST_POS_WEIGHT = 100.0
"""Limit either way, for a device that is nearly always or nearly never on."""


def cell_weights(
    y: Floats, *, rows: Doubles | None = None, masks: Sequence[tuple[int, int]] = (), hidden: float = 1.0
) -> Doubles:
    """What each label counts in the loss, shape (n, n_devices).

    Parameters
    ----------
    y : ndarray of float, shape (n, n_devices)
        Labels, NaN where unknown.
    rows : ndarray of float, shape (n,), optional
        Weights of windows; None is 1 each.
    masks : sequence of (int, int)
        Pairs (by, hides).
    hidden : float
        W, 0 to 1: what a hidden device's label counts while a device that hides it is on.

    Raises
    ------
    UsageError
        No label counts: all are unknown, or all rows weigh nothing.
    """
    known = np.isfinite(y)
    weights = known * (np.ones(len(y)) if rows is None else np.asarray(rows, dtype=np.float64))[:, None]
    if not weights.any():
        raise UsageError(
            f"None of the {y.size} labels counts: all are unknown or of weight 0; expected some. Label windows first."
        )
    weights = weights / weights[known].mean()
    is_hidden = np.zeros(y.shape, dtype=bool)
    for by, hides in masks:
        is_hidden[:, hides] |= y[:, by] == 1
    return np.asarray(np.where(is_hidden, hidden * weights, weights), dtype=np.float64)


def pos_weight(y: Floats, weights: Doubles) -> Floats:
    """Negatives / positives of each device, in weight, shape (n_devices,); 1 for a device that lacks either."""
    positive = np.where(y == 1, weights, 0.0).sum(axis=0)
    negative = np.where(y == 0, weights, 0.0).sum(axis=0)
    both = (positive > 0) & (negative > 0)
    ratio = np.divide(negative, positive, out=np.ones(len(positive)), where=both)
    return np.asarray(np.clip(ratio, 1 / LARGEST_POS_WEIGHT, LARGEST_POS_WEIGHT), dtype=np.float32)


def cell_losses(logits: Tensor, y: Tensor, weights: Tensor, positive: Tensor) -> Tensor:
    """Weighted loss of each window and device, shape (n, n_devices); 0 where a label is unknown.

    Parameters
    ----------
    logits, y, weights : Tensor, shape (n, n_devices)
        Labels may be NaN; weights are 0 there.
    positive : Tensor, shape (n_devices,)
        ``pos_weight``.
    """
    losses = functional.binary_cross_entropy_with_logits(
        logits, y.nan_to_num(0.0), reduction="none", pos_weight=positive
    )
    return losses * weights
