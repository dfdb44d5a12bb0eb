"""Cross-validation in which everything that is learned is learned inside the fold.

For each fold of the dataset a new classifier is fitted on the other folds: its preprocessing, selection and
class weights see only those rows, and the rows on which it stops early are an inner, grouped and stratified
part of them. The fold's own rows are predicted once, at the end. So the out-of-fold probabilities are what
an unseen group would get, and random labels score at chance.

With a work folder each finished fold is kept (``fold-0/`` ...: the classifier, ``fold.json``,
``probabilities.npy``, ``auxiliary.npy``), whole or not at all, and a fit with epochs keeps its state beside
it; a killed cross-validation started again refits no finished fold and ends in the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import SealError, UsageError
from earmark.models.classifier import Classifier
from earmark.models.estimator import Epoch, Floats, Ints
from earmark.training.folds import inner_split
from earmark.training.strategy import FitJob, Strategy
from earmark.training.weights import ClassWeight

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset

__all__ = [
    "Event",
    "OnEvent",
    "OutOfFold",
    "cross_validate",
]

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


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
    auxiliary : ndarray, shape (n_auxiliary, n_classes), float32, optional
        Auxiliary rows, each predicted by the classifier of the fold that left it out.
    """

    probabilities: Floats
    fold: Ints
    names: tuple[int, ...]
    lengths: tuple[int | None, ...]
    seconds: tuple[float, ...]
    histories: tuple[list[Epoch], ...]
    classifiers: tuple[Classifier, ...] = field(repr=False)
    reused: tuple[bool, ...]
    auxiliary: Floats | None = field(default=None, repr=False)

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
    strategy: Strategy | None = None,
    auxiliary: Dataset | None = None,
    on_fold: Callable[[int, Floats], None] | None = None,
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
    strategy : Strategy, optional
        How auxiliary rows take part; default they do not.
    auxiliary : Dataset, optional
        Rows of another source with the same columns; each is left out of the fit of its own fold, and predicted
        there, so that what is said of them is honest too. They change no score of `dataset`.
    on_fold : callable, optional
        Called after each fold with its name and the probabilities of its rows; what it raises ends the whole.

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
        given = (class_weight, validation_fraction, seed, work, on_event)
        job = _Fold(name, dataset, *given, strategy or Strategy(), auxiliary)
        done.append(job.run(make_classifier))
        if on_fold is not None:
            on_fold(name, done[-1].probabilities)
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
        auxiliary=_of_auxiliary(names, done, auxiliary),
    )


def _of_auxiliary(names: Sequence[int], done: Sequence[_Result], auxiliary: Dataset | None) -> Floats | None:
    if auxiliary is None:
        return None
    probabilities = np.zeros((len(auxiliary), len(auxiliary.classes)), dtype=np.float32)
    for name, result in zip(names, done, strict=True):
        probabilities[auxiliary.folds == name] = result.auxiliary
    return probabilities


@dataclass(frozen=True)
class _Result:
    classifier: Classifier
    probabilities: Floats
    auxiliary: Floats | None
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
    strategy: Strategy
    auxiliary: Dataset | None

    @property
    def stage(self) -> str:
        return f"fold-{self.name}"

    def run(self, make: Callable[[], Classifier]) -> _Result:
        key = self._key(make())
        result = self._read(key)
        if result is None:
            result = self._fit(make)
            self._keep(result, key)
        self._tell({"event": "fold", "stage": self.stage, "seconds": result.seconds, "reused": result.reused})
        return result

    def _fit(self, make: Callable[[], Classifier]) -> _Result:
        start = time.perf_counter()
        data, (rows, own) = self.dataset, self.dataset.train_validation(self.name)
        fraction = self.validation_fraction if make().estimator.stops_early else 0.0
        inner, held = inner_split(data.y[rows], data.groups[rows], fraction, seed=(self.seed, self.name))
        taken, held = data.take(rows[inner]), rows[held]
        classifier = self.strategy.fit(
            FitJob(
                make,
                taken,
                self._auxiliary_rows() if self.strategy.uses_auxiliary else None,
                validation=(data.X[held], data.y[held]) if len(held) else None,
                class_weight=self.class_weight,
                validation_fraction=fraction,
                seeds=(self.seed, self.name),
                checkpoint=None if self.work is None else Path(self.work) / f"{self.stage}.state",
                on_epoch=lambda epoch: self._tell({"event": "epoch", "stage": self.stage} | epoch),
            )
        )
        probabilities = classifier.predict_proba(data.X[own], data.columns)
        seconds = time.perf_counter() - start
        return _Result(classifier, probabilities, self._beside(classifier, taken), seconds, reused=False)

    def _auxiliary_rows(self, *, left_out: bool = False) -> Dataset | None:
        """The auxiliary rows that may train in this fold, or those that it leaves out."""
        if self.auxiliary is None:
            return None
        return self.auxiliary.take((self.auxiliary.folds == self.name) == left_out)

    def _beside(self, classifier: Classifier, own: Dataset) -> Floats | None:
        """Probabilities of the auxiliary rows that this fold leaves out, moved as those that trained."""
        trained, left_out = self._auxiliary_rows(), self._auxiliary_rows(left_out=True)
        if trained is None or left_out is None:
            return None
        return self.strategy.predict_auxiliary(classifier, own, trained, left_out)

    def _read(self, key: str) -> _Result | None:
        folder = None if self.work is None else Path(self.work) / self.stage
        if folder is None or not folder.is_dir():
            return None
        record = json.loads((folder / "fold.json").read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        probabilities = np.load(folder / "probabilities.npy", allow_pickle=False)
        beside = None
        if self.auxiliary is not None:
            beside = np.load(folder / "auxiliary.npy", allow_pickle=False)
        return _Result(Classifier.load(folder), probabilities, beside, record["seconds"], reused=True)

    def _keep(self, result: _Result, key: str) -> None:
        if self.work is None:
            return
        folder = Path(self.work) / self.stage
        partial = folder.with_suffix(".partial")
        for stale in (partial, folder):
            shutil.rmtree(stale, ignore_errors=True)
        result.classifier.save(partial)
        np.save(partial / "probabilities.npy", result.probabilities, allow_pickle=False)
        if result.auxiliary is not None:
            np.save(partial / "auxiliary.npy", result.auxiliary, allow_pickle=False)
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
            "auxiliary": self.auxiliary.hash if self.auxiliary is not None else None,
            "strategy": asdict(self.strategy),
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
