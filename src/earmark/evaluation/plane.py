"""The feature space seen from where it is widest: the first two principal components [1]_.

Columns are prepared as for a model (`earmark.models.preprocess`: constant ones dropped, missing values at the
median, mean 0 and standard deviation 1). The plane is a picture and no evidence: what lies apart in it is apart
in the features, what lies together may still be apart in the other components.

References
----------
.. [1] Jolliffe. Principal Component Analysis. Springer, 2nd edition, 2002.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.models.preprocess import Preprocess

__all__ = ["Plane", "principal_plane"]


@dataclass(frozen=True, eq=False)
class Plane:
    """Points in the plane, shape (n_items, 2), and the share of the variance that each axis explains, shape (2,)."""

    points: NDArray[np.float64]
    explained: NDArray[np.float64]


def principal_plane(X: NDArray[Any], columns: Sequence[str], reference: NDArray[Any] | None = None) -> Plane:
    """Project items onto the first two principal components.

    Parameters
    ----------
    X : array, shape (n_items, n_columns)
        What to project; NaN is missing.
    columns : sequence of str
        Names of the columns.
    reference : array, shape (n_reference, n_columns), optional
        Rows from which scales and axes are learned: the training rows, to show test items in their plane.
        Default: `X`.

    Returns
    -------
    Plane
        The sign of an axis is such that its largest loading is positive; the second axis is 0 where the
        features have one dimension only.

    Raises
    ------
    InputError
        Every column is constant.
    """
    learned = X if reference is None else reference
    preprocess = Preprocess().fit(learned, columns)
    table = preprocess.transform(learned).astype(np.float64)
    centre = table.mean(axis=0)
    _, spread, axes = np.linalg.svd(table - centre, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    shown = (preprocess.transform(X).astype(np.float64) - centre) @ axes.T
    variance = np.square(spread)
    explained = variance[:2] / variance.sum()
    missing = 2 - shown.shape[1]
    return Plane(np.pad(shown, ((0, 0), (0, missing))), np.pad(explained, (0, missing)))
