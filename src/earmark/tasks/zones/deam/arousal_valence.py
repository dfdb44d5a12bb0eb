"""Arousal and valence from features: two regressions, scored on songs that they have not seen.

The input is the 19 columns of ``zones.common`` without the three drop statistics, which depend on the length
of an excerpt. Each target has an XGBoost regression (300 trees, depth 6, eta 0.05, least child weight 3, 0.8
of rows and columns, gamma 0.1, L1 0.1, L2 1; squared error). A prediction is clipped to the range that was
seen in training, since trees that are added up can leave it by a little. Missing values go the way that
training found better.

Scores are out of fold: whole groups (artist, album, equal audio) are left out together, and the clipping range
is that of each fold's own training rows. Beside each stands the score of the mean of the training rows.

Files of a folder: ``arousal.json`` and ``valence.json`` (XGBoost's JSON), and ``model.json`` (columns, ranges,
parameters, digests of the former). None of them runs code when it is read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError, RunError, SchemaError, UsageError
from earmark.features.table import FeatureTable
from earmark.tasks.zones.deam.annotations import refuse_annotations
from earmark.tasks.zones.deam.opensmile import COMMON_COLUMNS
from earmark.training.folds import balanced_folds

__all__ = ["AV_COLUMNS", "AV_PARAMETERS", "TARGETS", "AVModel", "AVTraining", "train_av"]

TARGETS = ("arousal", "valence")
"""In the order of every pair of columns."""
_DROP_STATISTICS = ("drop_contrast_mean", "drop_count", "drop_intensity")
AV_COLUMNS = tuple(name for name in COMMON_COLUMNS if name.rpartition(".")[2] not in _DROP_STATISTICS)
"""The input: 19 columns."""
AV_PARAMETERS: Mapping[str, Any] = {
    "n_trees": 300,
    "objective": "reg:squarederror",
    "tree_method": "hist",
    "max_depth": 6,
    "eta": 0.05,
    "min_child_weight": 3,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "gamma": 0.1,
    "alpha": 0.1,
    "lambda": 1.0,
    "verbosity": 0,
}
"""Number of trees and parameters of XGBoost; the seed and the number of threads come on top."""
_CHANGEABLE = {"n_trees": (int, 1, 100_000), "max_depth": (int, 1, 64), "eta": (float, 1e-4, 1.0)}

N_FOLDS = 5
N_STRATA = 4  # folds are drawn so that each has its share of every quarter of arousal
MODEL_FILE = "model.json"
_FORMAT = "earmark-arousal-valence-1"
_REMEDY = "Train it again."

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AVModel:
    """Two regressions over named columns.

    Parameters
    ----------
    columns : tuple of str
    ranges : mapping of target to (low, high)
        Of the training rows; predictions stay inside.
    boosters : mapping of target to xgboost.Booster
    parameters : mapping
        Those of the training, as in `AV_PARAMETERS`.
    """

    columns: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]
    boosters: Mapping[str, Any] = field(repr=False)
    parameters: Mapping[str, Any] = field(default_factory=lambda: dict(AV_PARAMETERS), repr=False)

    def predict(self, X: ArrayLike, columns: Sequence[str]) -> Floats:
        """Arousal and valence of each row.

        Parameters
        ----------
        X : array, shape (n, n_columns)
            NaN is missing.
        columns : sequence of str, length n_columns
            Names of the columns, in any order; others than the model's are left out.

        Returns
        -------
        ndarray, shape (n, 2)
            In the order of `TARGETS`.

        Raises
        ------
        SchemaError
            Columns are missing; all are named.
        InputError
            A value is infinite.
        """
        rows = _selected(np.asarray(X, dtype=np.float32), columns, self.columns)
        found = [
            np.clip(self.boosters[target].predict(_matrix(rows)), *self.ranges[target]) for target in TARGETS
        ]
        return np.column_stack(found).astype(np.float64)

    def importance(self) -> dict[str, Floats]:
        """Share of each column in the total gain of the trees, by target, shape (n_columns,)."""
        shares = {}
        for target in TARGETS:
            gain = self.boosters[target].get_score(importance_type="total_gain")
            values = np.array([gain.get(f"f{place}", 0.0) for place in range(len(self.columns))])
            shares[target] = values / max(values.sum(), np.finfo(float).tiny)
        return shares

    def save(self, folder: str | Path) -> None:
        """Write the three files of the model; ``model.json``, which knows the others, is the last."""
        folder = Path(folder)
        files = {f"{target}.json": bytes(self.boosters[target].save_raw("json")) for target in TARGETS}
        for name, data in files.items():
            write_bytes_atomic(folder / name, data)
        about = {
            "format": _FORMAT,
            "columns": self.columns,
            "ranges": self.ranges,
            "parameters": dict(self.parameters),
            "files": {name: _digest(data) for name, data in files.items()},
        }
        write_bytes_atomic(folder / MODEL_FILE, (json.dumps(about, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: str | Path) -> AVModel:
        """Read a model that `save` wrote.

        Raises
        ------
        RunError
            A file is missing, damaged, or does not belong to the others.
        """
        import xgboost

        folder = Path(folder)
        try:
            about = json.loads((folder / MODEL_FILE).read_bytes())
            if about["format"] != _FORMAT:
                raise ValueError(f"its format is {about['format']!r}, expected {_FORMAT!r}")
            boosters = {}
            for target in TARGETS:
                data = (folder / f"{target}.json").read_bytes()
                if _digest(data) != about["files"][f"{target}.json"]:
                    raise ValueError(f"{target}.json is not the file that {MODEL_FILE} was written with")
                boosters[target] = xgboost.Booster({"nthread": 1}, model_file=bytearray(data))
            ranges = {target: (float(low), float(high)) for target, (low, high) in about["ranges"].items()}
            ordered = {target: ranges[target] for target in TARGETS}
            return cls(tuple(about["columns"]), ordered, boosters, dict(about["parameters"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, xgboost.core.XGBoostError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(
                f"`{folder}` holds no usable model of arousal and valence ({reason}). Expected {MODEL_FILE} and one "
                f"file per target, as they were written together. {_REMEDY}"
            ) from error


@dataclass(frozen=True)
class AVTraining:
    """A model of all rows and what its kind scores on rows that it has not seen.

    Parameters
    ----------
    model : AVModel
    ids : tuple of str
    folds : ndarray, shape (n,)
    annotated, out_of_fold : ndarray, shape (n, 2)
        In the order of `TARGETS`.
    scores, baseline : mapping of target to mapping of "mae", "rmse", "r2" to float
        Out of fold; `baseline` predicts the mean of the training rows. R2 is NaN for a constant target.
    """

    model: AVModel
    ids: tuple[str, ...]
    folds: NDArray[np.int64]
    annotated: Floats = field(repr=False)
    out_of_fold: Floats = field(repr=False)
    scores: Mapping[str, Mapping[str, float]]
    baseline: Mapping[str, Mapping[str, float]]


def train_av(
    table: FeatureTable,
    arousal: ArrayLike,
    valence: ArrayLike,
    folds: ArrayLike | None = None,
    groups: Sequence[str] | None = None,
    *,
    columns: Sequence[str] = AV_COLUMNS,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 42,
    n_threads: int = 1,
) -> AVTraining:
    """Cross-validate and fit on all rows.

    Parameters
    ----------
    table : FeatureTable
        Has the `columns`.
    arousal, valence : array, shape (n,)
        Aligned with ``table.ids``.
    folds : array of int, shape (n,), optional
        Fold in which a row is predicted; by default five that are drawn by groups.
    groups : sequence of str, length n, optional
        What must not lie in two folds; by default every row is its own.
    columns : sequence of str
    parameters : mapping, optional
        ``n_trees``, ``max_depth`` and ``eta``, where they are not those of `AV_PARAMETERS`.
    seed, n_threads : int

    Raises
    ------
    UsageError
        A parameter is unknown or out of range, lengths differ, a target is missing, there are fewer than two
        folds, or a group lies in two.
    SchemaError
        Columns are missing, or annotations are among them.
    """
    refuse_annotations(columns)
    settings = _settings(parameters or {})
    threads = {"seed": seed, "nthread": n_threads}
    X = _selected(table.values, table.columns, columns)
    y = _targets(table, arousal, valence)
    names = list(groups) if groups is not None else list(table.ids)
    fold_of = _folds(y, names, folds, seed)
    predicted, means = np.empty_like(y), np.empty_like(y)
    for fold in np.unique(fold_of):
        held = fold_of == fold
        model = _fit(X[~held], y[~held], tuple(columns), settings, threads)
        predicted[held] = model.predict(X[held], columns)
        means[held] = y[~held].mean(axis=0)
    return AVTraining(
        model=_fit(X, y, tuple(columns), settings, threads),
        ids=table.ids,
        folds=fold_of,
        annotated=y,
        out_of_fold=predicted,
        scores={target: _scores(y[:, place], predicted[:, place]) for place, target in enumerate(TARGETS)},
        baseline={target: _scores(y[:, place], means[:, place]) for place, target in enumerate(TARGETS)},
    )


def _selected(X: NDArray[Any], have: Sequence[str], wanted: Sequence[str]) -> NDArray[np.float32]:
    """The wanted columns, in their order."""
    if X.ndim != 2 or X.shape[1] != len(have):
        raise SchemaError(
            f"the rows have shape {X.shape} for {len(have)} column names; expected one per column."
        )
    place = {name: index for index, name in enumerate(have)}
    if missing := [name for name in wanted if name not in place]:
        raise SchemaError(
            f"{len(missing)} columns are missing: {', '.join(missing)}. Expected those of the feature set common22. "
            "Extract it."
        )
    rows = np.asarray(X[:, [place[name] for name in wanted]], dtype=np.float32)
    if np.isinf(rows).any():
        raise InputError(
            f"{int(np.isinf(rows).any(axis=1).sum())} rows hold infinite values. Expected numbers, or NaN for what "
            "is missing. Extract them again."
        )
    return rows


def _targets(table: FeatureTable, arousal: ArrayLike, valence: ArrayLike) -> Floats:
    columns = [np.asarray(values, dtype=np.float64) for values in (arousal, valence)]
    lengths = {len(values) for values in columns} | {len(table)}
    if len(lengths) > 1:
        raise UsageError(
            f"the table has {len(table)} rows, arousal {len(columns[0])} and valence {len(columns[1])}; expected as "
            "many of each. Give them in the order of the table's ids."
        )
    y: Floats = np.column_stack(columns)
    bad = ~np.isfinite(y).all(axis=1)
    if bad.any():
        first = table.ids[int(np.argmax(bad))]
        raise UsageError(
            f"{int(bad.sum())} rows have no arousal or valence, the first is `{first}`. Leave them out."
        )
    return y


def _folds(y: Floats, groups: Sequence[str], folds: ArrayLike | None, seed: int) -> NDArray[np.int64]:
    if len(groups) != len(y):
        raise UsageError(f"{len(groups)} groups were given for {len(y)} rows; expected one each.")
    if folds is None:
        strata = np.searchsorted(np.quantile(y[:, 0], np.linspace(0, 1, N_STRATA + 1)[1:-1]), y[:, 0])
        fold_of = np.asarray(balanced_folds(strata, groups, N_FOLDS, seed=seed), dtype=np.int64)
    else:
        fold_of = np.asarray(folds, dtype=np.int64)
    if len(fold_of) != len(y) or len(np.unique(fold_of)) < 2:
        raise UsageError(
            f"{len(fold_of)} rows in {len(np.unique(fold_of))} folds were given for {len(y)} rows; expected a fold for "
            "each row and at least two folds. Add songs of other artists."
        )
    of_group: dict[str, int] = {}
    for group, fold in zip(groups, fold_of.tolist(), strict=True):
        if of_group.setdefault(group, fold) != fold:
            raise UsageError(
                f"group `{group}` lies in two folds, so it would be scored on what it trained. Draw others."
            )
    return fold_of


def _settings(changes: Mapping[str, Any]) -> dict[str, Any]:
    """`AV_PARAMETERS` with what was asked for."""
    for name, value in changes.items():
        if name not in _CHANGEABLE:
            raise UsageError(
                f"arousal and valence have no parameter `{name}`; expected some of {', '.join(_CHANGEABLE)}. Leave it "
                "out."
            )
        kind, low, high = _CHANGEABLE[name]
        number = isinstance(value, int | kind) and not isinstance(value, bool)
        if not number or not low <= value <= high:
            raise UsageError(f"`{name}` is {value!r}, expected {kind.__name__} from {low:g} to {high:g}.")
    return {**AV_PARAMETERS, **changes}


def _fit(
    X: NDArray[np.float32],
    y: Floats,
    columns: tuple[str, ...],
    settings: Mapping[str, Any],
    threads: Mapping[str, int],
) -> AVModel:
    import xgboost

    own = {name: value for name, value in settings.items() if name != "n_trees"}
    boosters = {
        target: xgboost.train(
            {**own, **threads}, _matrix(X, y[:, place]), num_boost_round=settings["n_trees"]
        )
        for place, target in enumerate(TARGETS)
    }
    ranges = {
        target: (float(low), float(high))
        for target, low, high in zip(TARGETS, y.min(0), y.max(0), strict=True)
    }
    return AVModel(columns, ranges, boosters, settings)


def _matrix(X: NDArray[np.float32], y: Floats | None = None) -> Any:
    import xgboost

    return xgboost.DMatrix(X, label=y, missing=np.nan, nthread=1)


def _scores(annotated: Floats, predicted: Floats) -> dict[str, float]:
    error = predicted - annotated
    total = float(np.square(annotated - annotated.mean()).sum())
    squared = float(np.square(error).sum())
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": math.sqrt(squared / len(error)),
        "r2": 1 - squared / total if total > 0 else math.nan,
    }


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
