"""Shares of right answers as counts: the interval of one, and whether two on the same items differ.

Conventions: `n_right` of `n` items are right. Intervals are Wilson's [1]_: they stay inside 0..1 and are honest for a
few dozen items, where the normal approximation is not; for items in groups the bootstrap of
`earmark.evaluation.intervals` is wider and the one to quote. Two models on the same items are compared on the items
where one is right and the other wrong, by McNemar's exact test [2]_: under equal skill each such item falls to either
side by chance.

Decided cases: no items give ``nan``; no differing items give p = 1.

References
----------
.. [1] Wilson. Probable inference, the law of succession, and statistical inference. JASA 22, 1927.
.. [2] McNemar. Note on the sampling error of the difference between correlated proportions or percentages.
   Psychometrika 12, 1947; exact form: Edwards, 1948.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import UsageError
from earmark.evaluation.intervals import Interval

__all__ = ["McNemar", "mcnemar", "stratified_rows", "wilson"]

Z95 = 1.959963984540054
"""97.5 percentile of the normal distribution."""


def wilson(n_right: int, n: int) -> Interval:
    """Share of right answers with its 95 % Wilson interval."""
    if not 0 <= n_right <= n:
        raise UsageError(f"{n_right} of {n} answers are right; expected 0 to {n}.")
    if not n:
        return Interval(math.nan, math.nan, math.nan)
    share, unit = n_right / n, Z95**2 / n
    centre = (share + unit / 2) / (1 + unit)
    half = math.sqrt(share * (1 - share) * unit + unit**2 / 4) / (1 + unit)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


@dataclass(frozen=True)
class McNemar:
    """Items that only the first, and only the second model gets right, and the two-sided p of so uneven a split."""

    only_first: int
    only_second: int
    p: float


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> McNemar:
    """Compare two models by which items each gets right, arrays of bool of the same shape."""
    from scipy.stats import binomtest

    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    if first.shape != second.shape:
        raise UsageError(f"Answers on {first.shape} and {second.shape} items; expected the same items.")
    gained, lost = int((first & ~second).sum()), int((~first & second).sum())
    differing = gained + lost
    p = float(binomtest(gained, differing, 0.5).pvalue) if differing else 1.0
    return McNemar(gained, lost, p)


def stratified_rows(y: ArrayLike, n: int, *, seed: int = 42) -> NDArray[np.intp]:
    """Positions of `n` items, classes in proportion, at least one of each; all of them where there are no more.

    Parameters
    ----------
    y : array of int, shape (n_items,)
    n : int
        At least 1; with fewer than there are classes, one item of each of the `n` commonest.
    seed : int

    Returns
    -------
    array of int, ascending
    """
    classes = np.asarray(y)
    if n < 1:
        raise UsageError(f"{n} items were asked for; expected at least 1.")
    if n >= len(classes):
        return np.arange(len(classes))
    names, counts = np.unique(classes, return_counts=True)
    kept = names[np.sort(np.argsort(-counts, kind="stable")[:n])]
    counts = counts[np.isin(names, kept)]
    quota = _quotas(counts, n)
    generator = np.random.default_rng(seed)
    drawn = [
        generator.choice(np.flatnonzero(classes == name), size, replace=False)
        for name, size in zip(kept, quota, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def _quotas(counts: NDArray[np.intp], n: int) -> list[int]:
    """How many of each class: one each, then always to the class that is furthest below its share."""
    quota = np.ones(len(counts), dtype=np.intp)
    share = counts / counts.sum() * n
    while quota.sum() < n:
        room = np.where(quota < counts, share - quota, -np.inf)
        quota[int(room.argmax())] += 1
    return [int(size) for size in quota]
