"""A sequence model with all that its predictions depend on: columns, scaling, missing values, class names, schema.

Saved as a folder: ``classifier.json``, ``scaler.npz`` (plain arrays; absent for the rolling form and for models that
read book levels) and ``model/``.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.data.windows import Windows
from earmark.errors import InputError, RunError, SchemaError, UsageError
from earmark.models.constraints import Choice, Interval, Parameter, check_parameters
from earmark.models.estimator import Floats, OnEpoch
from earmark.models.sequence import registry
from earmark.models.sequence.base import SequenceEstimator, SequencePrediction
from earmark.models.sequence.scaling import (
    MISSING_POLICIES,
    Scaler,
    complete_windows,
    fit_scaler,
    rolling_normalised,
)

__all__ = ["SCALING_PARAMETERS", "Scaling", "SequenceClassifier"]

FORMAT = 1
"""Version of the layout of ``classifier.json``."""

RECORD, SCALER_FILE, MODEL_FOLDER = "classifier.json", "scaler.npz", "model"

SCALING_PARAMETERS = {
    "form": Parameter(
        "pooled", Choice(("pooled", "per_symbol", "rolling", "none")), "how columns are scaled"
    ),
    "missing": Parameter("drop", Choice(MISSING_POLICIES), "what becomes of windows with missing values"),
    "rolling_window": Parameter(500, Interval(int, 100, 2000), "rows of the rolling form's trailing window"),
    "rolling_statistic": Parameter("median", Choice(("median", "mean")), "centre of the rolling form"),
}


@dataclass(frozen=True)
class Scaling:
    """How columns are scaled and missing values met; the meanings stand in `SCALING_PARAMETERS`."""

    form: str = "pooled"
    missing: str = "drop"
    rolling_window: int = 500
    rolling_statistic: str = "median"

    def __post_init__(self) -> None:
        check_parameters("Scaling", SCALING_PARAMETERS, asdict(self))
        if self.form == "rolling" and self.missing != "drop":
            raise UsageError(
                f"Rolling scaling leaves a segment's first rows without a value, and the policy for missing values is "
                f"{self.missing!r}; expected 'drop'. Choose it, or pooled scaling."
            )


class SequenceClassifier:
    """A model, its scaler and its columns.

    Parameters
    ----------
    estimator : SequenceEstimator
    classes : tuple of str
        Names by class, e.g. ``("down", "neutral", "up")``.
    scaling : Scaling
        Models that read book levels normalise them themselves; for them only ``missing`` counts.
    schema : str
        Version and hash of the schema that the columns come from.
    """

    def __init__(
        self,
        estimator: SequenceEstimator,
        classes: tuple[str, ...] = ("down", "neutral", "up"),
        *,
        scaling: Scaling | None = None,
        schema: str = "",
    ) -> None:
        self.estimator, self.classes, self.schema = estimator, tuple(classes), schema
        self.scaling = scaling or Scaling()
        self.scaler: Scaler | None = None
        self.n_dropped = 0

    @classmethod
    def make(
        cls,
        name: str,
        *,
        classes: tuple[str, ...] = ("down", "neutral", "up"),
        scaling: Scaling | None = None,
        schema: str = "",
        preset: str | None = None,
        **params: Any,
    ) -> Self:
        """A classifier around `registry.make(name, preset=preset, **params)`."""
        return cls(registry.make(name, preset=preset, **params), classes, scaling=scaling, schema=schema)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table, in order."""
        return self.estimator.columns

    @property
    def form(self) -> str:
        """The scaling that applies: ``none`` for models that read book levels."""
        return "none" if self.estimator.reads_levels else self.scaling.form

    def fit(
        self,
        train: Windows,
        validation: Windows | None = None,
        *,
        sample_weight: Floats | None = None,
        checkpoint: Path | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
        """Fit the scaler on the rows of `train`, then the model; windows are raw.

        Under the policy ``drop``, training and validation windows with missing values are left out and those of
        `train` counted in ``n_dropped``.

        Raises
        ------
        UsageError
            If no training window is left, or as the model raises it.
        """
        ready, kept = self._prepare_training(train)
        if validation is not None and len(validation):
            validation = self._scaled(self._normalised(validation))
            validation = validation.take(self._complete(validation))
        weight = None if sample_weight is None else np.asarray(sample_weight)[kept]
        self.estimator.fit(
            ready,
            validation,
            n_classes=len(self.classes),
            sample_weight=weight,
            checkpoint=checkpoint,
            on_epoch=on_epoch,
        )
        return self

    def scaled(self, windows: Windows) -> Windows:
        """The windows as the model reads them."""
        self.estimator.check_width(windows)
        return self._scaled(self._normalised(windows))

    def usable(self, windows: Windows) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which windows can be predicted, shape (n_windows,): those that lack nothing, or all where values are
        filled.
        """
        return self._complete(self.scaled(windows))

    def predict(self, windows: Windows) -> SequencePrediction:
        """Answers for raw windows.

        Raises
        ------
        SchemaError
            Naming missing and unknown columns, or a symbol that the scaler does not know.
        InputError
            If a window lacks a value and the policy is ``drop``: select with `usable` first.
        """
        ready = self.scaled(windows)
        complete = self._complete(ready)
        if not complete.all():
            raise InputError(
                f"{int((~complete).sum())} of {len(windows)} windows lack values ({self._incomplete(ready)}); the "
                "model was trained to leave such windows out. Select those that are `usable`."
            )
        return self.estimator.predict(ready)

    def save(self, folder: str | Path) -> None:
        """Write the classifier into `folder`, which is made if absent; its record is written last."""
        path = Path(folder)
        self.estimator.save(path / MODEL_FOLDER)
        if self.scaler is not None:
            write_bytes_atomic(path / SCALER_FILE, _packed(self.scaler))
        record = {
            "format": FORMAT,
            "classes": self.classes,
            "schema": self.schema,
            "columns": self.columns,
            "scaling": asdict(self.scaling),
            "symbols": None if self.scaler is None else self.scaler.symbols,
            "n_dropped": self.n_dropped,
        }
        write_bytes_atomic(path / RECORD, (json.dumps(record, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        RunError
            If a file is missing, damaged or of a newer format.
        """
        path = Path(folder)
        try:
            record = json.loads((path / RECORD).read_text(encoding="utf-8"))
            if record["format"] > FORMAT:
                raise RunError(
                    f"`{path}` is of format {record['format']}, expected {FORMAT} or older. Use a newer earmark."
                )
            found = cls(
                registry.load(path / MODEL_FOLDER),
                tuple(record["classes"]),
                scaling=Scaling(**record["scaling"]),
                schema=record["schema"],
            )
            found.n_dropped = int(record["n_dropped"])
            if record["symbols"] is not None:
                found.scaler = _unpacked(path / SCALER_FILE, record["columns"], record["symbols"])
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise RunError(
                f"The model in `{path}` cannot be read ({error}); expected the files that save wrote. Train again."
            ) from error
        return found

    def _prepare_training(self, train: Windows) -> tuple[Windows, np.ndarray[Any, np.dtype[np.bool_]]]:
        """Training windows as the model reads them, and which of `train` they are."""
        if not len(train):
            raise UsageError("There are no windows to fit on; expected at least one. Collect more data.")
        windows = self._normalised(train)
        kept = (
            complete_windows(windows) if self.scaling.missing == "drop" else np.ones(len(train), dtype=bool)
        )
        self.n_dropped = int((~kept).sum())
        if not kept.any():
            raise UsageError(
                f"All {len(train)} training windows lack values ({self._incomplete(windows)}); expected some that lack "
                "none. Fill values (missing='median'), or choose a schema view without these columns."
            )
        used = windows.take(kept)
        if self.form in ("pooled", "per_symbol") or self.scaling.missing != "drop":
            self.scaler = self._fitted_scaler(used)
        return self._scaled(used), kept

    def _fitted_scaler(self, used: Windows) -> Scaler:
        found = fit_scaler(used, per_symbol=self.form == "per_symbol", missing=self.scaling.missing)
        if self.form != "none":
            return found
        identity = np.zeros_like(found.center), np.ones_like(found.scale)
        return Scaler(found.columns, found.symbols, *identity, found.fill)

    def _normalised(self, windows: Windows) -> Windows:
        if self.form != "rolling":
            return windows
        scaling = self.scaling
        table = rolling_normalised(
            windows.table, window=scaling.rolling_window, statistic=scaling.rolling_statistic
        )
        return Windows(table, windows.ends, windows.length)

    def _scaled(self, windows: Windows) -> Windows:
        return windows if self.scaler is None else self.scaler.apply(windows)

    def _complete(self, windows: Windows) -> np.ndarray[Any, np.dtype[np.bool_]]:
        if self.scaling.missing != "drop":
            return np.ones(len(windows), dtype=bool)
        return complete_windows(windows)

    def _incomplete(self, windows: Windows) -> str:
        """The columns that lack values, worst first, in words."""
        lacking = (~np.isfinite(windows.table.X)).sum(axis=0)
        worst = [int(column) for column in np.argsort(-lacking, kind="stable")[:3] if lacking[column]]
        return ", ".join(f"`{windows.table.columns[c]}` in {lacking[c]} rows" for c in worst)


def _packed(scaler: Scaler) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, center=scaler.center, scale=scaler.scale, fill=scaler.fill)
    return buffer.getvalue()


def _unpacked(path: Path, columns: list[str], symbols: list[str]) -> Scaler:
    with np.load(path, allow_pickle=False) as arrays:
        scaler = Scaler(tuple(columns), tuple(symbols), arrays["center"], arrays["scale"], arrays["fill"])
    expected = (max(1, len(symbols)), len(columns))
    if any(array.shape != expected for array in (scaler.center, scaler.scale, scaler.fill)):
        raise SchemaError(f"`{path}` holds arrays of another width than {expected}. Train again.")
    return scaler
