"""Whole groups into bins, so that every bin holds close to its share of every class.

The cost of an assignment is the weighted squared distance of the bins' class counts from their targets,

    cost = sum over bins b and columns c of (count[b, c] - target[b, c])^2 / total[c],

where the columns are the classes and, last, the number of items. A greedy start is improved by moving a
group, or swapping two, between a pair of bins as long as the cost falls; groups with equal counts are
interchangeable, so only distinct count vectors are tried. Against scikit-learn's ``StratifiedGroupKFold``,
which is greedy alone, this keeps fold sizes level when a few groups are large. Deterministic given `order`,
which carries the seed.

Conventions: `counts` is (n_groups, n_classes) of items; `order` is a permutation of the groups.
"""

from __future__ import annotations

import numpy as np

__all__ = ["balanced_folds", "balanced_subset"]

_MAX_TYPES = 400  # distinct count vectors above which swaps are left out: their number grows with the square
_MAX_STEPS = 10_000


def balanced_subset(counts: np.ndarray, target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Choose groups whose summed counts come close to `target`.

    Groups are taken in `order` while they bring the sum nearer, so that large groups have a fair chance of
    being chosen, and the choice is then refined.

    Parameters
    ----------
    counts : ndarray, float, shape (n_groups, n_columns)
    target : ndarray, float, shape (n_columns,)
    order : ndarray, int, shape (n_groups,)

    Returns
    -------
    ndarray, bool, shape (n_groups,)
        At least one group is chosen if the target is not zero and there are groups.
    """
    weight = _weights(counts)
    chosen: np.ndarray = np.zeros(len(counts), dtype=bool)
    deviation = -np.asarray(target, dtype=float)
    for group in order:
        if _cost(deviation + counts[group], weight) < _cost(deviation, weight):
            chosen[group] = True
            deviation = deviation + counts[group]
    bins = _refined(np.where(chosen, 0, 1), counts, np.stack([deviation, -deviation]), weight, order)
    chosen = np.equal(bins, 0)
    if not chosen.any() and len(counts) and np.any(target > 0):
        costs = [_cost(counts[group] - target, weight) for group in order]
        chosen[order[int(np.argmin(costs))]] = True
    return chosen


def balanced_folds(counts: np.ndarray, n_folds: int, order: np.ndarray) -> np.ndarray:
    """Assign every group to one of `n_folds` folds of nearly equal class counts.

    Parameters
    ----------
    counts : ndarray, float, shape (n_groups, n_columns)
    n_folds : int
    order : ndarray, int, shape (n_groups,)
        Decides between groups of equal size.

    Returns
    -------
    ndarray, int, shape (n_groups,)
        Fold 0 .. n_folds - 1.
    """
    weight = _weights(counts)
    deviation = np.tile(-counts.sum(axis=0) / n_folds, (n_folds, 1))
    folds = np.zeros(len(counts), dtype=np.int64)
    largest_first = order[np.argsort(-counts[order, -1], kind="stable")]
    for group in largest_first:
        increase = ((2 * deviation + counts[group]) * counts[group] * weight).sum(axis=1)
        folds[group] = int(np.argmin(increase))
        deviation[folds[group]] += counts[group]
    return _refined(folds, counts, deviation, weight, order)


def _weights(counts: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / np.maximum(counts.sum(axis=0), 1.0))


def _cost(deviation: np.ndarray, weight: np.ndarray) -> float:
    return float((deviation**2 * weight).sum())


def _refined(
    bins: np.ndarray, counts: np.ndarray, deviation: np.ndarray, weight: np.ndarray, order: np.ndarray
) -> np.ndarray:
    """Move and swap groups between pairs of bins until no step lowers the cost."""
    if not len(counts):
        return bins
    types, type_of = np.unique(counts, axis=0, return_inverse=True)
    type_of = type_of.ravel()
    bins, deviation = bins.copy(), deviation.copy()
    pairs = [(a, b) for a in range(len(deviation)) for b in range(a + 1, len(deviation))]
    for _ in range(_MAX_STEPS):
        steps = [_best_step(pair, bins, types, type_of, deviation, weight) for pair in pairs]
        gain, best = min((step[0], index) for index, step in enumerate(steps))
        if gain > -1e-9:
            break
        (a, b), (_, leave, enter) = pairs[best], steps[best]
        for kind, source, sink in ((leave, a, b), (enter, b, a)):
            if kind >= 0:
                group = next(g for g in order if bins[g] == source and type_of[g] == kind)
                bins[group] = sink
                deviation[source] -= counts[group]
                deviation[sink] += counts[group]
    return bins


def _best_step(
    pair: tuple[int, int],
    bins: np.ndarray,
    types: np.ndarray,
    type_of: np.ndarray,
    deviation: np.ndarray,
    weight: np.ndarray,
) -> tuple[float, int, int]:
    """Best step between bins a and b: change of cost, type that leaves a, type that enters it (-1: none)."""
    a, b = pair
    leaving = np.concatenate([[-1], np.unique(type_of[bins == a])])
    entering = np.concatenate([[-1], np.unique(type_of[bins == b])])
    if len(leaving) * len(entering) > _MAX_TYPES**2:
        entering = entering[:1]
    none = np.zeros((1, types.shape[1]))
    vectors = np.vstack([types, none])  # index -1 is "no group"
    delta = vectors[leaving][:, None, :] - vectors[entering][None, :, :]
    change = (2 * delta * (delta - (deviation[a] - deviation[b])) * weight).sum(axis=2)
    row, column = np.unravel_index(int(np.argmin(change)), change.shape)
    return float(change[row, column]), int(leaving[row]), int(entering[column])
