"""Cross-validation in which everything that is learned is learned inside the fold.

For each fold of the dataset a new classifier is fitted on the other folds: its preprocessing, selection and
class weights see only those rows, and the rows on which it stops early are an inner, grouped and stratified
part of them. The fold's own rows are predicted once, at the end. So the out-of-fold probabilities are what
an unseen group would get, and random labels score at chance.

With a work folder each finished fold is kept (``fold-0/`` ...: the classifier, ``fold.json``,
``probabilities.npy``), whole or not at all, and a fit with epochs keeps its state beside it; a killed
cross-validation started again refits no finished fold and ends in the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import SealError, UsageError
from earmark.models.classifier import Classifier
from earmark.models.estimator import Epoch, Floats, Ints
from earmark.training.folds import inner_split

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset

__all__ = [
    "ClassWeight",
    "Event",
    "OnEvent",
    "OutOfFold",
    "balanced_weights",
    "cross_validate",
    "training_weights",
]

Event = dict[str, Any]
OnEvent = Callable[[Event], None]
ClassWeight = str | None


@dataclass(frozen=True)
class OutOfFold:
    """What cross-validation leaves.

    Attributes
    ----------
    probabilities : ndarray, shape (n, n_classes), float32
        Row i was predicted by the classifier that did not see the fold of row i. Rows in the dataset's order.
    fold : ndarray, shape (n,), int
    names : tuple of int
        The folds, ascending; the tuples below are in this order.
    lengths : tuple of int or None
        Rounds or epochs each fold's fit kept.
    seconds : tuple of float
        Wall-clock seconds of each fold's fit.
    histories : tuple of list of dict
        Per round or epoch, what the fit recorded.
    classifiers : tuple of Classifier
        One per fold, e.g. for permutation importance on rows they did not see.
    reused : tuple of bool
        Whether the fold was read from the work folder.
    """

    probabilities: Floats
    fold: Ints
    names: tuple[int, ...]
    lengths: tuple[int | None, ...]
    seconds: tuple[float, ...]
    histories: tuple[list[Epoch], ...]
    classifiers: tuple[Classifier, ...] = field(repr=False)
    reused: tuple[bool, ...]

    def fold_scores(self, y: Ints, function: Callable[..., Any]) -> list[float]:
        """The score of each fold's rows alone, in the order of `names`."""
        return [float(function(y[self.fold == f], self.probabilities[self.fold == f])) for f in self.names]


def cross_validate(
    make_classifier: Callable[[], Classifier],
    dataset: Dataset,
    *,
    class_weight: ClassWeight = None,
    validation_fraction: float = 0.2,
    seed: int = 42,
    work: str | Path | None = None,
    on_event: OnEvent | None = None,
) -> OutOfFold:
    """Fit one classifier per fold and predict the rows it did not see.

    Parameters
    ----------
    make_classifier : callable
        Returns a new, unfitted classifier; called once per fold.
    dataset : Dataset
        Training rows; test rows are not in it.
    class_weight : {"balanced"}, optional
        Weigh each row by n / (n_classes_present * rows of its class), counted on the rows that are fitted.
    validation_fraction : float
        Share of the training part held out for early stopping, 0 to 0.5; 0 turns early stopping off.
        Estimators that do not stop early are fitted on the whole training part.
    seed : int
        Of the inner splits.
    work : path, optional
        Folder in which finished folds are kept; without it a killed run starts over.
    on_event : callable, optional
        Called with dicts: ``{"event": "epoch", "stage": "fold-0", "epoch": 3, ...}`` and ``{"event":
        "fold", ...}``.

    Returns
    -------
    OutOfFold

    Raises
    ------
    UsageError
        If there are fewer than two folds, or a group straddles two.
    SealError
        If a row has a negative fold, the mark of the sealed test.
    """
    fold = dataset.folds
    names = _check_folds(fold, dataset.groups)
    done = []
    for name in names:
        job = _Fold(name, dataset, class_weight, validation_fraction, seed, work, on_event)
        done.append(job.run(make_classifier()))
    probabilities = np.zeros((len(fold), len(dataset.classes)), dtype=np.float32)
    for name, result in zip(names, done, strict=True):
        probabilities[fold == name] = result.probabilities
    return OutOfFold(
        probabilities=probabilities,
        fold=fold,
        names=names,
        lengths=tuple(result.classifier.estimator.length for result in done),
        seconds=tuple(result.seconds for result in done),
        histories=tuple(result.classifier.estimator.history for result in done),
        classifiers=tuple(result.classifier for result in done),
        reused=tuple(result.reused for result in done),
    )


def balanced_weights(y: Ints) -> Floats:
    """n / (k n_c) for each row, shape (n,): every class that is present weighs the same in total; the mean
    is 1.
    """
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    return (len(y) / (len(counts) * counts))[codes].astype(np.float32)


def training_weights(y: Ints, weights: Floats, class_weight: ClassWeight) -> Floats:
    """Sample weights of the rows that are fitted, times their class weights if asked for."""
    if class_weight not in (None, "balanced"):
        raise UsageError(f'class_weight is {class_weight!r}, expected none or "balanced".')
    return weights * balanced_weights(y) if class_weight else weights


@dataclass(frozen=True)
class _Result:
    classifier: Classifier
    probabilities: Floats
    seconds: float
    reused: bool


@dataclass(frozen=True)
class _Fold:
    """One fold: fit on the rows that train in it, predict its own, keep the result."""

    name: int
    dataset: Dataset
    class_weight: ClassWeight
    validation_fraction: float
    seed: int
    work: str | Path | None
    on_event: OnEvent | None

    @property
    def stage(self) -> str:
        return f"fold-{self.name}"

    def run(self, classifier: Classifier) -> _Result:
        key = self._key(classifier)
        result = self._read(key)
        if result is None:
            result = self._fit(classifier)
            self._keep(result, key)
        self._tell({"event": "fold", "stage": self.stage, "seconds": result.seconds, "reused": result.reused})
        return result

    def _fit(self, classifier: Classifier) -> _Result:
        start = time.perf_counter()
        data, (rows, own) = self.dataset, self.dataset.train_validation(self.name)
        fraction = self.validation_fraction if classifier.estimator.stops_early else 0.0
        inner, held = inner_split(data.y[rows], data.groups[rows], fraction, seed=(self.seed, self.name))
        fitted, held = rows[inner], rows[held]
        classifier.fit(
            data.X[fitted],
            data.y[fitted],
            data.columns,
            sample_weight=training_weights(data.y[fitted], data.weights[fitted], self.class_weight),
            validation=(data.X[held], data.y[held]) if len(held) else None,
            checkpoint=None if self.work is None else Path(self.work) / f"{self.stage}.state",
            on_epoch=lambda epoch: self._tell({"event": "epoch", "stage": self.stage} | epoch),
        )
        probabilities = classifier.predict_proba(data.X[own], data.columns)
        return _Result(classifier, probabilities, time.perf_counter() - start, reused=False)

    def _read(self, key: str) -> _Result | None:
        folder = None if self.work is None else Path(self.work) / self.stage
        if folder is None or not folder.is_dir():
            return None
        record = json.loads((folder / "fold.json").read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        probabilities = np.load(folder / "probabilities.npy", allow_pickle=False)
        return _Result(Classifier.load(folder), probabilities, record["seconds"], reused=True)

    def _keep(self, result: _Result, key: str) -> None:
        if self.work is None:
            return
        folder = Path(self.work) / self.stage
        partial = folder.with_suffix(".partial")
        for stale in (partial, folder):
            shutil.rmtree(stale, ignore_errors=True)
        result.classifier.save(partial)
        np.save(partial / "probabilities.npy", result.probabilities, allow_pickle=False)
        record = json.dumps({"key": key, "seconds": result.seconds})
        (partial / "fold.json").write_text(record, encoding="utf-8")
        partial.rename(folder)
        shutil.rmtree(folder.with_suffix(".state"), ignore_errors=True)

    def _key(self, classifier: Classifier) -> str:
        """Of all that decides the fold's probabilities, so that a work folder of another training is not
        believed.
        """
        parts: Mapping[str, Any] = {
            "data": self.dataset.hash,
            "fold": self.name,
            "estimator": [classifier.estimator.name, classifier.estimator.get_params()],
            "preprocess": classifier.preprocess.get_params(),
            "options": [self.class_weight, self.validation_fraction, self.seed],
        }
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()

    def _tell(self, event: Event) -> None:
        if self.on_event is not None:
            self.on_event(event)


def _check_folds(fold: Ints, groups: npt.NDArray[Any]) -> tuple[int, ...]:
    names = np.unique(fold)
    if len(names) and names[0] < 0:
        raise SealError(
            f"{int((fold < 0).sum())} of {len(fold)} rows have a negative fold, the mark of test rows, "
            "which no training may see. "
            "Use the dataset that `earmark extract` wrote."
        )
    if len(names) < 2:
        raise UsageError(
            f"The dataset has {len(names)} fold(s), expected at least 2. Prepare it with "
            "more folds or more groups."
        )
    _, of_row = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([of_row, fold]), axis=1)
    if pairs.shape[1] > len(np.unique(of_row)):
        split = groups[np.isin(of_row, np.flatnonzero(np.bincount(pairs[0]) > 1))]
        raise UsageError(
            f"Group `{split[0]}` is in more than one fold; scores would be too good. "
            "Prepare the splits again."
        )
    return tuple(int(name) for name in names)
