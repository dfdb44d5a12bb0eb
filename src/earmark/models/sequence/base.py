"""What every sequence model promises, and the part of it that all of them share.

A sequence model reads `Windows` (`data.windows`) and answers, for the last row of each: the probability of each
class, a confidence that its likeliest class is right, and the expected relative change of the price.

Conventions: classes are 0 .. n_classes - 1; probabilities are float32, shape (m, n_classes), rows sum to 1;
confidence is in [0, 1]; expected returns are fractions (0.01 is one per cent). A class that the training windows
lack keeps its column with probability 0. The width of a window (rows and columns) is part of the model: others
are refused.

A saved model is a folder: ``sequence.json`` and the model's own files, whose hashes it holds. None is a pickle.
"""

from __future__ import annotations

import json
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from earmark.data.parquet import file_hash, write_bytes_atomic
from earmark.data.windows import Windows
from earmark.errors import RunError, SchemaError, UsageError
from earmark.models.constraints import Parameter, check_parameters
from earmark.models.estimator import Epoch, Floats, Ints, OnEpoch

__all__ = [
    "ABSENT_LOGIT",
    "N_CLASSES",
    "SequenceEstimator",
    "SequenceFit",
    "SequencePrediction",
    "StopTraining",
    "finite_inputs",
    "in_batches",
]

N_CLASSES = 3
"""Down, neutral, up."""

ABSENT_LOGIT = -1e4
"""Added to the logit of a class that training lacked: its probability is then exactly 0 in float32."""

FORMAT = 1
"""Version of the layout of ``sequence.json``."""

MODEL_RECORD = "sequence.json"


class StopTraining(Exception):  # noqa: N818 - a request, not an error
    """Raised by ``on_epoch``: stop here and keep the best so far, as if patience had run out."""


@dataclass(frozen=True, eq=False)
class SequencePrediction:
    """Answers for m windows.

    Attributes
    ----------
    probabilities : ndarray of float32, shape (m, n_classes)
    confidence : ndarray of float32, shape (m,)
        Of a network its confidence head: how likely the likeliest class is right. Elsewhere that class's probability.
    expected_return : ndarray of float32, shape (m,)
        Relative change of the price over the horizon.
    """

    probabilities: Floats
    confidence: Floats
    expected_return: Floats

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def direction(self) -> Ints:
        """The likeliest class."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def strength(self) -> Floats:
        """abs(p_up - p_down): last class against the first, in [0, 1]."""
        return np.asarray(np.abs(self.probabilities[:, -1] - self.probabilities[:, 0]), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SequenceFit:
    """What a fit is given, checked; ``weight`` has one number per training window, mean 1."""

    train: Windows
    validation: Windows | None
    weight: Floats
    checkpoint: Path | None
    on_epoch: OnEpoch | None


class SequenceEstimator(ABC):
    """Parameters, checks and files; a model adds the four methods below.

    Attributes
    ----------
    presets : mapping
        Sizes by name: parameters that differ from the defaults.
    distributions : tuple of str
        Installed distributions that its numbers depend on.
    extras : tuple of (package, extra)
        Packages that it needs beyond the core.
    files : tuple of str
        Its own files.
    reads_levels : bool
        Whether its columns are book levels (`networks.levels`), which it normalises itself: they come unscaled.
    """

    name: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    distributions: ClassVar[tuple[str, ...]] = ()
    extras: ClassVar[tuple[tuple[str, str], ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()
    length_parameter: ClassVar[str | None] = None
    reads_levels: ClassVar[bool] = False

    def __init__(self, **params: Any) -> None:
        check_parameters(f"Model `{self.name}`", self.parameters, params)
        self.params: dict[str, Any] = {key: spec.default for key, spec in self.parameters.items()} | params
        self.columns: tuple[str, ...] = ()
        self.window = 0
        self.n_classes = 0
        self.present: Ints = np.empty(0, dtype=np.int64)
        self.history: list[Epoch] = []

    @abstractmethod
    def _fit(self, request: SequenceFit) -> None:
        """Fit; `columns`, `window`, `n_classes` and `present` are set."""

    @abstractmethod
    def _predict(self, windows: Windows) -> SequencePrediction:
        """Answers for at least one window."""

    @abstractmethod
    def _save(self, folder: Path) -> dict[str, Any]:
        """Write the model's own files; what is returned comes back in `_load`."""

    @abstractmethod
    def _load(self, folder: Path, state: Mapping[str, Any]) -> None:
        """Read them back."""

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Numbers that the fit has learned."""

    def fit(
        self,
        train: Windows,
        validation: Windows | None = None,
        *,
        n_classes: int = N_CLASSES,
        sample_weight: Floats | None = None,
        checkpoint: Path | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
        """Fit on windows of finite, scaled features (`SequenceClassifier` scales; book levels stay raw).

        Parameters
        ----------
        train : Windows
            At least one; all labelled.
        validation : Windows, optional
            For early stopping and the choice of the best epoch; never windows that a score is reported on.
        n_classes : int
        sample_weight : ndarray, shape (len(train),), optional
        checkpoint : Path, optional
            Folder in which a long fit keeps its state: the same fit continues from there after a kill.
        on_epoch : callable, optional
            Called with a dict of numbers after each epoch or round; may raise `StopTraining`.

        Raises
        ------
        UsageError
            For no windows, labels out of range, weights that are no weights, or values that are not finite.
        SchemaError
            If the validation windows have another width.
        """
        _check_labels(train, n_classes)
        self.columns, self.window, self.n_classes = train.table.columns, train.length, n_classes
        self.present, self.history = np.unique(train.y), []
        if validation is not None and len(validation):
            self.check_width(validation)
            _check_labels(validation, n_classes)
        else:
            validation = None
        weight = _checked_weight(sample_weight, len(train))
        self._fit(SequenceFit(train, validation, weight, checkpoint, on_epoch))
        return self

    def predict(self, windows: Windows) -> SequencePrediction:
        """Answers for each window, labelled or not; there may be none.

        Raises
        ------
        UsageError
            If the model is not fitted, or a value is not finite.
        SchemaError
            If rows or columns of a window are not those of the training windows.
        """
        self.check_width(windows)
        if not len(windows):
            empty = np.empty(0, np.float32)
            return SequencePrediction(np.empty((0, self.n_classes), np.float32), empty, empty)
        return self._predict(windows)

    @property
    def length(self) -> int | None:
        """Epochs or rounds kept; None where there is no such thing."""
        return None

    def onnx_bytes(self) -> bytes:
        """The fitted model in ONNX: `input` of scaled windows, `output` of probabilities, confidence and return."""
        raise UsageError(
            f"Model `{self.name}` has no ONNX form; expected a network or `logistic`. Choose one of them."
        )

    def with_length(self, length: int | None) -> Self:
        """An unfitted copy that runs exactly `length` epochs or rounds; an equal copy where there are none."""
        params = self.get_params()
        if self.length_parameter is not None and length is not None:
            params[self.length_parameter] = max(1, length)
        return type(self)(**params)

    def get_params(self) -> dict[str, Any]:
        """A copy of all parameters."""
        return dict(self.params)

    def save(self, folder: str | Path) -> None:
        """Write the model into `folder`, which is made if absent."""
        if not self.n_classes:
            raise UsageError(
                f"Model `{self.name}` is not fitted, so there is nothing to save. Call fit first."
            )
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        record = {
            "format": FORMAT,
            "name": self.name,
            "params": self.params,
            "columns": self.columns,
            "window": self.window,
            "n_classes": self.n_classes,
            "present": self.present.tolist(),
            "history": self.history,
            "state": self._save(path),
            "files": {name: file_hash(path / name) for name in self.files},
        }
        write_bytes_atomic(path / MODEL_RECORD, (json.dumps(record, indent=1) + "\n").encode())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        RunError
            If a file is missing, damaged, of another model or of a newer format.
        """
        path = Path(folder)
        try:
            record = json.loads((path / MODEL_RECORD).read_text(encoding="utf-8"))
            if record["name"] != cls.name or record["format"] > FORMAT:
                raise RunError(
                    f"`{path}` holds `{record['name']}` in format {record['format']}, expected `{cls.name}` in "
                    f"format {FORMAT} or older. Load it with its own class, or with a newer earmark."
                )
            for name in cls.files:
                if file_hash(path / name) != record["files"][name]:
                    raise ValueError(f"{name} is not the file that was saved: its hash differs")
            found = cls(**{key: _as_saved(value) for key, value in record["params"].items()})
            found.columns, found.window = tuple(record["columns"]), int(record["window"])
            found.n_classes = int(record["n_classes"])
            found.present = np.array(record["present"], dtype=np.int64)
            found.history = record["history"]
            found._load(path, record["state"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise RunError(
                f"The model in `{path}` cannot be read ({error}); expected the files that save wrote. Train again."
            ) from error
        return found

    def check_width(self, windows: Windows) -> None:
        """Refuse windows of other rows or columns than the fit's; raises as `predict` does."""
        if not self.n_classes:
            raise UsageError(f"Model `{self.name}` is not fitted. Call fit, or load a saved one.")
        columns = windows.table.columns
        if columns == self.columns and windows.length == self.window:
            return
        missing = [name for name in self.columns if name not in columns]
        strange = [name for name in columns if name not in self.columns]
        raise SchemaError(
            f"Got windows of {windows.length} rows and {len(columns)} columns (missing {missing[:5]}, unknown "
            f"{strange[:5]}); `{self.name}` was fitted on {self.window} rows and {len(self.columns)} columns. Give "
            "it the columns of its schema, in their order."
        )


def finite_inputs(windows: Windows, positions: Ints | slice) -> Floats:
    """Features of the windows at `positions`, shape (k, length, n_columns); all finite.

    Raises
    ------
    UsageError
        Naming the columns that hold NaN or infinity.
    """
    inputs = windows.inputs(positions)
    if np.isfinite(inputs).all():
        return inputs
    bad = np.flatnonzero(~np.isfinite(inputs).all(axis=(0, 1)))
    names = [windows.table.columns[column] for column in bad[:5]]
    raise UsageError(
        f"{len(bad)} columns of the windows hold NaN or infinity, first {names}; models expect finite numbers. Fit "
        "through SequenceClassifier, which leaves such windows out or fills them."
    )


def in_batches(n: int, size: int, of: Callable[[slice], Any]) -> Iterator[Any]:
    """`of` each stretch of at most `size` of n windows: the whole tensor is never held."""
    for start in range(0, n, size):
        yield of(slice(start, min(start + size, n)))


def _check_labels(windows: Windows, n_classes: int) -> None:
    if not len(windows):
        raise UsageError(
            "There are no windows to fit on; expected at least one. Collect more data, or use a shorter window."
        )
    y = windows.y
    if y.min() < 0 or y.max() >= n_classes:
        raise UsageError(
            f"Labels of the windows run {y.min()}..{y.max()}, expected 0..{n_classes - 1}. Leave out windows without "
            "a label (make_windows does)."
        )


def _checked_weight(weight: npt.ArrayLike | None, n: int) -> Floats:
    """Weights scaled to mean 1."""
    if weight is None:
        return np.ones(n, dtype=np.float32)
    found = np.asarray(weight, dtype=np.float64)
    if found.shape != (n,) or not np.isfinite(found).all() or found.min() < 0 or found.max() == 0:
        raise UsageError(
            f"Sample weights have shape {found.shape}; expected one finite number >= 0 per window ({n}), not all 0."
        )
    return np.asarray(found / found.mean(), dtype=np.float32)


def _as_saved(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
