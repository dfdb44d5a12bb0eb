"""How rows of a second source take part in a training that only the first source decides.

The scored rows are *own*, the others *auxiliary*: they may train, and no score, threshold, weight or early stop is
taken from them. A strategy turns the own and auxiliary rows of one fold into one fitted classifier. All of it is
fitted on these rows alone, so a strategy can be cross-validated like any other recipe, on the same own folds.

============== ==========================================================================================
``user``       own rows alone
``pooled``     both, each row counting 1: the naive baseline
``weighted``   both, an own row counting `user_weight` times an auxiliary one
``balanced``   `per_source` rows drawn from each source, or all where a source has fewer, classes in proportion
``importance`` as ``weighted``, auxiliary rows further weighted by how much they look like own ones [1]_
``coral``      as ``weighted``, auxiliary features moved so that mean and covariance are those of own rows [2]_
``transfer``   fitted on auxiliary rows, then continued on own ones with small steps
``blend``      a mean of the probabilities of ``user`` and ``weighted``, 0.6 to 0.4 unless searched
``dual``       a mean of the probabilities of ``auxiliary`` and ``user``, 0.7 to 0.3 unless searched
``auxiliary``  auxiliary rows alone: how far the other source gets on its own
============== ==========================================================================================

Preprocessing (missing values, constant columns, scale, selection) is fitted on own rows in every strategy: the model
will meet own rows, and members of a blend must share one.

References
----------
.. [1] Shimodaira (2000), "Improving predictive inference under covariate shift"; the density ratio is the odds of a
   probabilistic classifier of the source (Bickel, Brueckner and Scheffer, 2009).
.. [2] Sun, Feng and Saenko (2016), "Return of frustratingly easy domain adaptation".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import UsageError
from earmark.models.classifier import Classifier
from earmark.models.constraints import canonical
from earmark.models.estimator import Estimator, Floats, Ints, OnEpoch
from earmark.training.alignment import ALIGNMENTS, Alignment, source_odds
from earmark.training.folds import inner_split
from earmark.training.weights import ClassWeight, training_weights

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset

__all__ = ["STRATEGIES", "FitJob", "Strategy", "canonical_strategy"]

STRATEGIES: Mapping[str, str] = {
    "user": "scored rows alone",
    "pooled": "all rows alike",
    "weighted": "a scored row counts more than one of another source",
    "balanced": "the same number of rows of each source",
    "importance": "other rows weighted by how much they look like scored ones",
    "coral": "other rows moved onto the mean and covariance of scored ones",
    "transfer": "fitted on other rows, continued on scored ones",
    "blend": "mean of `user` and `weighted`",
    "dual": "mean of `auxiliary` and `user`",
    "auxiliary": "other rows alone",
}
"""Name -> what it does, in the order of a table of results."""

_ALIASES = {"deam": "auxiliary", "naive": "pooled", "user_only": "user", "combined": "blend"}
_MEMBERS = {"blend": ("user", "weighted"), "dual": ("auxiliary", "user")}
_MEMBER_WEIGHTS = {"blend": (0.6, 0.4), "dual": (0.7, 0.3)}
_CONTINUED_RATE = {"xgboost": 0.01, "neural_network": 1e-4}
"""Learning rate of the second half of a transfer: a tenth of each algorithm's own, which for trees is 0.01."""


def canonical_strategy(name: str) -> str:
    """The strategy behind a name or alias; raises as `canonical`."""
    return canonical(name, STRATEGIES, _ALIASES, "training strategy")


@dataclass(frozen=True)
class Strategy:
    """A strategy with its settings; the default is own rows alone.

    Attributes
    ----------
    name : str
        A key of `STRATEGIES` or an alias.
    user_weight : float
        What an own row counts where an auxiliary one counts 1.
    per_source : int
        Rows drawn from each source by ``balanced``.
    align : {"none", "moments", "coral"}
        What is done to auxiliary features first; ``coral`` is its own strategy's.
    learning_rate : float, optional
        Of the second half of a transfer; default by algorithm.
    member_weights : tuple of two floats, optional
        Of a blend; default as in the table above.
    search : bool
        Choose the weights of a blend on out-of-fold probabilities, nested by fold.
    """

    name: str = "user"
    user_weight: float = 3.0
    per_source: int = 400
    align: str = "none"
    learning_rate: float | None = None
    member_weights: tuple[float, ...] | None = None
    search: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", canonical_strategy(self.name))
        problems = []
        if not (np.isfinite(self.user_weight) and self.user_weight > 0):
            problems.append(f"user_weight is {self.user_weight}, expected a number above 0")
        if self.per_source < 1:
            problems.append(f"per_source is {self.per_source}, expected at least 1")
        if self.align not in ALIGNMENTS:
            problems.append(f"align is {self.align!r}, expected one of {', '.join(ALIGNMENTS)}")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1:
            problems.append(f"learning_rate is {self.learning_rate}, expected above 0 and at most 1")
        if self.member_weights is not None and (
            len(self.member_weights) != 2 or min(self.member_weights) <= 0
        ):
            problems.append(f"member_weights are {self.member_weights}, expected two positive numbers")
        if problems:
            raise UsageError(f"strategy `{self.name}` cannot be used: {'; '.join(problems)}.")
        if self.name == "coral":
            object.__setattr__(self, "align", "coral")

    @property
    def uses_auxiliary(self) -> bool:
        """Whether other rows than own ones train."""
        return self.name != "user"

    @property
    def label(self) -> str:
        """For names of runs and rows of tables, with what was chosen for it."""
        aligned = f" {self.align}" if self.align != "none" and self.name not in ("coral", "user") else ""
        return f"{self.name}{aligned}{' searched' if self.search else ''}"

    def members(self) -> tuple[Strategy, ...]:
        """The strategies that a blend is a mean of; empty for others."""
        plain = replace(self, member_weights=None, search=False)
        return tuple(replace(plain, name=name) for name in _MEMBERS.get(self.name, ()))

    @property
    def fixed_weights(self) -> tuple[float, ...] | None:
        """Weights of the members, or None where they are searched."""
        return None if self.search else self.member_weights or _MEMBER_WEIGHTS[self.name]

    def predict_auxiliary(
        self, classifier: Classifier, own: Dataset, auxiliary: Dataset, rows: Dataset
    ) -> Floats:
        """Probabilities of auxiliary rows, moved as `align` says, float32, shape (n, n_classes).

        Parameters
        ----------
        classifier : Classifier
            Fitted by this strategy.
        own, auxiliary : Dataset
            The rows of the two sources that took part in its fit: only these say how rows are moved.
        rows : Dataset
            Auxiliary rows that did not.
        """
        prepared = classifier.preprocess.transform
        moved = Alignment.fit(self.align, prepared(auxiliary.X), prepared(own.X)).apply(prepared(rows.X))
        return classifier.estimator.predict_proba(moved)

    def fit(self, job: FitJob) -> Classifier:
        """A classifier fitted on the rows of `job`.

        Raises
        ------
        UsageError
            There are no auxiliary rows, or the estimator cannot do what the strategy needs.
        """
        if self.members():
            raise UsageError(f"`{self.name}` is blended from the runs of its members, not fitted.")
        if self.uses_auxiliary and job.auxiliary is None:
            raise UsageError(
                f"strategy `{self.name}` needs rows of a second source, and there are none. Prepare them beside the "
                "labels, for example with `earmark prepare zones LABELS --deam FOLDER`, or use --strategy user."
            )
        return self._continued(job) if self.name == "transfer" else self._pooled(job)

    def _pooled(self, job: FitJob) -> Classifier:
        classifier = job.new_classifier()
        return job.fitted(classifier, self._rows(classifier, job))

    def _rows(self, classifier: Classifier, job: FitJob) -> _Rows:
        """The prepared rows that one fit sees."""
        own = _Rows.of(job.own, classifier, job.class_weight)
        if not self.uses_auxiliary or job.auxiliary is None:
            return own
        other = _Rows.of(job.auxiliary, classifier, job.class_weight)
        other = replace(other, X=Alignment.fit(self.align, other.X, own.X).apply(other.X))
        if self.name == "auxiliary":
            return other
        if self.name == "balanced":
            return own.drawn(self.per_source, (*job.seeds, 0)) + other.drawn(self.per_source, (*job.seeds, 1))
        if self.name == "pooled":
            return own + other
        if self.name == "importance":
            odds = source_odds(own.X, other.X, job.own.groups, job.auxiliary.groups, seed=job.seeds)
            other = replace(other, weights=other.weights * odds)
        return replace(own, weights=own.weights * np.float32(self.user_weight)) + other

    def _continued(self, job: FitJob) -> Classifier:
        assert job.auxiliary is not None
        classifier = job.new_classifier()
        first = job.make()
        first.classes, first.columns, first.preprocess = (
            classifier.classes,
            classifier.columns,
            classifier.preprocess,
        )
        own, other = job.own, job.auxiliary
        before = _Rows.of(other, classifier, job.class_weight)
        # The length of the first half is decided by auxiliary rows: own ones must not choose twice.
        fitted, held = inner_split(other.y, other.groups, job.validation_fraction, seed=(*job.seeds, 2))
        moved = Alignment.fit(self.align, before.X, classifier.preprocess.transform(own.X)).apply(before.X)
        first.fit_prepared(
            moved[fitted],
            before.y[fitted],
            sample_weight=before.weights[fitted],
            targets=before.targets[fitted] if job.is_soft else None,
            held=(moved[held], before.y[held]) if len(held) else None,
            checkpoint=None if job.checkpoint is None else job.checkpoint / "first",
            present=job.present,
        )
        rate = self.learning_rate or _CONTINUED_RATE.get(classifier.estimator.name, 0.01)
        classifier.estimator.set_params(
            **({"learning_rate": rate} if "learning_rate" in classifier.estimator.parameters else {})
        )
        return job.fitted(classifier, _Rows.of(own, classifier, job.class_weight), start=first.estimator)


@dataclass(frozen=True)
class FitJob:
    """Everything that one fit may see.

    Attributes
    ----------
    make : callable
        Returns a new, unfitted classifier.
    own : Dataset
        The scored source's rows that are fitted.
    auxiliary : Dataset, optional
        Rows of another source that may train.
    validation : (X, y), optional
        Own rows for early stopping.
    class_weight : {"balanced"}, optional
        Counted within each source, so that the sources keep their ratio in every class.
    validation_fraction : float
        Share of auxiliary rows held out where these decide the length of a first half.
    seeds : tuple of int
    length : int, optional
        Rounds or epochs to run, instead of the estimator's own number.
    """

    make: Callable[[], Classifier]
    own: Dataset
    auxiliary: Dataset | None = None
    validation: tuple[Floats, Ints] | None = None
    class_weight: ClassWeight = None
    validation_fraction: float = 0.2
    seeds: tuple[int, ...] = (42,)
    checkpoint: Path | None = None
    on_epoch: OnEpoch | None = None
    length: int | None = None

    def new_classifier(self) -> Classifier:
        """An unfitted classifier of the wanted length, its preprocessing fitted on own rows."""
        classifier = self.make().prepare(self.own.X, self.own.y, self.own.columns)
        classifier.estimator = classifier.estimator.with_length(self.length)
        return classifier

    def fitted(self, classifier: Classifier, rows: _Rows, start: Estimator | None = None) -> Classifier:
        """`classifier` fitted on prepared rows, stopped by own ones, continuing from `start` where one is given."""
        return classifier.fit_prepared(
            rows.X,
            rows.y,
            sample_weight=rows.weights,
            targets=rows.targets if self.is_soft else None,
            validation=self.validation,
            checkpoint=self.checkpoint,
            on_epoch=self.on_epoch,
            present=self.present,
            start=start,
        )

    @property
    def present(self) -> Ints:
        """Classes that occur in any source, so that members and halves number them alike."""
        named = [data.targets.any(axis=0) for data in self._sources]
        return np.flatnonzero(np.any(named, axis=0))

    @property
    def is_soft(self) -> bool:
        """Whether any row is of more than one class."""
        return any(data.is_soft for data in self._sources)

    @property
    def _sources(self) -> tuple[Dataset, ...]:
        return (self.own,) if self.auxiliary is None else (self.own, self.auxiliary)


@dataclass(frozen=True)
class _Rows:
    """Prepared rows of one or more sources, with the weight of each."""

    X: Floats = field(repr=False)
    y: Ints
    weights: Floats
    targets: Floats = field(repr=False)

    @classmethod
    def of(cls, data: Dataset, classifier: Classifier, class_weight: ClassWeight) -> _Rows:
        weights = training_weights(data.y, data.weights, class_weight)
        return cls(classifier.preprocess.transform(data.X), data.y, weights, data.targets)

    def __add__(self, other: _Rows) -> _Rows:
        pairs: Sequence[tuple[Any, Any]] = (
            (self.X, other.X),
            (self.y, other.y),
            (self.weights, other.weights),
            (self.targets, other.targets),
        )
        return _Rows(*(np.concatenate(pair) for pair in pairs))

    def drawn(self, n: int, seed: Sequence[int]) -> _Rows:
        """At most `n` rows, drawn without replacement, each class in proportion."""
        if len(self.y) <= n:
            return self
        draw = np.random.default_rng(list(seed)).permutation(len(self.y))
        # The i-th of its class's m rows comes at (i + 1/2) / m of the way: any beginning has all classes in proportion.
        rank = np.empty(len(draw))
        for code in np.unique(self.y):
            of_class = draw[self.y[draw] == code]
            rank[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
        kept = np.sort(np.lexsort((np.argsort(draw), rank))[:n])
        return _Rows(self.X[kept], self.y[kept], self.weights[kept], self.targets[kept])
