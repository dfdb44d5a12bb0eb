"""Fitting the folds of a protocol, and the final model: the steps of a training, whatever the model is.

A fold learns on its ``train`` windows, without those that were trimmed as too loud; it chooses its length and its Platt
scaling on its ``select`` windows, which come from the same side; and gives its probabilities of its ``score`` windows,
which nothing of it has seen. Floors, scalings and weights are of the training windows.

The final model learns on every unsealed window for the median of the folds' lengths, and is calibrated on what the
folds said of windows that they had not seen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from earmark.features.table import FeatureTable
from earmark.models.estimator import Floats
from earmark.models.platt import Platt
from earmark.tasks.appliance.layers import Layer
from earmark.tasks.appliance.protocols import Fold
from earmark.tasks.appliance.training.columns import fit_platt, taken
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.settings import TrainSettings

__all__ = ["Fit", "Fitted", "FoldResult", "OutOfFold", "final_model", "fit_folds", "taught"]

Ints = npt.NDArray[np.int64]
OnEvent = Callable[[dict[str, Any]], None]

FOLD_FILE = "fold.json"


@dataclass(frozen=True)
class Fitted:
    """What a fit gave: the layer, not calibrated, its loss on the training windows, rounds or epochs kept."""

    layer: Layer
    train_loss: float
    lengths: Mapping[str, int | None] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()


class Fit(Protocol):
    """Fits a layer. `select` chooses its length unless `lengths` are given; `work` keeps an unfinished fit's state."""

    def __call__(
        self, train: Ints, select: Ints, *, lengths: Mapping[str, int | None] | None, work: Path | None
    ) -> Fitted: ...


@dataclass(frozen=True)
class FoldResult:
    """A fold, its calibrated layer, and its raw probabilities of the windows it scores."""

    fold: Fold
    fitted: Fitted
    layer: Layer
    raw: Floats
    selected: Floats
    """Calibrated probabilities of its ``select`` windows."""

    @property
    def p(self) -> Floats:
        """Calibrated probabilities of the windows that it scores."""
        return self.layer.calibrate(self.raw)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """All folds. `positions` are the windows that were scored, in the rows' order; the other arrays follow them."""

    results: tuple[FoldResult, ...]
    positions: Ints
    fold: Ints
    raw: Floats
    p: Floats


def fit_folds(
    rows: Rows,
    table: FeatureTable,
    folds: Sequence[Fold],
    fit: Fit,
    settings: TrainSettings,
    *,
    work: Path | None = None,
    on_event: OnEvent | None = None,
    load: Callable[[Path], Layer] | None = None,
) -> OutOfFold:
    """Fit and score every fold; a fold that an interrupted training had finished is read back from `work`."""
    results = []
    for number, fold in enumerate(folds):
        place = None if work is None else work / f"fold-{number}"
        fitted = _kept(place, load)
        if fitted is None:
            train, select = taught(rows, fold.train), taught(rows, fold.select)
            fitted = _keep(place, fit(train, select, lengths=None, work=place))
        results.append(_scored(rows, table, fold, fitted, settings))
        if on_event is not None:
            on_event({"event": "fold", "name": fold.name, "train_loss": fitted.train_loss})
    return _joined(rows, results)


def final_model(
    rows: Rows, out: OutOfFold, fit: Fit, settings: TrainSettings, *, work: Path | None = None
) -> tuple[Fitted, Layer]:
    """The model of all unsealed windows, calibrated on the folds' raw probabilities of windows they had not seen."""
    train, nothing = taught(rows, np.arange(len(rows))), np.empty(0, np.int64)
    place = None if work is None else work / "final"
    fitted = fit(train, nothing, lengths=_median_lengths(out), work=place)
    return fitted, fitted.layer.with_calibration(_calibration(rows, out, settings))


def _calibration(rows: Rows, out: OutOfFold, settings: TrainSettings) -> tuple[Platt, ...]:
    kept = rows.is_known[out.positions] & ~rows.outlier[out.positions]
    return fit_platt(rows, out.positions[kept], out.raw[kept], settings)


def _scored(
    rows: Rows, table: FeatureTable, fold: Fold, fitted: Fitted, settings: TrainSettings
) -> FoldResult:
    select = taught(rows, fold.select)
    said = fitted.layer.raw(taken(table, select))
    layer = (
        fitted.layer.with_calibration(fit_platt(rows, select, said, settings))
        if len(select)
        else fitted.layer
    )
    raw = fitted.layer.raw(taken(table, fold.score))
    return FoldResult(fold, fitted, layer, raw, layer.calibrate(said))


def _joined(rows: Rows, results: Sequence[FoldResult]) -> OutOfFold:
    positions = np.concatenate([result.fold.score for result in results])
    order = np.argsort(positions, kind="stable")
    number = np.concatenate([np.full(len(result.fold.score), i) for i, result in enumerate(results)])
    raw, p = (
        np.concatenate([result.raw for result in results]),
        np.concatenate([result.p for result in results]),
    )
    return OutOfFold(tuple(results), positions[order], number[order].astype(np.int64), raw[order], p[order])


def taught(rows: Rows, positions: Ints) -> Ints:
    """Those that teach: of known truth, and not trimmed."""
    kept: Ints = positions[rows.is_known[positions] & ~rows.outlier[positions]]
    return kept


def _median_lengths(out: OutOfFold) -> dict[str, int | None]:
    """Device -> median of what the folds kept, the lower of two middles; None where a model has no rounds."""
    found: dict[str, int | None] = {}
    for name in out.results[0].fitted.lengths:
        lengths = [result.fitted.lengths[name] for result in out.results]
        known = sorted(length for length in lengths if length is not None)
        found[name] = known[(len(known) - 1) // 2] if known else None
    return found


def _keep(place: Path | None, fitted: Fitted) -> Fitted:
    """Write a finished fold, its own file last: what has it is whole."""
    if place is not None:
        done = place / "done"
        done.mkdir(parents=True, exist_ok=True)
        fitted.layer.save(done)
        record = {
            "train_loss": fitted.train_loss,
            "lengths": dict(fitted.lengths),
            "history": [dict(entry) for entry in fitted.history],
        }
        partial = done / f"{FOLD_FILE}.partial"
        partial.write_text(json.dumps(record), encoding="utf-8")
        partial.replace(done / FOLD_FILE)
    return fitted


def _kept(place: Path | None, load: Callable[[Path], Layer] | None) -> Fitted | None:
    if place is None or load is None or not (place / "done" / FOLD_FILE).is_file():
        if place is not None:
            shutil.rmtree(place / "done", ignore_errors=True)
        return None
    record = json.loads((place / "done" / FOLD_FILE).read_text(encoding="utf-8"))
    return Fitted(load(place / "done"), record["train_loss"], record["lengths"], record["history"])
