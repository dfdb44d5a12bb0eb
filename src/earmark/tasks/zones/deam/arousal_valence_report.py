"""What a training of arousal and valence leaves to read: scores, tables and two figures beside the model.

``training_report.json``
    Scores and those of the mean, out of fold; columns, ranges.
``out_of_fold.csv``
    A row per song: fold, annotations (``ann.``) and estimates (``est.``), never under one name.
``feature_importance.csv``, ``feature_importance.png``
    Share of each column in the gain of the trees, the most important first.
``scatter.png``
    Estimates against annotations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.evaluation.tables import csv_text
from earmark.tasks.zones.deam.arousal_valence import TARGETS, AVModel, AVTraining

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["REPORT_FILE", "write_av"]

REPORT_FILE = "training_report.json"
_ACCENT, _WARM, _MUTED = "#3f7fbf", "#d98032", "#8a94a3"


def write_av(
    training: AVTraining, folder: str | Path, *, about: Mapping[str, Any] | None = None
) -> tuple[Path, ...]:
    """Write model, report, tables and figures; `about` is added to the report. Returns the paths."""
    from earmark.evaluation.plots import save_png

    folder = Path(folder)
    training.model.save(folder)
    importance = _importance_rows(training.model)
    report = {
        "n": len(training.ids),
        "n_folds": len(np.unique(training.folds)),
        "columns": training.model.columns,
        "ranges": training.model.ranges,
        "scores": _without_nan(training.scores),
        "baseline": _without_nan(training.baseline),
        **(about or {}),
    }
    write_bytes_atomic(folder / REPORT_FILE, (json.dumps(report, indent=1) + "\n").encode())
    write_bytes_atomic(folder / "feature_importance.csv", csv_text(importance).encode())
    write_bytes_atomic(folder / "out_of_fold.csv", csv_text(_out_of_fold_rows(training)).encode())
    save_png(_scatter_figure(training), folder / "scatter.png")
    save_png(_importance_figure(importance), folder / "feature_importance.png")
    return tuple(sorted(path for path in folder.iterdir() if path.is_file()))


def _without_nan(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    return {
        target: {name: None if math.isnan(value) else value for name, value in of.items()}
        for target, of in scores.items()
    }


def _importance_rows(model: AVModel) -> list[dict[str, Any]]:
    """A row per column, the most important first: its share of the gain, on average and by target."""
    shares = model.importance()
    rows = [
        {
            "feature": name,
            "importance": float(np.mean([shares[target][place] for target in TARGETS])),
            **{target: float(shares[target][place]) for target in TARGETS},
        }
        for place, name in enumerate(model.columns)
    ]
    return sorted(rows, key=lambda row: -row["importance"])


def _out_of_fold_rows(training: AVTraining) -> list[dict[str, Any]]:
    return [
        {
            "id": id,
            "fold": int(fold),
            **{f"ann.{target}": value for target, value in zip(TARGETS, annotated.tolist(), strict=True)},
            **{f"est.{target}": value for target, value in zip(TARGETS, predicted.tolist(), strict=True)},
        }
        for id, fold, annotated, predicted in zip(
            training.ids, training.folds, training.annotated, training.out_of_fold, strict=True
        )
    ]


def _scatter_figure(training: AVTraining) -> Figure:
    """Out-of-fold estimates against annotations, one panel per target, with the diagonal."""
    figure = _figure(8.0, 4.0)
    for place, target in enumerate(TARGETS):
        axes = figure.add_subplot(1, 2, place + 1)
        low, high = training.model.ranges[target]
        axes.plot([low, high], [low, high], linestyle="--", color=_MUTED, linewidth=1)
        axes.scatter(
            training.annotated[:, place], training.out_of_fold[:, place], s=9, alpha=0.5, color=_ACCENT
        )
        score = training.scores[target]
        axes.set(xlabel=f"annotated {target}", ylabel=f"estimated {target}, out of fold")
        axes.set_title(f"MAE {score['mae']:.2f}, RMSE {score['rmse']:.2f}, R² {score['r2']:.2f}", fontsize=10)
    return figure


def _importance_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Share of each column in the gain of the trees, one bar per target."""
    figure = _figure(6.4, 0.9 + 0.3 * len(rows))
    axes = figure.subplots()
    place = np.arange(len(rows))[::-1]
    for offset, target, colour in zip((0.2, -0.2), TARGETS, (_WARM, _ACCENT), strict=True):
        axes.barh(place + offset, [row[target] for row in rows], height=0.38, label=target, color=colour)
    axes.set_yticks(place, [row["feature"].rpartition(".")[2] for row in rows], fontsize=8)
    axes.set(xlabel="share of the gain of all trees")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
