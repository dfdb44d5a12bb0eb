"""Grouped, stratified splits of training rows: whole groups on one side, class shares as even as they allow.

The outer folds of a dataset come with it (`earmark.data`); these are for the splits inside: the validation
part on which a fit stops early, and regrouping into fewer folds for a search. Deterministic for a seed,
whatever the order of equal groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.models.estimator import Ints

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset

__all__ = ["balanced_folds", "inner_split", "regrouped"]


def balanced_folds(
    y: Ints, groups: Sequence[str] | npt.NDArray[np.str_], n_folds: int, *, seed: int | Sequence[int]
) -> Ints:
    """Assign each row a fold 0 .. n_folds - 1.

    Groups are shuffled, taken from the largest to the smallest, and each goes where it least raises the sum
    over folds and classes of (share of the class in the fold) squared; that sum is least when classes are
    spread evenly.

    Parameters
    ----------
    y : ndarray, shape (n,), int
        Class indices.
    groups : sequence, length n
        What must not straddle two folds.
    n_folds : int
    seed : int or sequence of int

    Returns
    -------
    ndarray, shape (n,), int
        A fold may stay empty if there are fewer groups than folds.
    """
    if n_folds < 2:
        raise UsageError(f"n_folds is {n_folds}, expected at least 2.")
    names, of_row = np.unique(np.asarray(groups), return_inverse=True)
    _, codes = np.unique(y, return_inverse=True)
    counts = np.zeros((len(names), int(codes.max(initial=0)) + 1))
    np.add.at(counts, (of_row, codes), 1)
    share = counts / np.maximum(counts.sum(axis=0), 1)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    held = np.zeros((n_folds, share.shape[1]))
    fold_of_group = np.zeros(len(names), dtype=np.int64)
    for group in order:
        rise = ((held + share[group]) ** 2 - held**2).sum(axis=1)
        fold = int(np.lexsort((held.sum(axis=1), np.round(rise, 12)))[0])
        held[fold] += share[group]
        fold_of_group[group] = fold
    return fold_of_group[of_row]


def inner_split(
    y: Ints, groups: Sequence[str] | npt.NDArray[np.str_], fraction: float, *, seed: int | Sequence[int]
) -> tuple[Ints, Ints]:
    """Row indices (training, validation) of one split; validation is empty where no split is possible.

    A split must leave every class in the training part. Among those that do, the one with the most classes
    in the validation part is taken, then the one nearest to `fraction`.

    Parameters
    ----------
    y, groups : as in `balanced_folds`
    fraction : float
        Share of rows for validation, in [0, 0.5]; 0 gives no validation rows.
    seed : int or sequence of int
    """
    if not 0 <= fraction <= 0.5:
        raise UsageError(f"The validation fraction is {fraction}, expected a number from 0 to 0.5.")
    rows, none = np.arange(len(y)), np.empty(0, dtype=np.int64)
    if fraction == 0 or len(np.unique(np.asarray(groups))) < 2:
        return rows, none
    folds = balanced_folds(y, groups, max(2, round(1 / fraction)), seed=seed)
    n_classes, best, best_rank = len(np.unique(y)), none, (-1, -np.inf)
    for fold in range(int(folds.max()) + 1):
        held = np.flatnonzero(folds == fold)
        rank = (len(np.unique(y[held])), -abs(len(held) / len(y) - fraction))
        if len(held) and len(np.unique(y[folds != fold])) == n_classes and rank > best_rank:
            best, best_rank = held, rank
    return np.setdiff1d(rows, best), best


def regrouped(dataset: Dataset, n_folds: int, *, seed: int) -> Dataset:
    """The same rows in another number of folds, grouped and stratified, e.g. three for a search.

    Raises
    ------
    UsageError
        If the dataset's folds are purged in time: these cannot be drawn anew.
    """
    if any(dataset.gaps):
        raise UsageError(
            "The dataset's folds are purged in time and cannot be redrawn. Search with its own folds."
        )
    return replace(dataset, folds=balanced_folds(dataset.y, dataset.groups, n_folds, seed=seed))
