"""`earmark evaluate market --drift`: whether the newest rows are still those that a run was trained for.

What was, is the training windows' last rows (at most 50 000) and the predictions of the test part, which the run keeps:
predictions of rows that a model learned from are surer than any later ones. What is, is the newest stored rows (at most
10 000, at least half of them) and what the model says of them. Inputs and predictions are looked at, sealed or not;
accuracy counts labels alone that lie behind the sealed period.

The history is ``drift.jsonl`` in the folder of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.windows import SeriesTable, Windows, make_windows
from earmark.errors import UsageError
from earmark.evaluation.drift import (
    BASELINE_ROWS,
    WINDOW_ROWS,
    Drift,
    append_history,
    assess,
    latest,
    read_history,
)
from earmark.tasks.market.prepare import FOLDER, Prepared, data_folder, load_prepared
from earmark.tasks.market.serving.model import ServedModel, dataset_record, served_model
from earmark.tasks.market.serving.series import joined_series
from earmark.tasks.market.serving.stored import stored_series

if TYPE_CHECKING:
    from earmark.training.runs import Run

__all__ = ["HISTORY_FILE", "DriftFound", "drift", "drift_rows"]

HISTORY_FILE = "drift.jsonl"


@dataclass(frozen=True, eq=False)
class DriftFound:
    """An assessment.

    Attributes
    ----------
    drift : Drift
    baseline_rows, window_rows : int
    first_ms, last_ms : int
        Of the newest rows.
    n_history : int
        Assessments kept of this run, this one included.
    """

    drift: Drift
    baseline_rows: int
    window_rows: int
    first_ms: int
    last_ms: int
    n_history: int

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        counts = {
            "baseline_rows": self.baseline_rows,
            "window_rows": self.window_rows,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "n_history": self.n_history,
        }
        return counts | self.drift.to_json()

    def sentence(self) -> str:
        """What was found, for readers."""
        found = self.drift
        drifting = sum(feature.drifted for feature in found.features)
        tested = sum(not np.isnan(feature.p) for feature in found.features)
        drop = "" if found.accuracy_drop is None else f", accuracy fell by {found.accuracy_drop:.1%}"
        return (
            f"Drift is {found.severity}: {drifting} of {tested} tested features moved, the predictions' stability "
            f"index is {found.psi:.3f}{drop} ({self.window_rows} newest rows against {self.baseline_rows})."
        )


def drift(project: str | Path, run: Run, *, window: int = WINDOW_ROWS) -> DriftFound:
    """Compare the newest rows with those of the training, and add it to the history of the run.

    Parameters
    ----------
    project : path
    run : Run
    window : int
        Newest rows; half of them must be there.

    Raises
    ------
    UsageError
        There are too few rows, or the training data are no longer stored as they were.
    """
    model, prepared = served_model(run), load_prepared(project)
    if prepared.hash != run.config["hashes"]["series"]:
        raise UsageError(
            f"`{run.name}` was trained on other rows than those that are prepared, so there is nothing to compare "
            "with. Prepare the same data again, or train on these: earmark train market"
        )
    baseline = _by_time(prepared.train)[-BASELINE_ROWS:]
    newest = _newest(project, model, prepared, window)
    chosen = _by_time(newest)
    chosen = latest(chosen, window)
    then, now = _rows(prepared.train, baseline), newest.take(np.sort(chosen))
    said_then = run.part("test")
    found = assess(
        then,
        now.last_rows(),
        model.columns,
        predictions=(
            said_then.select(
                [name for name in said_then.columns if name.startswith("probability_")]
            ).to_numpy(),
            model.classifier.predict(now).probabilities,
        ),
        accuracies=_accuracies(project, run, model, now),
    )
    path = run.path / HISTORY_FILE
    append_history(path, found, run=run.name, time=datetime.now(UTC).isoformat(timespec="seconds"))
    times = now.time_ms
    return DriftFound(found, len(then), len(now), int(times.min()), int(times.max()), len(read_history(path)))


def drift_rows(found: Drift) -> list[dict[str, Any]]:
    """A row per feature, the most surely drifted first."""
    return [
        {
            "feature": feature.feature,
            "ks": feature.statistic,
            "p": feature.p,
            "q": feature.q,
            "effective_rows": feature.effective,
            "drifted": feature.drifted,
        }
        for feature in found.features
    ]


def _by_time(windows: Windows) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Positions of the windows in order of time."""
    return np.argsort(windows.time_ms, kind="stable")


def _rows(windows: Windows, positions: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, Any]:
    """Last rows of the windows, in order of symbol and time, so that neighbours of a row are its own."""
    return windows.take(np.sort(positions)).last_rows()


def _newest(project: str | Path, model: ServedModel, prepared: Prepared, window: int) -> Windows:
    """Windows that end in about the newest `window` rows of the trained symbols, and can be predicted."""
    source, store = prepared.record["source"], data_folder(project) / "feature_store"
    symbols = prepared.record["symbols"]
    table = _joined(stored_series(model, store, source["group"], symbols, newest=window))
    windows = make_windows(table, model.window, labelled=False)
    if not len(windows):
        raise UsageError(
            f"Insufficient data: no window of {model.window} rows without a gap among the newest. Collect more data."
        )
    return windows.take(model.classifier.usable(windows))


def _joined(tables: list[SeriesTable]) -> SeriesTable:
    return tables[0] if len(tables) == 1 else joined_series(tables)


def _accuracies(
    project: str | Path, run: Run, model: ServedModel, now: Windows
) -> tuple[float, float] | None:
    """Of the test part, and of rows behind the sealed period that are labelled; None without such rows."""
    import polars as pl

    from earmark.data.time_seal import SealedPeriod
    from earmark.store.label_sets import LabelSets

    source, data = dataset_record(run)["source"], data_folder(project)
    bounds = SealedPeriod(data / FOLDER).bounds
    after = now.take(now.time_ms > bounds.last_ms) if bounds is not None else now
    if not len(after):
        return None
    name = f"future_direction_{model.horizon_s}s"
    labels = LabelSets(data / "feature_store").scan(
        source["label_set"], start=int(after.time_ms.min()), columns=[name]
    )
    keys = pl.DataFrame(
        {
            "symbol": np.array(after.table.symbols)[after.symbol],
            "timestamp": after.time_ms,
            "answer": model.classifier.predict(after).direction,
        }
    )
    graded = keys.join(labels.collect(), on=("symbol", "timestamp")).drop_nulls()
    if not len(graded):
        return None
    accuracy = float((graded["answer"] == graded[name].cast(pl.Int64)).sum()) / len(graded)
    return float(run.metrics["accuracy"]["value"]), accuracy
