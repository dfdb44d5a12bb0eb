"""Features by name in, class probabilities out.

Preprocessing, an estimator, the column schema and the class names, kept together.

Columns are checked by name and order at every prediction. A table in another order is an error, never a
guess; `Classifier.align` gives the index that puts a table in order, for callers who want that said
explicitly.

A saved classifier is a folder with ``classifier.json`` (columns, classes), ``preprocess.json``,
``estimator.json`` and model files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from earmark.errors import RunError, SchemaError
from earmark.models.estimator import Estimator, Floats, Ints, OnEpoch
from earmark.models.preprocess import Preprocess
from earmark.models.registry import load_estimator, make

__all__ = ["Classifier"]

FORMAT = 1
_LISTED = 8


@dataclass
class Classifier:
    """Preprocess + Estimator + column schema + class names.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32), np.array([0, 0, 1, 1])
    >>> model = Classifier.make("logistic", classes=("calm", "loud")).fit(X, y, ["rms"])
    >>> model.predict_proba(X, ["rms"]).argmax(axis=1)
    array([0, 0, 1, 1])
    """

    estimator: Estimator
    classes: tuple[str, ...]
    preprocess: Preprocess = field(default_factory=Preprocess)
    columns: tuple[str, ...] = ()

    @classmethod
    def make(
        cls, name: str, *, classes: Sequence[str], preprocess: dict[str, Any] | None = None, **params: Any
    ) -> Self:
        """An unfitted classifier around a registered estimator; `preprocess` holds parameters of
        `Preprocess`.
        """
        return cls(make(name, **params), tuple(classes), Preprocess(**(preprocess or {})))

    @property
    def warnings(self) -> list[str]:
        """What the fit found worth saying, e.g. columns dropped as constant."""
        return self.preprocess.warnings

    def fit(
        self,
        X: Floats,
        y: Ints,
        columns: Sequence[str],
        *,
        sample_weight: Floats | None = None,
        validation: tuple[Floats, Ints] | None = None,
        checkpoint: Path | None = None,
        on_epoch: OnEpoch | None = None,
        targets: Floats | None = None,
    ) -> Self:
        """Fit preprocessing on X alone, then the estimator; `validation` is transformed, never learned from.

        Parameters
        ----------
        X : ndarray, shape (n, d), float32
        y : ndarray, shape (n,), int
            Indices into `classes`.
        columns : sequence of str, length d
        sample_weight, validation, checkpoint, on_epoch, targets
            As in `Estimator.fit`; validation is (X, y) with the same columns.
        """
        self.prepare(X, y, columns)
        return self.fit_prepared(
            self.preprocess.transform(X),
            y,
            sample_weight=sample_weight,
            validation=validation,
            checkpoint=checkpoint,
            on_epoch=on_epoch,
            targets=targets,
        )

    def prepare(self, X: Floats, y: Ints, columns: Sequence[str]) -> Self:
        """Fit the preprocessing alone: the first half of `fit`, for fits whose rows come from several sources."""
        repeated = (
            sorted({name for name in columns if list(columns).count(name) > 1})
            if len(set(columns)) < len(columns)
            else []
        )
        if repeated:
            raise SchemaError(
                f"Columns named twice: {', '.join(repeated)}; names are unique. Rename or drop one of each."
            )
        self.columns = tuple(columns)
        self.preprocess = Preprocess(**self.preprocess.get_params()).fit(X, self.columns, y)
        return self

    def fit_prepared(
        self,
        prepared: Floats,
        y: Ints,
        *,
        sample_weight: Floats | None = None,
        validation: tuple[Floats, Ints] | None = None,
        held: tuple[Floats, Ints] | None = None,
        checkpoint: Path | None = None,
        on_epoch: OnEpoch | None = None,
        present: Ints | None = None,
        start: Estimator | None = None,
        targets: Floats | None = None,
    ) -> Self:
        """Fit the estimator on rows that were preprocessed already: the second half of `fit`.

        Parameters
        ----------
        prepared : ndarray, shape (n, k), float32
            In the space of ``preprocess.transform``.
        validation : (X, y), optional
            Not preprocessed yet.
        held : (X, y), optional
            The same in the space of `prepared`, instead of `validation`.
        y, sample_weight, checkpoint, on_epoch, present, start, targets
            As in `Estimator.fit`.
        """
        if validation is not None:
            held = (self.preprocess.transform(validation[0]), validation[1])
        continuing: dict[str, Any] = {} if start is None else {"start": start}
        self.estimator.fit(
            prepared,
            y,
            n_classes=len(self.classes),
            sample_weight=sample_weight,
            validation=held,
            checkpoint=checkpoint,
            on_epoch=on_epoch,
            present=present,
            targets=targets,
            columns=self.preprocess.kept,
            **continuing,
        )
        return self

    def predict_proba(self, X: Floats, columns: Sequence[str]) -> Floats:
        """Probabilities, float32, shape (n, n_classes), columns in the order of `classes`.

        Raises
        ------
        SchemaError
            If `columns` are not exactly the training columns in their order; it names those missing,
            unknown or displaced.
        """
        if tuple(columns) != self.columns:
            raise SchemaError(self._schema_problem(columns))
        return self.estimator.predict_proba(self.preprocess.transform(X))

    def align(self, columns: Sequence[str]) -> Ints:
        """Index into `columns` that selects the training columns in their order.

        Used as ``predict_proba(X[:, index], model.columns)``.

        Raises
        ------
        SchemaError
            If a training column is missing or a name occurs twice.
        """
        position = {name: i for i, name in enumerate(columns)}
        if len(position) < len(columns) or not set(self.columns) <= position.keys():
            raise SchemaError(self._schema_problem(columns))
        return np.array([position[name] for name in self.columns], dtype=np.int64)

    def save(self, folder: str | Path) -> None:
        """Write the classifier into `folder`, which is made if absent."""
        path = Path(folder)
        self.estimator.save(path)
        record = {"format": FORMAT, "classes": self.classes, "columns": self.columns}
        (path / "classifier.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (path / "preprocess.json").write_text(self.preprocess.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote; raises RunError if a file is missing or damaged."""
        path = Path(folder)
        try:
            record = json.loads((path / "classifier.json").read_text(encoding="utf-8"))
            classes, columns = tuple(record["classes"]), tuple(record["columns"])
            preprocess = Preprocess.from_json((path / "preprocess.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"`{path}` holds no readable model ({error}). Name a finished run, or train again."
            ) from error
        return cls(load_estimator(path), classes, preprocess, columns)

    def _schema_problem(self, columns: Sequence[str]) -> str:
        known, given = set(self.columns), set(columns)
        parts = [
            _listing("missing", [name for name in self.columns if name not in given]),
            _listing("unknown", [name for name in columns if name not in known]),
            _listing("named twice", sorted({name for name in columns if list(columns).count(name) > 1})),
        ]
        if not any(parts):
            moved = [name for name, own in zip(columns, self.columns, strict=False) if name != own]
            parts = [_listing("in another order", moved)]
        return (
            f"Got {len(columns)} columns: {'; '.join(part for part in parts if part)}. Expected the "
            f"{len(self.columns)} columns "
            "of the training in their order. Extract the same feature set, or select them with align()."
        )


def _listing(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{len(names)} {what} ({', '.join(names[:_LISTED])}{rest})"
