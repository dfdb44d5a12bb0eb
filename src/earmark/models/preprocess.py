"""What happens to features before the estimator; learned from the training part of a fold only.

In this order: columns whose name fits a pattern of `leave_out` are dropped, and columns that are constant
(or all missing) on the training rows, these with a warning entry; missing values (NaN) take the median of
their column over the training rows; optionally the k columns with the largest ANOVA F are kept; optionally
columns are standardised to mean 0 and standard deviation 1. Medians are kept for every column, so a value
missing only at prediction time has one too; a table without NaN passes through imputation bit for bit.
Sample weights do not enter.

Statistics are computed in float64, results are float32.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from earmark.errors import InputError, RunError, SchemaError, UsageError
from earmark.models.constraints import Choice, Flag, Interval, Optional, Parameter, Texts, check_parameters
from earmark.models.estimator import Floats, Ints

__all__ = ["PARAMETERS", "Preprocess", "anova_f"]

PARAMETERS = {
    "impute": Parameter(
        "median", Optional(Choice(("median",))), "what a missing value becomes; none keeps NaN"
    ),
    "standardise": Parameter(True, Flag(), "scale kept columns to mean 0, standard deviation 1"),
    "leave_out": Parameter((), Texts(), "drop columns whose full name fits one of these, e.g. *drop*"),
    "top_k": Parameter(None, Optional(Interval(int, 1)), "keep the k columns with the largest ANOVA F"),
}
FORMAT = 1


@dataclass
class Preprocess:
    """Drop constants, impute, select, standardise.

    Attributes
    ----------
    columns : tuple of str
        Columns it was fitted on, in order.
    kept : tuple of str
        Columns that come out, in order.
    dropped : dict
        Column -> why it was dropped ("left out", "constant", "missing", "not among the best k").
    """

    impute: str | None = "median"
    standardise: bool = True
    top_k: int | None = None
    leave_out: tuple[str, ...] = ()
    columns: tuple[str, ...] = field(default=(), init=False)
    kept: tuple[str, ...] = field(default=(), init=False)
    dropped: dict[str, str] = field(default_factory=dict, init=False)
    _index: Ints = field(default_factory=lambda: np.empty(0, np.int64), init=False, repr=False)
    _median: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0), init=False, repr=False)
    _mean: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0), init=False, repr=False)
    _scale: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty(0), init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.leave_out, list):  # as JSON and TOML spell it
            self.leave_out = tuple(self.leave_out)
        check_parameters("Preprocess", PARAMETERS, self.get_params())

    def get_params(self) -> dict[str, Any]:
        """What was asked for, without what was learned."""
        return {name: getattr(self, name) for name in PARAMETERS}

    @property
    def warnings(self) -> list[str]:
        """One sentence per kind of column that was dropped because it carries nothing."""
        sentences = []
        for reason, words in (("constant", "constant"), ("missing", "missing in every row")):
            names = [name for name, why in self.dropped.items() if why == reason]
            if names:
                sentences.append(
                    f"{len(names)} of {len(self.columns)} columns are {words} on the training rows and "
                    f"were dropped: {', '.join(names)}"
                )
        return sentences

    def fit(self, X: Floats, columns: Sequence[str], y: Ints | None = None) -> Self:
        """Learn from the training rows.

        Parameters
        ----------
        X : ndarray, shape (n, d)
        columns : sequence of str, length d
        y : ndarray, shape (n,), optional
            Class indices; needed for `top_k` only.

        Raises
        ------
        InputError
            If a value is infinite, or no column is left.
        UsageError
            If `top_k` is set and y is not given.
        """
        X = self._check(X, columns)
        if not len(X):
            raise UsageError(
                "There are no training rows to learn the preprocessing from. Check the labels and splits."
            )
        self.columns = tuple(columns)
        self.dropped = {name: "left out" for name in self.columns if self._is_left_out(name)}
        kept = self._drop_constant(X)
        table = X[:, kept].astype(np.float64)
        self._median = _nanmedian(table)
        filled = np.where(np.isnan(table), self._median, table) if self.impute else table
        if self.top_k is not None and self.top_k < len(kept):
            chosen = self._best(filled, y, kept)
            kept, filled, self._median = kept[chosen], filled[:, chosen], self._median[chosen]
        self._index = kept
        self.kept = tuple(self.columns[i] for i in kept)
        self._mean = np.nanmean(filled, axis=0) if self.standardise else np.zeros(len(kept))
        self._scale = np.nanstd(filled, axis=0) if self.standardise else np.ones(len(kept))
        # Imputed with the median, a column can become constant only where all its finite values are equal;
        # such were dropped.
        self._scale[self._scale == 0] = 1.0
        return self

    def transform(self, X: Floats) -> Floats:
        """The kept columns, imputed and scaled: float32, shape (n, len(kept))."""
        if not self.kept:
            raise UsageError("The preprocessing is not fitted. Call fit, or load a saved one.")
        table = self._check(X, self.columns)[:, self._index].astype(np.float64)
        if self.impute:
            table = np.where(np.isnan(table), self._median, table)
        return np.ascontiguousarray((table - self._mean) / self._scale, dtype=np.float32)

    def to_json(self) -> str:
        """All parameters and learned numbers; floats survive the round trip bit for bit."""
        record = {
            "format": FORMAT,
            "params": self.get_params(),
            "columns": self.columns,
            "kept": self.kept,
            "dropped": self.dropped,
            "median": self._median.tolist(),
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
        }
        return json.dumps(record, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raises RunError for anything else."""
        try:
            record = json.loads(text)
            found = cls(**record["params"])
            found.columns, found.kept = tuple(record["columns"]), tuple(record["kept"])
            found.dropped = dict(record["dropped"])
            position = {name: i for i, name in enumerate(found.columns)}
            found._index = np.array([position[name] for name in found.kept], dtype=np.int64)
            found._median, found._mean, found._scale = (
                np.array(record[key], dtype=np.float64) for key in ("median", "mean", "scale")
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"The preprocessing cannot be read ({error}); expected what to_json wrote. Train again."
            ) from error
        return found

    def _check(self, X: Floats, columns: Sequence[str]) -> Floats:
        X = np.asarray(X, dtype=np.float32)
        if X.ndim != 2 or X.shape[1] != len(columns):
            raise SchemaError(
                f"X has shape {X.shape}, expected (rows, {len(columns)}). Pass one name per column."
            )
        infinite = [columns[i] for i in np.flatnonzero(np.isinf(X).any(axis=0)).tolist()]
        if infinite:
            raise InputError(
                f"Infinite values in {', '.join(infinite[:5])}; features are finite or NaN. Extract "
                "them again."
            )
        return X

    def _is_left_out(self, column: str) -> bool:
        return any(fnmatchcase(column, pattern) for pattern in self.leave_out)

    def _drop_constant(self, X: Floats) -> Ints:
        finite = ~np.isnan(X)
        low = np.min(X, axis=0, initial=np.inf, where=finite)
        high = np.max(X, axis=0, initial=-np.inf, where=finite)
        wanted = np.array([name not in self.dropped for name in self.columns], dtype=bool)
        varies = (low < high) & wanted
        self.dropped |= {
            self.columns[i]: "missing" if low[i] > high[i] else "constant"
            for i in np.flatnonzero(~(low < high) & wanted)
        }
        if not varies.any():
            raise InputError(
                f"None of the {int(wanted.sum())} columns varies over the {len(X)} training rows, so "
                "there is nothing to learn from. "
                "Check the features and the number of rows."
            )
        return np.flatnonzero(varies)

    def _best(self, table: npt.NDArray[np.float64], y: Ints | None, kept: Ints) -> Ints:
        if y is None:
            raise UsageError("`top_k` needs the labels of the training rows. Pass y to fit.")
        order = np.argsort(-anova_f(table, y), kind="stable")
        chosen: Ints = np.sort(order[: self.top_k])
        self.dropped |= {self.columns[kept[i]]: "not among the best k" for i in sorted(order[self.top_k :])}
        return chosen


def anova_f(X: npt.NDArray[np.float64], y: Ints) -> npt.NDArray[np.float64]:
    """One-way ANOVA F of each column over the classes, shape (d,); NaN left out, 0 where undefined."""
    finite = ~np.isnan(X)
    count = finite.sum(axis=0)
    mean = np.where(finite, X, 0).sum(axis=0) / np.maximum(count, 1)
    between, within = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    labels = np.unique(y)
    for label in labels:
        rows, present = X[y == label], finite[y == label]
        n = present.sum(axis=0)
        class_mean = np.where(present, rows, 0).sum(axis=0) / np.maximum(n, 1)
        between += n * (class_mean - mean) ** 2
        within += np.where(present, (rows - class_mean) ** 2, 0).sum(axis=0)
    spare = count - len(labels)
    valid = (spare > 0) & (within > 0) & (len(labels) > 1)
    return np.where(valid, between / max(len(labels) - 1, 1) * spare / np.where(valid, within, 1), 0.0)


def _nanmedian(table: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.nanmedian(table, axis=0), dtype=np.float64)
