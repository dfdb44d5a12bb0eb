"""A random forest (scikit-learn) whose trees are kept as plain arrays in ``trees.npz``.

All trees' nodes lie in one table; a node is a leaf or has a column, a threshold and two children.
Prediction walks the table with numpy and gives the bits of scikit-learn's own: a row goes left where its
float32 value is <= the float64 threshold, and the trees' class shares are summed in order and divided by
their number.

References: Breiman, "Random Forests", Machine Learning 45, 2001.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from earmark.models.constraints import Choice, Either, Interval, Optional, Parameter
from earmark.models.estimator import FitRequest, Floats, FoldEstimator

__all__ = ["RandomForest"]

TREES_FILE = "trees.npz"
_LEAF = -1
_SHARE = Interval(float, 0, 1, open_low=True)
_ARRAYS = ("left", "right", "column", "threshold", "share", "roots")

Arrays = dict[str, npt.NDArray[Any]]


class RandomForest(FoldEstimator):
    """Mean class shares of randomised trees."""

    name: ClassVar[str] = "random_forest"
    files: ClassVar[tuple[str, ...]] = (TREES_FILE,)
    distributions: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "n_trees": Parameter(300, Interval(int, 1, 100_000), "trees"),
        "max_depth": Parameter(None, Optional(Interval(int, 1)), "greatest depth of a tree"),
        "min_leaf": Parameter(3, Interval(int, 1), "least rows in a leaf"),
        "columns_per_split": Parameter(
            0.3, Either(Choice(("sqrt", "log2")), _SHARE), "columns tried at a split: a rule or a share"
        ),
        "seed": Parameter(42, Interval(int, 0, 2**31 - 1), "seed of rows and columns"),
        "n_threads": Parameter(
            1, Interval(int, 1, 1024), "threads of the fit; the forest does not depend on it"
        ),
    }

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.trees: Arrays = {}

    def _fit(self, request: FitRequest) -> None:
        from sklearn.ensemble import RandomForestClassifier

        params = self.params
        forest = RandomForestClassifier(
            n_estimators=params["n_trees"],
            max_depth=params["max_depth"],
            min_samples_leaf=params["min_leaf"],
            max_features=params["columns_per_split"],
            random_state=params["seed"],
            n_jobs=params["n_threads"],
        )
        forest.fit(request.X, request.y, sample_weight=request.sample_weight)
        self.trees = _table([tree.tree_ for tree in forest.estimators_])

    def _predict(self, X: Floats) -> Floats:
        trees, rows = self.trees, np.arange(len(X))
        total = np.zeros((len(X), trees["share"].shape[1]))
        for root in trees["roots"]:
            node = np.full(len(X), root)
            inside = trees["left"][node] != _LEAF
            while inside.any():
                at, row = node[inside], rows[inside]
                goes_left = X[row, trees["column"][at]] <= trees["threshold"][at]
                node[inside] = np.where(goes_left, trees["left"][at], trees["right"][at])
                inside = trees["left"][node] != _LEAF
            total += trees["share"][node]
        return (total / len(trees["roots"])).astype(np.float32)

    def _save(self, folder: Path) -> None:
        arrays: dict[str, Any] = self.trees
        np.savez_compressed(folder / TREES_FILE, **arrays)

    def _load(self, folder: Path) -> None:
        with np.load(folder / TREES_FILE, allow_pickle=False) as arrays:
            self.trees = {name: arrays[name] for name in _ARRAYS}


def _table(trees: list[Any]) -> Arrays:
    """One table of all trees' nodes; children are positions in it."""
    sizes = np.array([tree.node_count for tree in trees])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return {
        "left": np.concatenate(
            [_moved(tree.children_left, root) for tree, root in zip(trees, roots, strict=True)]
        ),
        "right": np.concatenate(
            [_moved(tree.children_right, root) for tree, root in zip(trees, roots, strict=True)]
        ),
        "column": np.concatenate([tree.feature for tree in trees]).astype(np.int32),
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "share": np.concatenate([tree.value[:, 0, :] for tree in trees]),
        "roots": roots.astype(np.int64),
    }


def _moved(children: npt.NDArray[np.int64], root: int) -> npt.NDArray[np.int64]:
    return np.where(children == _LEAF, _LEAF, children + root).astype(np.int64)
