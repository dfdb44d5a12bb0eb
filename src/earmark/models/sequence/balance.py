"""Balancing of classes in training: one method at a time, on training windows only, never on others.

``balanced``, ``inverse`` and ``effective`` weigh rows by class; ``oversample``, ``undersample`` and ``smote`` draw
windows anew. Drawn windows are positions, and a SMOTE window a pair of positions with a share: windows are made batch
by batch as they are needed.

References: Cui et al., "Class-balanced loss based on effective number of samples", CVPR 2019; Chawla et al., "SMOTE",
JAIR 16, 2002.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from earmark.data.windows import Windows
from earmark.errors import UsageError
from earmark.models.estimator import Floats, Ints
from earmark.models.sequence.base import finite_inputs

__all__ = ["BALANCING", "Draws", "balanced_draws", "class_weights", "nearest_neighbours"]

BALANCING = ("none", "balanced", "inverse", "effective", "oversample", "undersample", "smote")

EFFECTIVE_BETA = 0.9999
"""Overlap of samples in the effective number of samples (Cui et al.)."""

SMOTE_NEIGHBOURS = 5
SMOTE_POOL = 4096
"""Windows of a class among which neighbours are sought, drawn where there are more: distances of all pairs of flattened
windows would grow with the square of the class."""

_PAIRS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class Draws:
    """Training windows as they are drawn: window ``first``, moved towards ``second`` by ``share``.

    Attributes
    ----------
    first, second : ndarray of int64, shape (n,)
        Positions among the training windows; equal where nothing is mixed.
    share : ndarray of float32, shape (n,)
        In [0, 1).
    weight : ndarray of float32, shape (n,)
        Weight in the loss, mean 1.
    """

    first: Ints
    second: Ints
    share: Floats
    weight: Floats

    def __len__(self) -> int:
        return len(self.first)

    def inputs(self, windows: Windows, chosen: Ints | slice) -> Floats:
        """Features of the draws at `chosen`, shape (k, length, n_columns)."""
        first = finite_inputs(windows, self.first[chosen])
        share = self.share[chosen]
        if not share.any():
            return first
        second = finite_inputs(windows, self.second[chosen])
        return first + share[:, None, None] * (second - first)

    def movement(self, windows: Windows) -> Floats:
        """Relative change of the price of each draw; NaN where unknown."""
        movement = windows.movement
        first = movement[self.first]
        mixed = first + self.share * (movement[self.second] - first)
        return np.where(self.share > 0, mixed, first).astype(np.float32)


def balanced_draws(method: str, windows: Windows, weight: Floats, *, ratio: float, seed: int) -> Draws:
    """Draw training windows by one of `BALANCING`.

    Parameters
    ----------
    method : str
    windows : Windows
    weight : ndarray, shape (len(windows),)
        Weights of the windows, which a draw inherits.
    ratio : float
        Size that a smaller class is raised to, as a share of the largest (``oversample``, ``smote``); or that larger
        ones are cut to, as a multiple of the smallest, divided by it (``undersample``). 1 makes all equal.
    seed : int
    """
    rng = np.random.default_rng([seed, 0xBA1A])
    if method in ("none", "balanced", "inverse", "effective"):
        everything = np.arange(len(windows))
        return _plain(everything, weight * class_weights(method, windows.y)[windows.y])
    if method == "undersample":
        return _plain(_undersampled(windows.y, ratio, rng), weight)
    if method == "oversample":
        extra = [rng.choice(members, n) for members, n in _wanted(windows.y, ratio)]
        return _plain(np.concatenate([np.arange(len(windows)), *extra]), weight)
    if method == "smote":
        return _smote(windows, weight, ratio, rng)
    raise UsageError(f"There is no balancing method `{method}`. Choose one of: {', '.join(BALANCING)}.")


def class_weights(method: str, y: Ints) -> Floats:
    """Weight per class, mean 1 over the rows of `y`; 0 for classes without a row.

    ``balanced`` and ``inverse``: proportional to 1 / n_c, the same once scaled to mean 1; ``effective``:
    (1 - beta) / (1 - beta^n_c).
    """
    counts = np.bincount(y).astype(np.float64)
    if method == "none":
        return np.ones(len(counts), dtype=np.float32)
    n = np.maximum(counts, 1)
    weight = {
        "balanced": len(y) / n,
        "inverse": len(y) / n,
        "effective": (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**n),
    }[method]
    weight[counts == 0] = 0
    return np.asarray(weight * len(y) / (weight * counts).sum(), dtype=np.float32)


def nearest_neighbours(flat: Floats, k: int) -> Ints:
    """Positions of the `k` rows nearest to each row of `flat`, itself excluded, shape (n, min(k, n - 1)).

    Ties go to the lower position.
    """
    k = min(k, len(flat) - 1)
    norm = np.einsum("ij,ij->i", flat, flat, dtype=np.float64)
    found = np.empty((len(flat), k), dtype=np.int64)
    for start in range(0, len(flat), _PAIRS_AT_ONCE):
        block = slice(start, start + _PAIRS_AT_ONCE)
        distance = norm[block, None] + norm - 2 * (flat[block] @ flat.T)
        own = np.arange(len(distance))
        distance[own, start + own] = np.inf
        found[block] = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return found


def _plain(positions: Ints, weight: Floats) -> Draws:
    own = weight[positions]
    return Draws(
        positions, positions, np.zeros(len(positions), np.float32), (own / own.mean()).astype(np.float32)
    )


def _wanted(y: Ints, ratio: float) -> list[tuple[Ints, int]]:
    """Members of each class that is too small, and how many windows it lacks."""
    counts = np.bincount(y)
    target = int(np.ceil(ratio * counts.max()))
    return [(np.flatnonzero(y == c), target - n) for c, n in enumerate(counts) if 0 < n < target]


def _undersampled(y: Ints, ratio: float, rng: np.random.Generator) -> Ints:
    counts = np.bincount(y)
    target = int(np.ceil(counts[counts > 0].min() / ratio))
    kept = []
    for c in np.flatnonzero(counts):
        members = np.flatnonzero(y == c)
        kept.append(members if len(members) <= target else rng.choice(members, target, replace=False))
    return np.sort(np.concatenate(kept))


def _smote(windows: Windows, weight: Floats, ratio: float, rng: np.random.Generator) -> Draws:
    own = np.arange(len(windows))
    first, second, share = [own], [own], [np.zeros(len(own), np.float32)]
    for members, n in _wanted(windows.y, ratio):
        base, neighbour = _neighbour_pairs(windows, members, n, rng)
        first.append(base)
        second.append(neighbour)
        share.append(np.where(base == neighbour, 0, rng.random(n)).astype(np.float32))
    plain = _plain(np.concatenate(first), weight)
    return replace(plain, second=np.concatenate(second), share=np.concatenate(share))


def _neighbour_pairs(
    windows: Windows, members: Ints, n: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """n windows of one class and, for each, one of its nearest in the same class; a lone window is its own."""
    pool = members
    if len(members) > SMOTE_POOL:
        pool = np.sort(rng.choice(members, SMOTE_POOL, replace=False))
    base = rng.integers(len(pool), size=n)
    if len(pool) == 1:
        return pool[base], pool[base]
    flat = finite_inputs(windows, pool).reshape(len(pool), -1)
    near = nearest_neighbours(flat, SMOTE_NEIGHBOURS)
    return pool[base], pool[near[base, rng.integers(near.shape[1], size=n)]]
