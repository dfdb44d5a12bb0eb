"""From features to answers, one rung at a time; each may be entered directly.

1. A *method* turns rows of features into `Answers`: `ModelMethod` (a trained classifier and the decision that
   its run was given), `RuleMethod` (soft conditions), `RulesFirst` (the model is asked only where the rules are
   unsure).
2. `Predictor.predict_table` turns a feature table into `Prediction` objects.
3. `Predictor.predict` takes files and URIs through the same `Extractor` and cache as training.
4. `Predictor.predict_sources` also takes folders, lists and patterns.

There is one path: the features of a file are the same numbers here and in training, and a column that a
method needs and does not get is an error that names it, never a zero.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from earmark.cache.entries import FeatureCache
from earmark.errors import SchemaError, UsageError
from earmark.features.extractor import Extractor
from earmark.features.group import FeatureGroup
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.features.table import FeatureTable
from earmark.inference.inputs import expand_inputs
from earmark.inference.prediction import Failed, Prediction
from earmark.inference.rules import RuleSet
from earmark.models.decision import Decision

__all__ = [
    "Abstention",
    "Answers",
    "Failed",
    "Method",
    "ModelMethod",
    "Prediction",
    "Predictor",
    "RuleMethod",
    "RulesFirst",
]

FloatArray = NDArray[np.float64]

UNCERTAIN = "UNCERTAIN"
"""Word for no decision where the task has none of its own."""


class FittedClassifier(Protocol):
    """What a model must offer: `earmark.models.classifier.Classifier`, or anything like it."""

    classes: tuple[str, ...]
    columns: tuple[str, ...]

    def predict_proba(self, X: NDArray[Any], columns: Sequence[str]) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Answers:
    """Answers for several items.

    Parameters
    ----------
    probabilities : array, shape (n_items, n_classes)
        Rows sum to 1.
    labels : array of int, shape (n_items,)
        Position of the chosen class, also where the confidence is too low.
    confidence : array, shape (n_items,)
        0 to 1, of the chosen class.
    decided : array of bool, shape (n_items,)
        False where the confidence is below the method's threshold.
    method : tuple of str
        Which method answered each item.
    """

    probabilities: FloatArray
    labels: NDArray[np.int64]
    confidence: FloatArray
    decided: NDArray[np.bool_]
    method: tuple[str, ...]


class Method(Protocol):
    """A way to answer from features."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Full names of the columns it needs."""

    def answer(self, X: NDArray[Any], columns: Sequence[str]) -> Answers:
        """Answer items from features, shape (n_items, n_columns); SchemaError names missing columns."""


@dataclass(frozen=True)
class ModelMethod:
    """Ask a trained classifier, and decide on what it says.

    Parameters
    ----------
    classifier : FittedClassifier
    decision : Decision, optional
        From probabilities to labels; the answers' probabilities are those it calibrates. Default: the most
        probable class, always.
    threshold : float, optional
        Confidence below which nothing is decided, in place of the decision's own.
    """

    classifier: FittedClassifier
    decision: Decision | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        _check_share("threshold", self.threshold)
        given = self.decision
        if given is not None and given.classes != tuple(self.classifier.classes):
            raise UsageError(
                f"The decision is about {', '.join(given.classes)}, the model answers "
                f"{', '.join(self.classifier.classes)}; expected the same classes in the same order."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        return self.classifier.classes

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the training, in their order."""
        return self.classifier.columns

    def answer(self, X: NDArray[Any], columns: Sequence[str]) -> Answers:
        """Answer items; see `Method.answer`."""
        own = X[:, _select(self.columns, columns)]
        decision = self.decision or Decision(tuple(self.classifier.classes))
        if self.threshold is not None:
            decision = decision.with_threshold(self.threshold)
        made = decision.decide(self.classifier.predict_proba(own, self.columns))
        return Answers(
            made.probabilities, made.labels, made.confidence, made.decided, ("model",) * len(made.labels)
        )


@dataclass(frozen=True)
class RuleMethod:
    """Ask a rule set; the confidence is the best class's score, the probabilities are the scores scaled to
    sum 1.
    """

    rules: RuleSet

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        return self.rules.classes

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the conditions read."""
        return self.rules.columns

    def answer(self, X: NDArray[Any], columns: Sequence[str]) -> Answers:
        """Answer items; see `Method.answer`. Items that satisfy nothing at all get equal probabilities."""
        scores = self.rules.scores(X, columns)
        total = scores.sum(axis=1, keepdims=True)
        equal = np.full(scores.shape, 1 / scores.shape[1])
        p = np.divide(scores, total, out=equal, where=total > 0)
        confidence = scores.max(axis=1) if len(p) else np.zeros(0)
        labels = p.argmax(axis=1).astype(np.int64)
        return Answers(p, labels, confidence, confidence >= self.rules.threshold, ("rules",) * len(p))


@dataclass(frozen=True)
class RulesFirst:
    """Ask the rules; ask the model only for items whose best rule score is below ``enough``."""

    rules: RuleMethod
    model: ModelMethod
    enough: float

    def __post_init__(self) -> None:
        _check_share("enough", self.enough)
        if self.rules.classes != self.model.classes:
            raise UsageError(
                f"The rules answer {', '.join(self.rules.classes)}, the model "
                f"{', '.join(self.model.classes)}; "
                "expected the same classes in the same order."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in order."""
        return self.model.classes

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the rules and of the model."""
        return tuple(dict.fromkeys((*self.rules.columns, *self.model.columns)))

    def answer(self, X: NDArray[Any], columns: Sequence[str]) -> Answers:
        """Answer items; see `Method.answer`."""
        by_rules = self.rules.answer(X, columns)
        asked = np.flatnonzero(by_rules.confidence < self.enough)
        by_model = self.model.answer(X[asked], columns)
        p, labels = by_rules.probabilities.copy(), by_rules.labels.copy()
        confidence, decided = by_rules.confidence.copy(), by_rules.decided.copy()
        p[asked], labels[asked] = by_model.probabilities, by_model.labels
        confidence[asked], decided[asked] = by_model.confidence, by_model.decided
        method = list(by_rules.method)
        for i, name in zip(asked, by_model.method, strict=True):
            method[i] = name
        return Answers(p, labels, confidence, decided, tuple(method))


@dataclass(frozen=True)
class Abstention:
    """When an input is not what a model was made for, whatever the model says of it.

    Parameters
    ----------
    features : str
        The feature set that has the columns.
    columns : tuple of str
        Full names of the columns that `test` reads.
    test : callable
        ``test({column: values})`` gives a bool per item, shape (n_items,).
    reason : str
        A sentence for the reader, kept as the field ``undecided``.
    """

    features: str
    columns: tuple[str, ...]
    test: Callable[[Mapping[str, NDArray[Any]]], NDArray[np.bool_]]
    reason: str

    def of(self, table: FeatureTable) -> NDArray[np.bool_]:
        """For which rows of a table there is no answer, shape (n_items,)."""
        values = table.values[:, _select(self.columns, table.columns)]
        return np.asarray(self.test(dict(zip(self.columns, values.T, strict=True))), dtype=bool)


class Predictor:
    """Answer files, URIs, folders and lists with one method.

    Parameters
    ----------
    method : Method or classifier
        A trained classifier is taken as `ModelMethod` without a decision of its own.
    groups : sequence of FeatureGroup
        Must make every column that the method and `extras` need.
    cache : FeatureCache, optional
        The one that training used, so that known files are not opened.
    workers : int, optional
        As for `Extractor`.
    uncertain : str
        Label where the method does not decide.
    extras : mapping of str to str
        Further fields of a prediction: name to full column, such as ``{"tempo_bpm": "zones.basic.tempo"}``.
    run : str, optional
        Name of the run, given as a field of each prediction.
    with_features : bool
        Give all columns that the method used as the field ``features``.
    abstention : Abstention, optional
        Inputs that get no decision.

    Raises
    ------
    SchemaError
        If the groups do not make a column that is needed; before any input is opened.
    """

    def __init__(
        self,
        method: Method | FittedClassifier,
        groups: Sequence[FeatureGroup],
        cache: FeatureCache | None = None,
        *,
        workers: int | None = None,
        uncertain: str = UNCERTAIN,
        extras: Mapping[str, str] | None = None,
        run: str | None = None,
        with_features: bool = False,
        abstention: Abstention | None = None,
    ) -> None:
        self.method = _as_method(method)
        self.uncertain = uncertain
        self.extras = dict(extras or {})
        self.run = run
        self.with_features = with_features
        self.abstention = abstention
        self.extractor = Extractor(groups, cache, workers=workers)
        made = [
            name for group in self.extractor.groups if group.kind == "vector" for name in group.column_names
        ]
        judged = abstention.columns if abstention is not None else ()
        _select((*self.method.columns, *self.extras.values(), *judged), made)

    def predict_sources(
        self, sources: Iterable[str | os.PathLike[str]], *, progress: ProgressCallback | None = None
    ) -> list[Prediction | Failed]:
        """Answer files, folders, lists, patterns and URIs; see `earmark.inference.inputs` for their
        meaning.
        """
        return self.predict(expand_inputs(sources), progress=progress)

    def predict(
        self, uris: Iterable[str | Failed], *, progress: ProgressCallback | None = None
    ) -> list[Prediction | Failed]:
        """Answer single inputs.

        Parameters
        ----------
        uris : iterable of str or Failed
            Paths or URIs; a `Failed` keeps its place.
        progress : callable, optional
            As for `Extractor.run`.

        Returns
        -------
        list of Prediction or Failed
            One per input, in the order given.
        """
        inputs = list(uris)
        items = [Item(str(i), uri) for i, uri in enumerate(inputs) if isinstance(uri, str)]
        table = self.extractor.run(items, progress=progress)
        uri_of = {item.id: item.uri for item in items}
        outcome: dict[str, Prediction | Failed] = {
            failure.id: Failed(uri_of[failure.id], failure.error) for failure in table.failures
        }
        outcome |= zip(table.ids, self.predict_table(table, [uri_of[id_] for id_ in table.ids]), strict=True)
        return [one if isinstance(one, Failed) else outcome[str(i)] for i, one in enumerate(inputs)]

    def predict_table(self, table: FeatureTable, paths: Sequence[str] | None = None) -> list[Prediction]:
        """Answer the rows of a feature table; ``paths`` names them, their ids when absent."""
        answers = self.method.answer(table.values, table.columns)
        fields = self._fields(table, answers)
        if self.abstention is not None and len(table):
            strange = self.abstention.of(table)
            # What a model says of what it was not made for is no probability: all classes are left open alike.
            equal = np.full(answers.probabilities.shape[1], 1 / answers.probabilities.shape[1])
            answers = replace(
                answers,
                decided=answers.decided & ~strange,
                confidence=np.where(strange, 0.0, answers.confidence),
                probabilities=np.where(strange[:, None], equal, answers.probabilities),
            )
            for i in np.flatnonzero(strange):
                fields[i]["undecided"] = self.abstention.reason
        return [
            self._prediction(path, answers, i, fields[i])
            for i, path in enumerate(table.ids if paths is None else paths)
        ]

    def _prediction(self, path: str, answers: Answers, i: int, fields: Mapping[str, Any]) -> Prediction:
        p = answers.probabilities[i]
        label = self.method.classes[int(answers.labels[i])] if answers.decided[i] else self.uncertain
        probabilities = dict(zip(self.method.classes, map(float, p), strict=True))
        return Prediction(path, label, float(answers.confidence[i]), probabilities, fields)

    def _fields(self, table: FeatureTable, answers: Answers) -> list[dict[str, Any]]:
        extra = table.values[:, _select(tuple(self.extras.values()), table.columns)]
        used = table.values[:, _select(self.method.columns, table.columns)]
        rows = []
        for i, method in enumerate(answers.method):
            row: dict[str, Any] = {
                name: _finite(value) for name, value in zip(self.extras, extra[i], strict=True)
            }
            row["method"] = method
            if self.run is not None:
                row["run"] = self.run
            if self.with_features:
                row["features"] = dict(zip(self.method.columns, map(_finite, used[i]), strict=True))
            rows.append(row)
        return rows


def _as_method(given: Method | FittedClassifier) -> Method:
    # Both are protocols without a common base: what tells them apart is the verb.
    return cast(Method, given) if hasattr(given, "answer") else ModelMethod(given)


def _select(wanted: Sequence[str], columns: Sequence[str]) -> list[int]:
    position = {name: i for i, name in enumerate(columns)}
    missing = list(dict.fromkeys(name for name in wanted if name not in position))
    if missing:
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
        raise SchemaError(
            f"{len(missing)} columns that the prediction needs are missing: {shown}. "
            "Extract with the feature set of the training."
        )
    return [position[name] for name in wanted]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _check_share(name: str, value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise UsageError(f"{name} is {value}; expected 0 to 1.")
