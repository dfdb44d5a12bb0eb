"""Estimators of rows made to read windows: the last row, and what the window did on the way.

Confidence is the probability of the likeliest class; the expected return is the sum of the classes' mean movements
in training, weighted by their probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from earmark.data.windows import Windows
from earmark.models.constraints import Choice, Interval, Parameter
from earmark.models.estimator import Epoch, Estimator, Floats
from earmark.models.registry import load_estimator, make
from earmark.models.sequence.balance import BALANCING, Draws, balanced_draws
from earmark.models.sequence.base import (
    SequenceEstimator,
    SequenceFit,
    SequencePrediction,
    StopTraining,
    finite_inputs,
    in_batches,
)
from earmark.models.sequence.baselines import mean_movement

__all__ = ["SUMMARIES", "TABULAR_PARAMETERS", "TabularEstimator", "design"]

SUMMARIES = ("last", "statistics")

TABULAR_PARAMETERS: Mapping[str, Parameter] = {
    "balance": Parameter("none", Choice(BALANCING), "how classes are balanced in training"),
    "balance_ratio": Parameter(
        1.0,
        Interval(float, 0, 1, open_low=True),
        "smaller classes' size against larger ones' after resampling",
    ),
}

ROWS_FOLDER = "rows"
_WINDOWS_AT_ONCE = 1024


def design(inputs: Floats, summary: str) -> Floats:
    """Rows for windows of shape (k, length, n_columns): the last row, and with ``statistics`` also each column's mean,
    standard deviation and change over the window, shape (k, 4 * n_columns).
    """
    last = inputs[:, -1]
    if summary == "last":
        return last
    return np.concatenate([last, inputs.mean(axis=1), inputs.std(axis=1), last - inputs[:, 0]], axis=1)


class TabularEstimator(SequenceEstimator):
    """An estimator of `models.registry` on the design of each window."""

    rows_estimator: ClassVar[str]

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.rows: Estimator | None = None
        self.class_movement: Floats = np.empty(0, np.float32)

    @property
    def fitted_rows(self) -> Any:
        """The fitted estimator of rows."""
        return self.rows

    @property
    def length(self) -> int | None:
        """Rounds kept, where the estimator has any."""
        return None if self.rows is None else self.rows.length

    def _fit(self, request: SequenceFit) -> None:
        params = self.params
        draws = balanced_draws(
            params["balance"],
            request.train,
            request.weight,
            ratio=params["balance_ratio"],
            seed=params.get("seed", 0),
        )
        y = request.train.y[draws.first]
        self.class_movement = mean_movement(y, draws.movement(request.train), draws.weight, self.n_classes)
        validation = None
        if request.validation is not None:
            validation = (self._rows_of(request.validation), request.validation.y)
        X = self._drawn_rows(request.train, draws)
        self.rows = self._fit_rows(X, y, draws.weight, validation, request)
        self.history = list(self.rows.history)

    def _fit_rows(
        self, X: Floats, y: Any, weight: Floats, validation: Any, request: SequenceFit
    ) -> Estimator:
        """Fit; a fit that is asked to stop is made again with the rounds it had, since an interrupted one is lost."""
        rounds: list[Epoch] = []

        def note(entry: Epoch) -> None:
            rounds.append(entry)
            if request.on_epoch is not None:
                request.on_epoch(entry)

        settings = {key: value for key, value in self.params.items() if key not in self._own_parameters()}
        rows, given = (
            make(self.rows_estimator, **settings),
            {"n_classes": self.n_classes, "sample_weight": weight},
        )
        try:
            return rows.fit(X, y, validation=validation, on_epoch=note, **given)  # type: ignore[arg-type]
        except StopTraining:
            stopped = rows.with_length(len(rounds))
            return stopped.fit(X, y, validation=validation, **given)  # type: ignore[arg-type]

    def _own_parameters(self) -> set[str]:
        return {*TABULAR_PARAMETERS, "summary"}

    def _rows_of(self, windows: Windows) -> Floats:
        summary = self.params["summary"]
        parts = in_batches(
            len(windows), _WINDOWS_AT_ONCE, lambda chosen: design(finite_inputs(windows, chosen), summary)
        )
        return np.concatenate(list(parts))

    def _drawn_rows(self, windows: Windows, draws: Draws) -> Floats:
        summary = self.params["summary"]
        parts = in_batches(
            len(draws), _WINDOWS_AT_ONCE, lambda chosen: design(draws.inputs(windows, chosen), summary)
        )
        return np.concatenate(list(parts))

    def _predict(self, windows: Windows) -> SequencePrediction:
        probabilities = self.fitted_rows.predict_proba(self._rows_of(windows))
        return SequencePrediction(
            probabilities, probabilities.max(axis=1), probabilities @ self.class_movement
        )

    def _save(self, folder: Path) -> dict[str, Any]:
        self.fitted_rows.save(folder / ROWS_FOLDER)
        return {"class_movement": self.class_movement.tolist()}

    def _load(self, folder: Path, state: Mapping[str, Any]) -> None:
        self.rows = load_estimator(folder / ROWS_FOLDER)
        self.class_movement = np.array(state["class_movement"], np.float32)
