"""What stands beside every model, on the same folds and windows: the level of a window, and three small models.

A large model must earn its weights here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from earmark.errors import EarmarkError
from earmark.features.table import FeatureTable
from earmark.tasks.appliance.protocols import Fold
from earmark.tasks.appliance.training.columns import fit_columns
from earmark.tasks.appliance.training.folds import Fitted, fit_folds, taught
from earmark.tasks.appliance.training.level_rule import level_baseline
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.scoring import metrics_of
from earmark.tasks.appliance.training.settings import BASELINES, MODELS, TrainSettings

__all__ = ["baseline_rows", "columns_fit"]

Extract = Callable[[str], tuple[FeatureTable, tuple[Any, ...]]]
"""Feature set -> its table, aligned with the rows, and its groups."""


def baseline_rows(
    rows: Rows, folds: Sequence[Fold], settings: TrainSettings, extract: Extract
) -> list[dict[str, Any]]:
    """One row per baseline: its scores over all folds and, under ``folds``, of each.

    ``rms`` has per fold what the level rule's own table has; a baseline that cannot be fitted says why.
    """
    found = [_level_row(rows, folds)]
    for name in BASELINES:
        if name != settings.model:
            found.append(_model_row(name, rows, folds, settings, extract))
    return found


def columns_fit(
    rows: Rows, table: FeatureTable, groups: Sequence[Any], settings: TrainSettings
) -> Callable[..., Fitted]:
    """The `Fit` of a model on columns."""

    def fit(train: Any, select: Any, *, lengths: Any = None, work: Any = None) -> Fitted:
        done = fit_columns(rows, table, train, select, settings, groups, lengths)
        return Fitted(done.layer, done.train_loss, done.lengths)

    return fit


def _level_row(rows: Rows, folds: Sequence[Fold]) -> dict[str, Any]:
    scored = []
    for fold in folds:
        fitted = np.union1d(fold.train, fold.select)
        fit, score = taught(rows, fitted), taught(rows, fold.score)
        try:
            found = level_baseline(rows.rms, rows.y, rows.recordings.tolist(), fit, score, rows.devices)
        except ValueError as problem:
            found = {"undefined": str(problem)}
        scored.append({"fold": fold.name} | found)
    return {"name": "rms", "folds": scored}


def _model_row(
    name: str, rows: Rows, folds: Sequence[Fold], settings: TrainSettings, extract: Extract
) -> dict[str, Any]:
    own = settings.small(name)
    try:
        table, groups = extract(MODELS[name].features)
        out = fit_folds(rows, table, folds, columns_fit(rows, table, groups, own), own)
    except EarmarkError as problem:
        return {"name": name, "undefined": str(problem)}
    metrics = metrics_of(rows, out)
    of_folds = [
        {"fold": fold.name} | {key: metric["folds"][number] for key, metric in metrics.items()}
        for number, fold in enumerate(folds)
    ]
    return {"name": name, "folds": of_folds} | {key: metric["value"] for key, metric in metrics.items()}
