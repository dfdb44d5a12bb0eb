"""What a training adds to its run where it is asked to: CPCV of its recipe, and the probability of overfitting.

Splits are made of the training and validation windows; the test part stays what only the gate sees. For PBO the recipe
is compared with the models that a user would otherwise take. The Sharpe ratio is deflated for these configurations and
for the trials of the search that led to the recipe. The whole report lies in the run as ``cpcv.json`` or
``walk_forward.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.data.windows import Windows
from earmark.tasks.market.prepare import CLASSES, data_folder
from earmark.tasks.market.search.state import Folder
from earmark.tasks.market.validation_schemes import (
    Configuration,
    SchemeReport,
    cpcv_report,
    walk_forward_report,
)

if TYPE_CHECKING:
    from earmark.models.sequence.classifier import Scaling
    from earmark.tasks.market.training.train import Fitted

__all__ = ["ALTERNATIVES", "after_training", "alternatives_to", "before_test", "trials_before"]

ALTERNATIVES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "linear": ("logistic", {}),
    "linear, held back": ("logistic", {"strength": 0.01}),
    "shallow trees": ("gbm", {"summary": "last", "max_depth": 2, "n_trees": 60, "early_stopping_rounds": 10}),
    "deep trees": ("gbm", {"summary": "last", "max_depth": 6, "n_trees": 60, "early_stopping_rounds": 10}),
}
"""Name -> model and its parameters. All read the last row alone and are quickly fitted: each split fits each."""


def after_training(fitted: Fitted) -> dict[str, Any]:
    """Run the analyses that the configuration asks for; what is returned is kept in ``run.toml``."""
    config, windows = fitted.config, before_test(fitted.prepared.parts())
    configurations = [Configuration(fitted.recipe.algorithm, lambda: fitted.recipe.make(CLASSES))]
    if config.calculate_pbo:
        configurations += alternatives_to(fitted.recipe.algorithm, fitted.recipe.scaling)
    given: dict[str, Any] = {
        "n_trials": trials_before(fitted.project, fitted.recipe.algorithm),
        "seed": config.seed,
    }
    if config.use_cpcv:
        groups: dict[str, Any] = {"n_groups": config.cpcv_n_splits, "k": config.cpcv_n_test_splits}
        report = cpcv_report(windows, configurations, **groups, **given)
    else:
        report = walk_forward_report(windows, configurations, **given)
    text = json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n"
    write_bytes_atomic(fitted.folder / f"{report.scheme}.json", text.encode())
    return {report.scheme: _summary(report, fitted.recipe.algorithm)}


def before_test(parts: Mapping[str, Windows]) -> Windows:
    """Training and validation windows as one, in order."""
    train = parts["train"]
    ends = np.sort(np.concatenate([train.ends, parts["validation"].ends]))
    return Windows(train.table, ends, train.length)


def alternatives_to(algorithm: str, scaling: Scaling) -> list[Configuration]:
    """Small configurations of other models than `algorithm`, scaled in the same way."""
    from earmark.models.sequence.classifier import SequenceClassifier

    def made(name: str, model: str, params: Mapping[str, Any]) -> Configuration:
        return Configuration(
            name, lambda: SequenceClassifier.make(model, classes=CLASSES, scaling=scaling, **params)
        )

    return [made(name, *of) for name, of in ALTERNATIVES.items() if of[0] != algorithm]


def trials_before(project: str | Path, algorithm: str) -> int:
    """Trials of the project's last search that led to a model of `algorithm`; 0 where there was none.

    A pruned trial was looked at and counts; one that failed, or was interrupted, showed nothing to choose by.
    """
    folder = Folder(data_folder(project) / "hyperopt")
    state = folder.read()
    if state is None or state.request["model_name"] != algorithm:
        return 0
    return sum(row["state"] in ("complete", "pruned") for row in folder.results())


def _summary(report: SchemeReport, name: str) -> dict[str, Any]:
    """Plain numbers of the recipe's own paths, and of the choice among configurations."""
    paths = [path for path in report.paths if path.configuration == name]
    found: dict[str, Any] = {"splits": len(report.splits), "paths": len(paths), "cost": report.cost}
    for score in ("accuracy", "macro_f1"):
        values = [path.scores[score].value for path in paths]
        found |= {f"{score}_mean": float(np.mean(values)), f"{score}_worst": float(np.min(values))}
    selection = report.selection
    found |= {
        "best": selection.best,
        "configurations": selection.n_configurations,
        "trials": selection.n_trials,
        "sharpe": selection.sharpe,
        "deflated_sharpe": selection.deflated_sharpe,
    }
    if selection.pbo is not None:
        found |= {"pbo": selection.pbo, "pbo_band": str(selection.band)}
    return found
