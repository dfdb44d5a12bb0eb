"""Operating points, chosen on out-of-fold probabilities: calibration, costs, boosts and the threshold.

Choosing is learning, so scores on the rows that chose are too good. `choose` therefore chooses, for each
fold, on the rows of the other folds and decides this fold's rows by that (`Chosen.nested`): no row takes part
in the choice that it is scored with. The decision for the final model is chosen on all rows. What remains is
that the models behind the other folds' probabilities did train on this fold's rows, as in every choice that
is nested by the outer folds alone.

What is chosen, in this order:

* the *calibrator*: fitted on some folds and scored by log loss on another, in turn; the least mean loss wins,
  the simpler of equals;
* the *costs*: given, not learned, but ``balanced`` ones follow the class counts;
* the *boost* of a class: the least that reaches a wanted recall, exactly, from the boost at which each row of
  the class changes sides;
* the *threshold*: the highest that keeps a wanted coverage, or the lowest whose decided rows reach a wanted
  accuracy.

Test rows have no place here: a dataset of them is refused (`SealError`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from earmark.errors import SealError, UsageError
from earmark.models.calibration import CALIBRATORS, Calibrator, Doubles, Identity, mean_log_loss
from earmark.models.constraints import closest
from earmark.models.decision import Costs, Decided, Decision, ordinal_costs, zero_one_costs
from earmark.models.estimator import Ints
from earmark.training.folds import balanced_folds
from earmark.training.operating_points import (
    MIN_DECIDED,
    OperatingPoints,
    Reach,
    boost_for_recall,
    operating_points,
    threshold_for_accuracy,
    threshold_for_coverage,
)

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset
    from earmark.training.runs import Run

__all__ = [
    "COSTS",
    "Chosen",
    "Rows",
    "Wanted",
    "choose",
]

COSTS = ("auto", "none", "ordinal", "balanced", "balanced-ordinal")
"""Costs with a name. ``balanced`` weighs errors on a class by how rare it is, so that the classes count alike;
``auto`` is that where the training weighed its classes and an isotonic calibration undoes it, else ``none``."""

_INNER_FOLDS = 3
_UNEVEN = 1.5
"""Rows of the largest class per row of the smallest above which weighing the classes matters."""
_ROUNDS = 100
_MAX_BOOST = 1e6
"""Where wishes for several classes cannot be met together, their boosts rise without end; this ends it."""


@dataclass(frozen=True)
class Wanted:
    """What a user asks of the decisions.

    Parameters
    ----------
    calibration : {"auto", "none", "temperature", "isotonic"}
    cost : str or tuple of tuple of float
        One of `COSTS`, or costs by true and answered class.
    coverage : float, optional
        Share of rows to decide at least, (0, 1].
    accuracy : float, optional
        Accuracy that the decided rows are to reach, (0, 1]; not together with `coverage`.
    recall : mapping of class to float
        Share of a class's rows to be labelled as such at least, (0, 1].
    """

    calibration: str = "auto"
    cost: str | Costs = "auto"
    coverage: float | None = None
    accuracy: float | None = None
    recall: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        if self.calibration not in ("auto", *CALIBRATORS):
            near = closest(self.calibration, ("auto", *CALIBRATORS))
            problems.append(f"There is no calibration `{self.calibration}`{near}.")
        if isinstance(self.cost, str) and self.cost not in COSTS:
            problems.append(f"There are no costs `{self.cost}`{closest(self.cost, COSTS)}.")
        shares: dict[str, float | None] = {"coverage": self.coverage, "accuracy": self.accuracy}
        shares |= {f"recall of {name}": value for name, value in self.recall.items()}
        problems += [
            f"The wanted {name} is {value}; expected above 0 and at most 1."
            for name, value in shares.items()
            if value is not None and not 0 < value <= 1
        ]
        if self.coverage is not None and self.accuracy is not None:
            problems.append("Coverage and accuracy both set the one threshold; give only one of them.")
        if problems:
            raise UsageError(" ".join(problems))

    def to_dict(self) -> dict[str, Any]:
        """What was asked for, in plain types; nothing for what was not."""
        cost = self.cost if isinstance(self.cost, str) else [list(row) for row in self.cost]
        asked: dict[str, Any] = {"calibration": self.calibration, "cost": cost, "coverage": self.coverage}
        asked |= {"accuracy": self.accuracy, "recall": dict(self.recall) or None}
        return {name: value for name, value in asked.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows with out-of-fold probabilities.

    Parameters
    ----------
    classes : tuple of str, length k
    p : ndarray, shape (n, k)
        Row i as predicted by the model that did not see its fold.
    y, fold : ndarray of int, shape (n,)
    groups : ndarray, shape (n,)
    class_weight : str or None
        Of the recipe: whether the training weighed its classes.
    """

    classes: tuple[str, ...]
    p: Doubles
    y: Ints
    fold: Ints
    groups: npt.NDArray[Any]
    class_weight: str | None = None

    def __post_init__(self) -> None:
        n_sealed = int((self.fold < 0).sum())
        if n_sealed:
            raise SealError(
                f"{n_sealed} of {len(self.y)} rows have a negative fold, the mark of rows outside the folds, such "
                "as those of the sealed test. Thresholds are chosen on out-of-fold rows alone: name a run."
            )
        shapes = (self.p.shape, self.y.shape, self.fold.shape, self.groups.shape)
        n = len(self.y)
        if shapes != ((n, len(self.classes)), (n,), (n,), (n,)) or not n:
            raise UsageError(
                f"Probabilities, classes, folds and groups have shapes {shapes}; expected one row per item and "
                f"one column for each of {', '.join(self.classes)}."
            )

    @classmethod
    def from_dataset(cls, dataset: Dataset, p: npt.ArrayLike, class_weight: str | None = None) -> Self:
        """Rows of a training set; SealError for any other."""
        if dataset.split != "train":
            raise SealError(
                f"Thresholds were asked for on {len(dataset)} rows of the {dataset.split} set; they are chosen on "
                "out-of-fold rows of the training set alone."
            )
        probabilities = np.asarray(p, dtype=np.float64)
        return cls(dataset.classes, probabilities, dataset.y, dataset.folds, dataset.groups, class_weight)

    @classmethod
    def from_run(cls, run: Run) -> Self:
        """The out-of-fold rows that a run keeps."""
        table = run.out_of_fold()
        p = table.select([f"probability_{name}" for name in run.classes]).to_numpy().astype(np.float64)
        y, fold = (table[name].to_numpy().astype(np.int64) for name in ("label", "fold"))
        groups = table["group"].to_numpy().astype(np.str_)
        return cls(run.classes, p, y, fold, groups, run.config["recipe"].get("class_weight"))

    def take(self, rows: npt.NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return replace(self, p=self.p[rows], y=self.y[rows], fold=self.fold[rows], groups=self.groups[rows])


@dataclass(frozen=True)
class Chosen:
    """What `choose` found.

    Attributes
    ----------
    decision : Decision
        Chosen on all rows: for the final model.
    fold_decisions : dict
        Fold -> decision chosen without it.
    nested : Decided
        Each row by the decision that its fold did not take part in: for honest scores.
    same_rows : Decided
        Each row by `decision`: what it was fitted to, and so too good.
    losses : dict
        Calibrator -> mean log loss on held-out folds, nats; empty where none was to be chosen.
    warnings : tuple of str
    """

    decision: Decision
    fold_decisions: dict[int, Decision]
    nested: Decided
    same_rows: Decided
    losses: dict[str, float]
    warnings: tuple[str, ...]


def choose(rows: Rows, wanted: Wanted) -> Chosen:
    """Choose a decision on out-of-fold rows, and decide them again honestly.

    Raises
    ------
    UsageError
        Fewer than two folds, an unknown class, or a recall or accuracy that no choice reaches; the message
        says what can be reached.
    """
    folds = [int(name) for name in np.unique(rows.fold)]
    if len(folds) < 2:
        raise UsageError(f"The rows lie in {len(folds)} fold; expected at least 2. Train with more folds.")
    unknown = [f"{name}{closest(name, rows.classes)}" for name in wanted.recall if name not in rows.classes]
    if unknown:
        raise UsageError(
            f"There is no class {', '.join(unknown)}; expected one of {', '.join(rows.classes)}."
        )
    decision, losses, missed = _choose_on(rows, wanted)
    if missed:
        raise UsageError(" ".join(missed))
    fold_decisions, warnings = {}, _warnings(rows, wanted, decision)
    for name in folds:
        fold_decisions[name], _, missed = _choose_on(rows.take(rows.fold != name), wanted)
        warnings += [f"Without fold {name}: {sentence} The nearest was taken." for sentence in missed]
    nested = _by_fold(rows, fold_decisions)
    return Chosen(decision, fold_decisions, nested, decision.decide(rows.p), losses, tuple(warnings))


def _choose_on(rows: Rows, wanted: Wanted) -> tuple[Decision, dict[str, float], list[str]]:
    """A decision, the calibrators' losses, and a sentence for each wish that could not be met."""
    calibrator, losses = _calibrator(rows, wanted.calibration)
    decision = Decision(rows.classes, calibrator, _costs(rows, wanted.cost, calibrator))
    decision, missed = _boosted(decision, rows, wanted.recall)
    decided = decision.decide(rows.p)
    points = operating_points(decided.labels == rows.y, decided.confidence)
    if wanted.coverage is not None:
        decision = decision.with_threshold(threshold_for_coverage(points, wanted.coverage).value)
    if wanted.accuracy is not None:
        found = threshold_for_accuracy(points, wanted.accuracy)
        decision = decision.with_threshold(found.value)
        if not found.reached:
            missed.append(_accuracy_missed(points, found))
    return decision, losses, missed


def _calibrator(rows: Rows, method: str) -> tuple[Calibrator, dict[str, float]]:
    if method != "auto":
        return CALIBRATORS[method].fit(rows.p, rows.y), {}
    fold = _inner_folds(rows)
    if len(np.unique(fold)) < 2:  # nothing can be held out, so nothing can be said for a calibration
        return Identity(), {}
    losses = {name: _held_out_loss(rows, fold, kind) for name, kind in CALIBRATORS.items()}
    return CALIBRATORS[min(losses, key=losses.__getitem__)].fit(rows.p, rows.y), losses


def _inner_folds(rows: Rows) -> Ints:
    """The folds of the rows; where only one of two is left, this one divided by groups."""
    if len(np.unique(rows.fold)) > 1:
        return rows.fold
    return balanced_folds(rows.y, rows.groups, _INNER_FOLDS, seed=0)


def _held_out_loss(rows: Rows, fold: Ints, kind: type[Calibrator]) -> float:
    """Mean log loss of rows whose fold the calibrator was not fitted on."""
    q = np.zeros_like(rows.p)
    for name in np.unique(fold):
        here = fold == name
        q[here] = kind.fit(rows.p[~here], rows.y[~here]).transform(rows.p[here])
    return mean_log_loss(q, rows.y)


def _costs(rows: Rows, cost: str | Costs, calibrator: Calibrator) -> Costs:
    if not isinstance(cost, str):
        return cost
    n_classes = len(rows.classes)
    if cost == "auto":
        cost = "balanced" if _undoes_weights(rows, calibrator) else "none"
    table = np.asarray(ordinal_costs(n_classes) if "ordinal" in cost else zero_one_costs(n_classes))
    if "balanced" in cost:
        counts = np.bincount(rows.y, minlength=n_classes)
        table = table * (len(rows.y) / (n_classes * np.maximum(counts, 1)))[:, None]
    return tuple(tuple(float(value) for value in row) for row in table)


def _undoes_weights(rows: Rows, calibrator: Calibrator) -> bool:
    """Whether the training weighed its classes and the calibration brings their real frequencies back."""
    return rows.class_weight is not None and calibrator.method == "isotonic"


def _boosted(decision: Decision, rows: Rows, recall: Mapping[str, float]) -> tuple[Decision, list[str]]:
    """Raise boosts in turn until no class asks for more: each one takes rows from the others."""
    q, boost = decision.calibrator.transform(rows.p), np.ones(len(rows.classes))
    for _ in range(_ROUNDS):
        before = boost.copy()
        for name, share in recall.items():
            label = rows.classes.index(name)
            others = np.where(np.arange(len(boost)) == label, 1.0, boost)
            found = boost_for_recall(q * others, decision.costs, rows.y, label, share)
            boost[label] = min(found.value, _MAX_BOOST)
        if (boost == before).all():
            break
    decision = replace(decision, boost=tuple(boost.tolist()))
    labels = decision.decide(rows.p).labels
    reached = {name: _recall(labels, rows, name, share) for name, share in recall.items()}
    if all(reach.reached for reach in reached.values()):
        return decision, []
    wishes = ", ".join(f"{name} {share:g}" for name, share in recall.items())
    shares = ", ".join(f"{name} {reach.achieved:.3f}" for name, reach in reached.items())
    return decision, [f"A recall of {wishes} is not reached by any boosts; those tried give {shares}."]


def _recall(labels: Ints, rows: Rows, name: str, share: float) -> Reach:
    label = rows.classes.index(name)
    of_class = rows.y == label
    return Reach(1.0, float((labels == label)[of_class].mean()) if of_class.any() else share, share)


def _by_fold(rows: Rows, decisions: Mapping[int, Decision]) -> Decided:
    n, k = rows.p.shape
    made = Decided(np.zeros(n, np.int64), np.zeros(n), np.zeros(n, np.bool_), np.zeros((n, k)))
    for name, decision in decisions.items():
        here = rows.fold == name
        part = decision.decide(rows.p[here])
        made.labels[here], made.confidence[here] = part.labels, part.confidence
        made.decided[here], made.probabilities[here] = part.decided, part.probabilities
    return made


def _accuracy_missed(points: OperatingPoints, found: Reach) -> str:
    coverage = float(points.coverage[points.threshold >= found.value].max(initial=0.0))
    return (
        f"An accuracy of {found.wanted:g} is not reached at any threshold that decides {MIN_DECIDED} rows or more; "
        f"the highest is {found.achieved:.3f}, deciding {coverage:.0%} of the rows."
    )


def _warnings(rows: Rows, wanted: Wanted, decision: Decision) -> list[str]:
    """Costs mean what they say where probabilities follow the classes' real frequencies."""
    counts = np.bincount(rows.y, minlength=len(rows.classes))
    is_uneven = counts.max() > _UNEVEN * max(counts.min(), 1)
    has_costs = wanted.cost not in ("auto", "none")
    if not (has_costs and is_uneven and rows.class_weight) or _undoes_weights(rows, decision.calibrator):
        return []
    return [
        f"The training weighed its classes ({rows.class_weight}), and calibration "
        f"`{decision.calibrator.method}` keeps that weighing: the costs come on top of it. With isotonic "
        "calibration they apply to the classes' real frequencies."
    ]
