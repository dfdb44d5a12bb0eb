"""What every estimator promises, and the part of it that all of them share.

Conventions: ``X`` is float32, shape (n, d); ``y`` holds class indices 0 .. n_classes - 1; probabilities are
float32, shape (n, n_classes), rows sum to 1. A class that the training rows lack keeps its column and gets
probability 0: inside, the classes that are present are numbered 0 .. k - 1. With a single class present
nothing is fitted and that class has probability 1.

A saved estimator is a folder: ``estimator.json`` (name, format, parameters, classes, history) and the
estimator's own files. None is a pickle.
"""

from __future__ import annotations

import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from earmark.data.parquet import file_hash
from earmark.errors import RunError, SchemaError, UsageError
from earmark.models.constraints import Parameter, check_parameters
from earmark.models.soft_rows import checked_targets, spread_rows

__all__ = ["Epoch", "Estimator", "FitRequest", "Floats", "FoldEstimator", "Ints", "OnEpoch"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Epoch = dict[str, float]
OnEpoch = Callable[[Epoch], None]

FORMAT = 1
"""Version of the layout of ``estimator.json``."""


class Estimator(Protocol):
    """Fits class probabilities; saves itself without pickle."""

    name: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]]
    distributions: ClassVar[tuple[str, ...]]
    stops_early: ClassVar[bool]
    continues: ClassVar[bool]
    history: list[Epoch]
    n_classes: int
    n_features: int
    present: Ints

    def __init__(self, **params: Any) -> None: ...

    def fit(
        self,
        X: Floats,
        y: Ints,
        *,
        n_classes: int | None = None,
        sample_weight: Floats | None = None,
        validation: tuple[Floats, Ints] | None = None,
        checkpoint: Path | None = None,
        on_epoch: OnEpoch | None = None,
        present: Ints | None = None,
        start: Self | None = None,
        targets: Floats | None = None,
        columns: Sequence[str] | None = None,
    ) -> Self: ...

    def predict_proba(self, X: Floats) -> Floats: ...

    @property
    def needs(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def length(self) -> int | None: ...

    def with_length(self, length: int | None) -> Self: ...

    def get_params(self) -> dict[str, Any]: ...

    def set_params(self, **params: Any) -> Self: ...

    def save(self, folder: str | Path) -> None: ...

    @classmethod
    def load(cls, folder: str | Path) -> Self: ...


@dataclass(frozen=True)
class FitRequest:
    """Checked training data with classes numbered 0 .. k - 1.

    ``validation`` holds only rows of classes that the training rows have: for the others no probability can
    be learned, so they cannot tell one epoch from another.
    """

    X: Floats
    y: Ints
    n_codes: int
    sample_weight: Floats | None
    validation: tuple[Floats, Ints] | None
    checkpoint: Path | None
    on_epoch: OnEpoch | None
    start: Any = None
    """A fitted estimator of the same kind, classes and columns to continue from."""
    targets: Floats | None = None
    """How well each class describes each row, shape (n, n_codes); only for estimators that learn such."""
    columns: tuple[str, ...] | None = None
    """Names of the columns of X, where they are known."""


class FoldEstimator(ABC):
    """Parameters, class numbering, checks and files; an estimator adds the four methods below it.

    Attributes
    ----------
    distributions : tuple of str
        Installed distributions that its numbers depend on; ``a|b`` where one of two provides it.
    files : tuple of str
        Its own files; their hashes are kept in ``estimator.json`` and checked before they are parsed.
    stops_early : bool
        Whether validation rows are of use; where not, none should be held out.
    continues : bool
        Whether a fit can start from another one.
    learns_targets : bool
        Whether it learns soft targets as they are; where not, a row of several classes becomes several rows.
    history : list of dict
        One entry per boosting round or epoch; empty for estimators without them.
    """

    name: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]]
    distributions: ClassVar[tuple[str, ...]] = ()
    extras: ClassVar[tuple[tuple[str, str], ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()
    length_parameter: ClassVar[str | None] = None
    stops_early: ClassVar[bool] = False
    continues: ClassVar[bool] = False
    learns_targets: ClassVar[bool] = False
    accepts_nan: ClassVar[bool] = False

    def __init__(self, **params: Any) -> None:
        check_parameters(f"Estimator `{self.name}`", self.parameters, params)
        self.params: dict[str, Any] = {key: spec.default for key, spec in self.parameters.items()} | params
        self.history: list[Epoch] = []
        self.n_classes = 0
        self.n_features = 0
        self.present: Ints = np.empty(0, dtype=np.int64)

    @abstractmethod
    def _fit(self, request: FitRequest) -> None:
        """Fit k >= 2 classes."""

    @abstractmethod
    def _predict(self, X: Floats) -> Floats:
        """Probabilities of the k present classes, shape (n, k)."""

    @abstractmethod
    def _save(self, folder: Path) -> None:
        """Write the estimator's own files."""

    @abstractmethod
    def _load(self, folder: Path) -> None:
        """Read them back."""

    def fit(
        self,
        X: Floats,
        y: Ints,
        *,
        n_classes: int | None = None,
        sample_weight: Floats | None = None,
        validation: tuple[Floats, Ints] | None = None,
        checkpoint: Path | None = None,
        on_epoch: OnEpoch | None = None,
        present: Ints | None = None,
        start: Self | None = None,
        targets: Floats | None = None,
        columns: Sequence[str] | None = None,
    ) -> Self:
        """Fit on rows of X.

        Parameters
        ----------
        X : ndarray, shape (n, d), float32
        y : ndarray, shape (n,), int
            Class indices.
        n_classes : int, optional
            Number of classes, also of those without a row; default ``max(y) + 1``.
        sample_weight : ndarray, shape (n,), optional
        validation : (X, y), optional
            Rows for early stopping, never rows that a score is reported on.
        checkpoint : Path, optional
            Folder in which a long fit keeps its state, so that a killed one continues; used by estimators
            that have epochs.
        on_epoch : callable, optional
            Called with a dict of numbers after each round or epoch.
        present : ndarray of int, optional
            Class indices to learn, ascending, where a later fit that continues from this one will see more of
            them than y holds; default those in y.
        start : estimator, optional
            A fitted one of the same kind to continue from, on the same columns and classes.
        targets : ndarray, shape (n, n_classes), optional
            How well each class describes the row, 0 to 1; default 1 for the class in y.
        columns : sequence of str, length d, optional
            Names of the columns, for estimators that treat columns of one kind alike.

        Returns
        -------
        self

        Raises
        ------
        UsageError
            For empty data, shapes that disagree, class indices out of range, infinities, or NaN where the
            estimator cannot take it.
        """
        X, y, weight = self._check_rows(X, y, sample_weight)
        self.n_classes = int(y.max()) + 1 if n_classes is None else n_classes
        if y.min() < 0 or y.max() >= self.n_classes:
            raise UsageError(
                f"Class indices run {y.min()}..{y.max()}, expected 0..{self.n_classes - 1}. Check the labels."
            )
        if targets is not None:
            targets = checked_targets(targets, len(X), self.n_classes)
            if not self.learns_targets:
                X, y, weight = spread_rows(X, weight, targets)
                targets = None
        self.n_features, self.history = X.shape[1], []
        self.present = _learned(y, targets) if present is None else np.asarray(present, dtype=np.int64)
        self._require_classes(y, start)
        codes = np.searchsorted(self.present, y)
        if len(self.present) > 1:
            self._fit(
                FitRequest(
                    X,
                    codes.astype(np.int64),
                    len(self.present),
                    weight,
                    self._known(validation),
                    checkpoint,
                    on_epoch,
                    start,
                    None if targets is None else np.ascontiguousarray(targets[:, self.present]),
                    None if columns is None else tuple(columns),
                )
            )
        return self

    def predict_proba(self, X: Floats) -> Floats:
        """Class probabilities, float32, shape (n, n_classes); n may be 0.

        Raises
        ------
        UsageError
            If the estimator is not fitted.
        SchemaError
            If X has another number of columns than the training rows.
        """
        if not self.n_classes:
            raise UsageError(f"Estimator `{self.name}` is not fitted. Call fit, or load a saved one.")
        X = self._check_matrix(X)
        if X.shape[1] != self.n_features:
            raise SchemaError(
                f"Got {X.shape[1]} columns, expected {self.n_features}. Extract the model's features."
            )
        probabilities = np.zeros((len(X), self.n_classes), dtype=np.float32)
        if len(X):
            probabilities[:, self.present] = self._predict(X) if len(self.present) > 1 else 1.0
        return probabilities

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """Packages that a fit imports beyond the core, each with the extra that brings it."""
        return self.extras

    @property
    def length(self) -> int | None:
        """Rounds or epochs kept by the fit (the best ones under early stopping); None where there is no
        such thing.
        """
        return None

    def with_length(self, length: int | None) -> Self:
        """An unfitted copy that runs exactly `length` rounds or epochs; an equal copy for None or where
        there are none.
        """
        params = self.get_params()
        if self.length_parameter is not None and length is not None:
            params[self.length_parameter] = max(1, length)
        return type(self)(**params)

    def get_params(self) -> dict[str, Any]:
        """A copy of all parameters."""
        return dict(self.params)

    def set_params(self, **params: Any) -> Self:
        """Change some parameters; raises UsageError as the constructor does."""
        check_parameters(f"Estimator `{self.name}`", self.parameters, params)
        self.params |= params
        return self

    def save(self, folder: str | Path) -> None:
        """Write ``estimator.json`` and the estimator's own files into `folder`, which is made if absent."""
        if not self.n_classes:
            raise UsageError(
                f"Estimator `{self.name}` is not fitted, so there is nothing to save. Call fit first."
            )
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        record = {
            "format": FORMAT,
            "name": self.name,
            "params": self.get_params(),
            "n_classes": self.n_classes,
            "n_features": self.n_features,
            "present": self.present.tolist(),
            "history": self.history,
        }
        if len(self.present) > 1:
            self._save(path)
            record["files"] = {name: file_hash(path / name) for name in self.files}
        (path / "estimator.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        RunError
            If a file is missing, damaged, of another estimator or of a newer format.
        """
        path = Path(folder)
        try:
            record = json.loads((path / "estimator.json").read_text(encoding="utf-8"))
            if record["name"] != cls.name or record["format"] > FORMAT:
                raise RunError(
                    f"`{path}` holds `{record['name']}` in format {record['format']}, expected "
                    f"`{cls.name}` in format {FORMAT} "
                    "or older. Load it with its own class, or with a newer earmark."
                )
            found = cls(**record["params"])
            found.n_classes, found.n_features = int(record["n_classes"]), int(record["n_features"])
            found.present = np.array(record["present"], dtype=np.int64)
            found.history = record["history"]
            if len(found.present) > 1:
                _check_files(path, record["files"], cls.files)
                found._load(path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(
                f"The model in `{path}` cannot be read ({error}); expected the files that save wrote. "
                "Train again."
            ) from error
        return found

    def _require_classes(self, y: Ints, start: Any) -> None:
        """Whether `y` has only classes that are learned, and `start` is a fit that can be continued."""
        strange = np.setdiff1d(y, self.present)
        if len(strange):
            raise UsageError(
                f"The rows hold the classes {strange.tolist()}, expected only {self.present.tolist()}. "
                "Name all classes that occur."
            )
        if start is None:
            return
        if not self.continues:
            raise UsageError(
                f"Estimator `{self.name}` cannot continue from a fitted one; expected boosted trees or a neural "
                "network. Choose xgboost or neural_network."
            )
        mine, other = (self.name, self.n_features, self.present.tolist()), None
        if type(start) is type(self):
            other = (start.name, start.n_features, start.present.tolist())
        if mine != other:
            raise UsageError(
                f"A fit of {mine} cannot continue from {other}; expected the same kind, columns and classes. "
                "Fit the first one with `present` naming all classes."
            )

    def _known(self, validation: tuple[Floats, Ints] | None) -> tuple[Floats, Ints] | None:
        if validation is None or not len(validation[1]):
            return None
        X, y, _ = self._check_rows(*validation, None)
        known = np.isin(y, self.present)
        return (X[known], np.searchsorted(self.present, y[known]).astype(np.int64)) if known.any() else None

    def _check_rows(self, X: Floats, y: Ints, weight: Floats | None) -> tuple[Floats, Ints, Floats | None]:
        X, y = self._check_matrix(X), np.asarray(y)
        if not len(X) or X.shape[1] == 0 or len(X) != len(y):
            raise UsageError(
                f"X has shape {X.shape} and y {y.shape}; expected at least one row, one column, and a "
                "label per row."
            )
        if not np.issubdtype(y.dtype, np.integer):
            raise UsageError(
                f"y is of type {y.dtype}, expected class indices. Encode the labels as integers."
            )
        if weight is not None:
            weight = np.asarray(weight, dtype=np.float32)
            if (
                weight.shape != y.shape
                or not np.isfinite(weight).all()
                or weight.min() < 0
                or weight.max() == 0
            ):
                raise UsageError(
                    "Sample weights must be one finite number >= 0 per row, and not all 0. Check the "
                    "weight column."
                )
        return X, y.astype(np.int64), weight

    def _check_matrix(self, X: Floats) -> Floats:
        X = np.ascontiguousarray(X, dtype=np.float32)
        if X.ndim != 2:
            raise UsageError(f"X has shape {X.shape}, expected (rows, columns).")
        bad = np.isinf(X) if self.accepts_nan else ~np.isfinite(X)
        if bad.any():
            columns = np.flatnonzero(bad.any(axis=0))[:5].tolist()
            kind = "an infinite value" if self.accepts_nan else "NaN or an infinite value"
            raise UsageError(
                f"X has {kind} in columns {columns}; `{self.name}` expects finite numbers. Impute them "
                "first (Preprocess does)."
            )
        return X


def _learned(y: Ints, targets: Floats | None) -> Ints:
    """Classes that occur, ascending."""
    named = np.empty(0, np.int64) if targets is None else np.flatnonzero(targets.any(axis=0))
    return np.union1d(y, named).astype(np.int64)


def _check_files(folder: Path, hashes: Mapping[str, str], expected: tuple[str, ...]) -> None:
    """Whether each file is the one that was saved: some parsers end the process on a truncated file."""
    for name in expected:
        if file_hash(folder / name) != hashes[name]:
            raise ValueError(f"{name} is not the file that was saved: its hash differs")
