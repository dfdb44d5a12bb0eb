"""What a model is measured against on the same windows: the level of a window, and small models fitted anew.

The level rule is that of `earmark.tasks.appliance.training.level_rule`. The small models are fitted as the run was, on
the same folds with the settings they have by default, and asked of the same windows; of the sealed test their final
models are. Everything here reads features from the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError, RunError
from earmark.tasks.appliance.evaluation.scored import Scored, features_of, settings_of
from earmark.tasks.appliance.protocols import Fold
from earmark.tasks.appliance.training.baselines import columns_fit
from earmark.tasks.appliance.training.columns import taken
from earmark.tasks.appliance.training.folds import final_model, fit_folds, taught
from earmark.tasks.appliance.training.level_rule import level_baseline
from earmark.tasks.appliance.training.rows import Rows, read_rows
from earmark.tasks.appliance.training.settings import BASELINES, MODELS, TrainSettings
from earmark.tasks.appliance.training.train import planned_folds

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["LEVEL_RULE", "RIVALS", "LevelRuleScores", "Rival", "level_rule", "rival", "rival_names"]

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVEL_RULE = "rms"
RIVALS = ("level", *BASELINES)


@dataclass(frozen=True, eq=False)
class Rival:
    """Probabilities of the scored windows, shape (n, n_devices); `undefined` says why there are none."""

    name: str
    p: Doubles | None
    undefined: str = ""


@dataclass(frozen=True, eq=False)
class LevelRuleScores:
    """The level rule: its answers as probabilities of 0 and 1, and per part the table that `level_baseline` gives."""

    rival: Rival
    rows: tuple[dict[str, Any], ...]


def rival_names(scored: Scored) -> tuple[str, ...]:
    """The small models, without the one that is scored itself."""
    own = settings_of(scored.run)
    is_plain = own.estimator == "logistic" and own.features is None
    return tuple(name for name in RIVALS if name != own.model or not is_plain)


def level_rule(project: Project, scored: Scored) -> LevelRuleScores:
    """A threshold on the level, fitted on the recordings that each fold did not score, or on all that is not sealed.

    Windows that were trimmed take no part in its table, as in the reference; they are answered all the same.
    """
    training = read_rows(project, settings_of(scored.run).only_device)
    joined = _joined(training, scored.rows)
    files = [*training.recordings.tolist(), *scored.files.tolist()]
    p = np.zeros((len(scored), len(scored.devices)))
    rows, undefined = [], ""
    for number, fit in _fitted_on(scored, training):
        asked = np.flatnonzero(scored.fold == number)
        part = {"fold": scored.fold_names[number]}
        try:
            found = level_baseline(
                joined.rms,
                joined.y,
                files,
                fit,
                taught(joined, len(training) + asked),
                joined.devices,
            )
        except ValueError as problem:
            undefined = str(problem)
            rows.append(part | {"undefined": undefined})
            continue
        rows.append(part | found)
        limits = np.array([found[name]["threshold"] for name in scored.devices.names])
        p[asked] = scored.rows.rms[asked, None] > limits
    return LevelRuleScores(Rival(LEVEL_RULE, None if undefined else p, undefined), tuple(rows))


def rival(project: Project, scored: Scored, name: str) -> Rival:
    """Fit a small model as the run was fitted, and ask it of the scored windows."""
    try:
        return Rival(name, _asked(project, scored, settings_of(scored.run).small(name)))
    except EarmarkError as problem:
        return Rival(name, None, str(problem))


def _asked(project: Project, scored: Scored, settings: TrainSettings) -> Doubles:
    features = project.task.features(MODELS[settings.model].features)
    rows = read_rows(project, settings.only_device)
    table = features_of(project, features.groups, rows)
    fit = columns_fit(rows, table, features.groups, settings)
    out = fit_folds(rows, table, planned_folds(rows, settings), fit, settings)
    if scored.split == "val":
        return _in_order(scored, [rows.table["id"][int(at)] for at in out.positions], out.p)
    _, layer = final_model(rows, out, fit, settings)
    asked = features_of(project, features.groups, scored.rows)
    p: Doubles = layer.calibrate(layer.raw(taken(asked, np.arange(len(scored))))).astype(np.float64)
    return p


def _in_order(scored: Scored, ids: Sequence[str], p: npt.NDArray[np.float32]) -> Doubles:
    at = {id: position for position, id in enumerate(ids)}
    if at.keys() != set(scored.ids):
        raise RunError(
            f"the folds of `{scored.run.name}` score other windows now ({len(at)}, then {len(scored)}). Train again."
        )
    return p[[at[id] for id in scored.ids]].astype(np.float64)


def _fitted_on(scored: Scored, training: Rows) -> list[tuple[int, Ints]]:
    """Per part the training rows that the rule is fitted on."""
    if scored.split == "test":
        return [(0, taught(training, np.arange(len(training))))]
    folds = planned_folds(training, settings_of(scored.run))
    return [(number, _side(training, fold)) for number, fold in enumerate(folds)]


def _side(training: Rows, fold: Fold) -> Ints:
    """All windows of the other recordings; where a fold divides recordings, those that it trains and selects on."""
    others = np.flatnonzero(~np.isin(training.recordings, training.recordings[fold.score]))
    return taught(training, others if len(others) else np.union1d(fold.train, fold.select))


def _joined(training: Rows, scored: Rows) -> Rows:
    """Training rows, then the scored ones."""
    import polars as pl

    names = ["id", "recording_id", "rms", "outlier", *training.devices.names]
    return Rows(
        pl.concat([training.table.select(names), scored.table.select(names)]), training.room, training.devices
    )
