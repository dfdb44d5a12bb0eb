"""What a training adds to its run where it is asked to: CPCV of its recipe, and the probability of overfitting.

Splits are made of the training and validation windows; the test part stays what only the gate sees. For PBO the recipe
is compared with the models that a user would otherwise take. The whole report lies in the run as ``cpcv.json`` or
``walk_forward.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.data.windows import Windows
from earmark.tasks.market.prepare import CLASSES
from earmark.tasks.market.validation_schemes import (
    Configuration,
    SchemeReport,
    cpcv_report,
    walk_forward_report,
)

if TYPE_CHECKING:
    from earmark.tasks.market.training.train import Fitted

__all__ = ["ALTERNATIVES", "after_training", "before_test"]

ALTERNATIVES = ("logistic", "gbm")


def after_training(fitted: Fitted) -> dict[str, Any]:
    """Run the analyses that the configuration asks for; what is returned is kept in ``run.toml``."""
    config, windows = fitted.config, before_test(fitted.prepared.parts())
    configurations = [Configuration(fitted.recipe.algorithm, lambda: fitted.recipe.make(CLASSES))]
    if config.calculate_pbo:
        configurations += _alternatives(fitted)
    if config.use_cpcv:
        report = cpcv_report(
            windows, configurations, n_groups=config.cpcv_n_splits, k=config.cpcv_n_test_splits, seed=config.seed
        )  # fmt: skip
    else:
        report = walk_forward_report(windows, configurations, seed=config.seed)
    text = json.dumps(report.to_json(), indent=1, allow_nan=False) + "\n"
    write_bytes_atomic(fitted.folder / f"{report.scheme}.json", text.encode())
    return {report.scheme: _summary(report, fitted.recipe.algorithm)}


def before_test(parts: Mapping[str, Windows]) -> Windows:
    """Training and validation windows as one, in order."""
    train = parts["train"]
    ends = np.sort(np.concatenate([train.ends, parts["validation"].ends]))
    return Windows(train.table, ends, train.length)


def _alternatives(fitted: Fitted) -> list[Configuration]:
    from earmark.models.sequence.classifier import SequenceClassifier

    def made(name: str) -> Configuration:
        return Configuration(
            name, lambda: SequenceClassifier.make(name, classes=CLASSES, scaling=fitted.recipe.scaling)
        )

    return [made(name) for name in ALTERNATIVES if name != fitted.recipe.algorithm]


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
        "sharpe": selection.sharpe,
        "deflated_sharpe": selection.deflated_sharpe,
    }
    if selection.pbo is not None:
        found |= {"pbo": selection.pbo, "pbo_band": str(selection.band)}
    return found
