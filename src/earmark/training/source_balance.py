"""Weights under which the source of a row says little of its class.

Where most rows of a class come from one source, a model can learn how that source sounds instead of the class. With
these weights all sources of a class count the same in total, and every class counts what it counted before. A source
that holds a single class stays a giveaway: weights cannot make the rows that are missing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.models.estimator import Floats, Ints

__all__ = ["source_weights"]

LARGEST_FACTOR = 10.0
"""Of a row: a class that has one row from a source must not hang on that row."""


def source_weights(y: Ints, sources: npt.NDArray[np.str_]) -> Floats:
    """n_class / (n_sources_of_class * n_of_both) for each row, float32, shape (n,), at most `LARGEST_FACTOR`.

    Raises
    ------
    UsageError
        All rows are of one source.

    Examples
    --------
    >>> y, sources = np.array([0, 0, 0, 0, 1]), np.array(["a", "a", "a", "b", "b"])
    >>> source_weights(y, sources).round(2).tolist()
    [0.67, 0.67, 0.67, 2.0, 1.0]
    """
    names, of_row = np.unique(sources, return_inverse=True)
    if len(names) < 2:
        raise UsageError(
            f"All {len(y)} rows are of source `{''.join(names)}`; expected two sources or more to balance. Leave "
            "--balance-source out."
        )
    counts = np.zeros((int(y.max()) + 1, len(names)))
    np.add.at(counts, (y, of_row), 1)
    share = counts.sum(axis=1, keepdims=True) / np.maximum((counts > 0).sum(axis=1, keepdims=True), 1)
    factors = np.minimum(share / np.maximum(counts, 1), LARGEST_FACTOR)
    return np.asarray(factors[y, of_row], dtype=np.float32)
