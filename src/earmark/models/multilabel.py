"""Several independent yes-or-no questions about the same row: one `Classifier` and one `Platt` per label.

Machines in a room are independent sources, so each has a model of its own, and a recording with two machines on
teaches both. Constant columns are dropped by each classifier's preprocessing.

Conventions: labels ``y`` are 0 or 1, shape (n, n_labels); probabilities are float32 of the same shape; *raw* ones are
the estimators', the others went through Platt scaling. A row's probabilities do not depend on the rows beside it, to
the last bit: answers of a file and of a stream are equal.

A saved model is a folder: ``multilabel.json`` (labels, calibration) and a folder with a classifier per label.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from earmark.errors import EarmarkError, RunError
from earmark.models.classifier import Classifier
from earmark.models.estimator import Floats, Ints
from earmark.models.platt import Platt

__all__ = ["FILE", "OFF_ON", "MultiLabel", "calibrated", "fit_multilabel"]

FILE = "multilabel.json"
FORMAT = 1
OFF_ON = ("off", "on")
"""Classes of each label's classifier."""

_SUMS_DEPEND_ON_ROWS = frozenset({"logistic", "ensemble"})
"""Estimators with a matrix product in them, whose order of summation BLAS chooses by the number of rows."""

Make = Callable[[str], Classifier]


@dataclass(frozen=True)
class MultiLabel:
    """Fitted classifiers of classes `OFF_ON`, one per label, with their calibration."""

    labels: tuple[str, ...]
    classifiers: tuple[Classifier, ...]
    calibration: tuple[Platt, ...] = field(default=())

    def __post_init__(self) -> None:
        if not self.calibration:
            object.__setattr__(self, "calibration", (Platt(),) * len(self.labels))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it was fitted on, those that are dropped included."""
        return self.classifiers[0].columns

    @property
    def warnings(self) -> list[str]:
        """What the fits found worth saying, each with its label."""
        pairs = zip(self.labels, self.classifiers, strict=True)
        return [f"{label}: {text}" for label, model in pairs for text in model.warnings]

    @property
    def length(self) -> dict[str, int | None]:
        """Label -> rounds that its estimator kept; None where there are none."""
        pairs = zip(self.labels, self.classifiers, strict=True)
        return {label: model.estimator.length for label, model in pairs}

    def raw(self, X: Floats, columns: Sequence[str]) -> Floats:
        """Probabilities of on as the estimators give them; raises SchemaError for other columns."""
        return np.column_stack([_probability(model, X, columns) for model in self.classifiers])

    def calibrate(self, raw: Floats) -> Floats:
        """Raw probabilities as calibrated ones."""
        return calibrated(raw, self.calibration)

    def with_calibration(self, calibration: Sequence[Platt]) -> MultiLabel:
        """The same classifiers with another calibration."""
        return replace(self, calibration=tuple(calibration))

    def save(self, folder: str | Path) -> None:
        """Write the model into `folder`, which is made if absent."""
        path = Path(folder)
        for label, model in zip(self.labels, self.classifiers, strict=True):
            model.save(path / label)
        record = {
            "format": FORMAT,
            "labels": self.labels,
            "calibration": [platt.to_dict() for platt in self.calibration],
        }
        (path / FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; raises RunError if a file is missing or damaged."""
        path = Path(folder)
        try:
            record = json.loads((path / FILE).read_text(encoding="utf-8"))
            labels = tuple(map(str, record["labels"]))
            calibration = tuple(Platt.from_dict(entry) for entry in record["calibration"])
            if len(calibration) != len(labels) or not labels:
                raise ValueError(f"{len(labels)} labels, {len(calibration)} calibrations")
        except (OSError, ValueError, KeyError, TypeError, EarmarkError) as error:
            raise RunError(
                f"`{path}` holds no readable model ({error}). Name a finished run, or train again."
            ) from error
        return cls(labels, tuple(Classifier.load(path / label) for label in labels), calibration)


def fit_multilabel(
    make: Make,
    X: Floats,
    y: Ints,
    columns: Sequence[str],
    labels: Sequence[str],
    *,
    weights: npt.NDArray[np.floating],
    validation: tuple[Floats, Ints] | None = None,
) -> MultiLabel:
    """Fit one classifier per label.

    Parameters
    ----------
    make : callable
        ``make(label)`` gives an unfitted classifier of classes `OFF_ON`.
    X : ndarray, shape (n, d), float32
    y : ndarray, shape (n, n_labels), int
    columns, labels : sequence of str
    weights : ndarray, shape (n, n_labels)
        Of each row for each label; rows of weight 0 teach that label nothing and are left out.
    validation : (X, y), optional
        Rows on which estimators with rounds choose their length.

    Returns
    -------
    MultiLabel
        Not calibrated yet.
    """
    fitted = []
    for k, label in enumerate(labels):
        rows = weights[:, k] > 0
        watched = None if validation is None else (validation[0], validation[1][:, k])
        model = make(label)
        if not model.estimator.stops_early:
            watched = None
        model.fit(
            X[rows],
            y[rows, k],
            columns,
            sample_weight=weights[rows, k].astype(np.float32),
            validation=watched,
        )
        fitted.append(model)
    return MultiLabel(tuple(labels), tuple(fitted))


def calibrated(raw: Floats, calibration: Sequence[Platt]) -> Floats:
    """Each column through its own Platt scaling, float32."""
    return np.column_stack([platt.transform(raw[:, k]) for k, platt in enumerate(calibration)])


def _probability(model: Classifier, X: Floats, columns: Sequence[str]) -> Floats:
    if model.estimator.name not in _SUMS_DEPEND_ON_ROWS or len(X) < 2:
        return model.predict_proba(X, columns)[:, 1]
    return np.concatenate([model.predict_proba(X[i : i + 1], columns)[:, 1] for i in range(len(X))])
