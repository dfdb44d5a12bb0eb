"""Fitting a model on columns: one classifier per device, calibrated on windows that it did not learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.features.table import FeatureTable
from earmark.models.classifier import Classifier
from earmark.models.estimator import Floats
from earmark.models.multilabel import OFF_ON, fit_multilabel
from earmark.models.platt import Platt
from earmark.tasks.appliance.layers import ColumnsLayer, with_derived
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.settings import ESTIMATORS, TrainSettings

if TYPE_CHECKING:
    from earmark.features.group import FeatureGroup

__all__ = ["ColumnsFit", "chosen_columns", "fit_columns", "fit_platt", "taken"]

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ColumnsFit:
    """A fitted layer, its training loss and the rounds that each device's estimator kept."""

    layer: ColumnsLayer
    train_loss: float
    lengths: dict[str, int | None]


def fit_columns(
    rows: Rows,
    table: FeatureTable,
    train: Ints,
    select: Ints,
    settings: TrainSettings,
    groups: Sequence[FeatureGroup],
    lengths: dict[str, int | None] | None = None,
) -> ColumnsFit:
    """Fit on the rows `train`, not calibrated yet.

    Parameters
    ----------
    table : FeatureTable
        Features of all rows, aligned with them.
    select : ndarray of int
        Rows on which estimators with rounds choose their length; may be empty.
    lengths : dict, optional
        Device -> rounds, where they are known already.
    """
    floor = rows.floor_dbfs(train) if settings.kind.needs_floor else None
    shown = with_derived(table, floor)
    chosen = shown.select(chosen_columns(shown.columns, settings))
    y = rows.y
    has_rounds_to_choose = len(select) > 0 and lengths is None and settings.estimator != "mean"
    model = fit_multilabel(
        lambda device: _classifier(settings, device, rows, train, (lengths or {}).get(device)),
        chosen.values[train],
        y[train],
        chosen.columns,
        rows.devices.names,
        weights=_weights(rows, train, settings),
        validation=(chosen.values[select], y[select]) if has_rounds_to_choose else None,
    )
    layer = ColumnsLayer(model, tuple(groups), floor)
    return ColumnsFit(layer, _log_loss(y[train], layer.raw(taken(table, train))), model.length)


def fit_platt(rows: Rows, positions: Ints, raw: Floats, settings: TrainSettings) -> tuple[Platt, ...]:
    """A scaling per device from windows that the model did not learn from, recordings counting the same."""
    weights = rows.effective(positions)[:, None] * rows.heard(positions, settings.masked_loss)
    y = rows.y[positions]
    return tuple(Platt.fit(raw[:, k], y[:, k], weights[:, k]) for k in range(y.shape[1]))


def chosen_columns(columns: Sequence[str], settings: TrainSettings) -> tuple[str, ...]:
    """Those that the model takes of what its feature set gives; each device's classifier may leave out more."""
    kind = settings.kind
    if not kind.columns or settings.features is not None:
        return tuple(columns)
    missing = [name for name in kind.columns if name not in columns]
    if missing:
        raise UsageError(
            f"`{settings.model}` reads {', '.join(missing)}, which needs windows with every device off. Record some, "
            "or choose --model spectral."
        )
    return kind.columns


def _classifier(
    settings: TrainSettings, device: str, rows: Rows, train: Ints, length: int | None
) -> Classifier:
    kind, name = settings.kind, ESTIMATORS[settings.estimator]
    is_hidden = any(hidden == device for _, hidden in rows.devices.masks)
    leave_out = kind.leave_out + (kind.leave_out_hidden if is_hidden else ())
    c = settings.c if settings.c is not None else kind.c
    evidence = len(np.unique(rows.recordings[train])) / len(train) if kind.counts_recordings else 1.0
    of_estimator: dict[str, dict[str, Any]] = {
        "logistic": {"strength": c * evidence / 2, "max_iterations": kind.max_iterations},
        "xgboost": {"seed": settings.seed, **kind.trees, **settings.trees},
    }
    params = of_estimator[name] if name in of_estimator else _mean_of(of_estimator)
    model = Classifier.make(name, classes=OFF_ON, preprocess={"leave_out": leave_out}, **params)
    if length is not None:
        model.estimator = model.estimator.with_length(length)
    return model


def _mean_of(members: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Parameters of the ensemble of these, which count the same."""
    own = {f"{member}__{name}": value for member, given in members.items() for name, value in given.items()}
    return {"members": tuple(members), "weights": (1.0,) * len(members), **own}


def _weights(rows: Rows, train: Ints, settings: TrainSettings) -> Doubles:
    """Of each window for each device: recordings alike, masked ones less, on and off alike where it is asked for."""
    y, weights = rows.y[train], np.repeat(rows.equal_recordings(train)[:, None], len(rows.devices), axis=1)
    if settings.kind.balanced:
        weights = np.column_stack([_independent(y, k, weights[:, k]) for k in range(y.shape[1])])
    weights = weights * rows.heard(train, settings.masked_loss)
    if settings.kind.balanced:
        weights = np.column_stack([_even(y[:, k] == 1, weights[:, k]) for k in range(y.shape[1])])
    return weights


def _independent(y: Ints, k: int, weights: Doubles) -> Doubles:
    """Device k as often on as off whatever the others do, so that they tell nothing of it, as sources do not."""
    others = np.delete(y, k, axis=1)
    _, cell = np.unique(others, axis=0, return_inverse=True)
    found = weights.copy()
    for number in range(int(cell.max()) + 1):
        rows = cell.ravel() == number
        found[rows] = _even(y[rows, k] == 1, weights[rows])
    return found


def _even(on: npt.NDArray[np.bool_], weights: Doubles) -> Doubles:
    """On and off scaled to half of the sum each; as they are where one of them is missing."""
    n_on, n_off = float(weights[on].sum()), float(weights[~on].sum())
    if not n_on or not n_off:
        return weights
    half = (n_on + n_off) / 2
    return np.where(on, weights * half / n_on, weights * half / n_off)


def _log_loss(y: Ints, p: Floats) -> float:
    inside = np.clip(p.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(-np.mean(np.where(y == 1, np.log(inside), np.log1p(-inside))))


def taken(table: FeatureTable, rows: Ints) -> FeatureTable:
    """The rows of a table at these positions, arrays included."""
    ids = tuple(table.ids[i] for i in rows)
    arrays = {name: [kept[i] for i in rows] for name, kept in table.arrays.items()}
    return FeatureTable(ids, table.columns, table.values[rows], arrays=arrays)
