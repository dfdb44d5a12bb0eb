"""`Evaluation`: one evaluation of one run on one split, all that its report, files and JSON are made from.

The caller fills in what it knows (predictions, baselines, goals, costs, hashes, openings of the test set);
scores and intervals are derived from the predictions when asked for, and nothing is kept twice.

Conventions: all per-item fields are in the same order; ``y`` and the columns of ``p`` follow ``classes``;
seconds are wall-clock; undefined scores are ``nan`` here and null in JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError
from earmark.evaluation.baselines import Baseline, ComparisonRow, compare
from earmark.evaluation.domain_shift import DomainShift
from earmark.evaluation.goals import Goal, GoalOutcome, words_of
from earmark.evaluation.importance import Importance
from earmark.evaluation.intervals import Difference, Interval, bootstrap_intervals, per_class_intervals
from earmark.evaluation.label_issues import LabelReview
from earmark.evaluation.metrics import METRICS, confusion_matrix, validate
from earmark.evaluation.plane import Plane
from earmark.evaluation.sections import Section
from earmark.evaluation.sources import SourceScore

__all__ = [
    "Evaluation",
    "Goal",
    "GoalOutcome",
    "Opening",
    "PredictionError",
    "SetAside",
    "Stage",
    "show_difference",
    "show_interval",
    "words_of",
]


@dataclass(frozen=True)
class Stage:
    """What one stage of the pipeline cost: seconds, and how many items were computed or came from the
    cache.
    """

    name: str
    seconds: float
    computed: int = 0
    cached: int = 0


@dataclass(frozen=True)
class SetAside:
    """An input that was left out, with the sentence that says why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Opening:
    """One opening of the sealed test set."""

    when: str
    run: str
    reason: str = ""


@dataclass(frozen=True)
class PredictionError:
    """An item predicted wrong; ``probability_of_truth`` is what the true class was given."""

    id: str
    path: str
    actual: str
    predicted: str
    confidence: float
    probability_of_truth: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """An evaluation and all that its report shows.

    Parameters
    ----------
    task, run, split : str
        What was evaluated and on which rows: ``val`` (out of fold) or ``test``.
    classes : tuple of str
        Class names in order.
    ids, paths : tuple of str
        Each item's name and where its bytes are.
    y : array of int, shape (n_items,)
        True classes.
    p : array, shape (n_items, n_classes)
        Probabilities: out of fold, or of the test set.
    groups : array, shape (n_items,), optional
        What intervals resample; each item alone when absent.
    baselines : tuple of Baseline
        Predictions for the same items.
    headline : str
        The task's metric, named first and compared with the baselines.
    folds : array of int, shape (n_items,), optional
        Fold in which each item was held out; absent for the sealed test.
    goals : tuple of Goal
        What the task wants; the report says which are missed, and which are of the other split.
    importance : tuple of Importance
        Permutation importance, most important first.
    sources : tuple of SourceScore
        Scores by where the items come from, those of items that only train included.
    shift : DomainShift, optional
        How far the items that only train differ from those scored.
    plane : Plane, optional
        The items in the plane of the features' first two principal components.
    label_review : LabelReview, optional
        Labels that the model doubts.
    analyses : tuple of Section
        What analyses of the task's own found.
    set_aside : tuple of SetAside
        Inputs excluded or failed.
    stages : tuple of Stage
        Cost per stage.
    openings : tuple of Opening
        Every opening of this test set so far, this one included.
    has_test_set : bool
        Whether anything is sealed at all.
    facts : mapping of str to mapping
        Tables for readers, by title: model and parameters, data, hashes, versions, seeds.
    class_colours : mapping of str to str
        ``#RRGGBB`` per class, for figures.
    item_noun : str
        What one item is called, in the plural.
    scored_on : str
        Title of the rows, e.g. ``newest part``, in place of what the split says of items that are drawn.
    scored_words : str
        One sentence for readers that says which rows were scored, where `scored_on` is given.
    created : str
        Date and time, ISO 8601; given by the caller, so that the same inputs make the same bytes.
    seed : int
        Seed of the bootstrap.
    warnings : tuple of str
        What a reader must know before trusting the scores.
    """

    task: str
    run: str
    split: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    y: NDArray[np.intp]
    p: NDArray[np.floating]
    groups: NDArray[Any] | None = None
    folds: NDArray[Any] | None = None
    baselines: tuple[Baseline, ...] = ()
    headline: str = "balanced_accuracy"
    goals: tuple[Goal, ...] = ()
    importance: tuple[Importance, ...] = ()
    sources: tuple[SourceScore, ...] = ()
    shift: DomainShift | None = None
    plane: Plane | None = None
    label_review: LabelReview | None = None
    analyses: tuple[Section, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    stages: tuple[Stage, ...] = ()
    openings: tuple[Opening, ...] = ()
    has_test_set: bool = True
    facts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    class_colours: Mapping[str, str] = field(default_factory=dict)
    item_noun: str = "items"
    scored_on: str = ""
    scored_words: str = ""
    created: str = ""
    seed: int = 42
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        y, p, _ = validate(self.y, self.p)
        counts = {"ids": len(self.ids), "paths": len(self.paths), "y": len(y)}
        counts |= {} if self.folds is None else {"folds": len(self.folds)}
        counts |= {} if self.plane is None else {"plane": len(self.plane.points)}
        if len(set(counts.values())) > 1 or p.shape[1] != len(self.classes):
            raise UsageError(
                f"An evaluation has {counts} and {p.shape[1]} probabilities for {len(self.classes)} classes."
            )
        if self.headline not in METRICS:
            raise UsageError(f"There is no metric `{self.headline}`; expected one of {', '.join(METRICS)}.")
        unknown = sorted({goal.label for goal in self.goals if goal.label is not None} - set(self.classes))
        odd = [c for c in self.class_colours.values() if not re.fullmatch(r"#[0-9A-Fa-f]{6}", c)]
        if odd:
            raise UsageError(f"Class colours {', '.join(map(repr, odd))}: expected #RRGGBB.")
        if unknown:
            raise UsageError(
                f"Goals name the classes {', '.join(unknown)}; expected some of {', '.join(self.classes)}."
            )

    @property
    def n(self) -> int:
        """Number of items scored."""
        return len(self.ids)

    @property
    def test_openings(self) -> int:
        """How many times this test set has been opened."""
        return len(self.openings)

    @property
    def test_runs(self) -> int:
        """By how many different runs."""
        return len({opening.run for opening in self.openings})

    @cached_property
    def metrics(self) -> dict[str, Interval]:
        """Every metric with its interval."""
        return bootstrap_intervals(self.y, self.p, self.groups, self.seed)

    @cached_property
    def per_class(self) -> dict[str, dict[str, Interval]]:
        """Precision, recall and F1 of each class with their intervals."""
        return per_class_intervals(self.y, self.p, self.classes, self.groups, self.seed)

    @cached_property
    def fold_scores(self) -> dict[str, tuple[float, ...]]:
        """Every metric on each fold's items alone, folds ascending; empty without folds."""
        if self.folds is None:
            return {}
        parts = [np.flatnonzero(self.folds == fold) for fold in np.unique(self.folds)]
        return {
            name: tuple(float(metric.function(self.y[rows], self.p[rows])) for rows in parts)
            for name, metric in METRICS.items()
        }

    @cached_property
    def comparison(self) -> tuple[ComparisonRow, ...]:
        """The model's row, then one per baseline."""
        return compare(
            self.p, self.baselines, self.y, self.groups, self.seed, name=self.run, headline=self.headline
        )

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Counts, shape (n_classes, n_classes), rows true and columns predicted."""
        return confusion_matrix(self.y, self.p).astype(np.int64)

    @property
    def support(self) -> dict[str, int]:
        """Items per true class."""
        return dict(zip(self.classes, map(int, self.confusion.sum(axis=1)), strict=True))

    @property
    def best_baseline(self) -> ComparisonRow | None:
        """The baseline with the best headline score; None if no baseline has that score."""
        rows = [row for row in self.comparison[1:] if self.headline in row.metrics]
        sign = 1 if METRICS[self.headline].direction == "higher" else -1
        return max(rows, key=lambda row: sign * row.metrics[self.headline].value, default=None)

    @property
    def goal_outcomes(self) -> tuple[GoalOutcome, ...]:
        """Each goal of this split beside what was measured."""
        return tuple(
            GoalOutcome(goal, self._measured(goal)) for goal in self.goals if goal.counts_on(self.split)
        )

    @property
    def other_goals(self) -> tuple[Goal, ...]:
        """Goals that only scores on the other split can answer."""
        return tuple(goal for goal in self.goals if not goal.counts_on(self.split))

    @cached_property
    def errors(self) -> tuple[PredictionError, ...]:
        """Items predicted wrong, the most confident first."""
        p = np.asarray(self.p, dtype=np.float64)
        predicted = p.argmax(axis=1) if p.size else np.zeros(0, dtype=np.intp)
        wrong = np.flatnonzero(predicted != self.y)
        confidence = p[wrong, predicted[wrong]]
        return tuple(
            PredictionError(
                self.ids[i],
                self.paths[i],
                self.classes[self.y[i]],
                self.classes[predicted[i]],
                float(p[i, predicted[i]]),
                float(p[i, self.y[i]]),
            )
            for i in wrong[np.argsort(-confidence, kind="stable")]
        )

    def verdict(self) -> str:
        """Say in plain sentences how good the model is, against the best baseline and the goals."""
        return " ".join(part for part in (self.comparison_sentence(), self._goal_sentence()) if part)

    def comparison_sentence(self) -> str:
        """Say how good the headline score is, and how it stands to the best baseline."""
        own = self.metrics[self.headline]
        if math.isnan(own.value):
            return f"Nothing was scored: no {self.item_noun}."
        name = words_of(self.headline)
        start = f"{name[0].upper()}{name[1:]} {show_interval(own)} on {self.n} {self.item_noun}"
        best = self.best_baseline
        if best is None or best.behind is None:
            return f"{start}; no baseline to compare with."
        gap = best.behind
        return (
            f"{start}, {self._standing(gap)} the best baseline ({best.name}, "
            f"{best.metrics[self.headline].value:.2f}; difference {show_difference(gap)})."
        )

    def _standing(self, gap: Difference) -> str:
        better = gap.value > 0 if METRICS[self.headline].direction == "higher" else gap.value < 0
        side = "better than" if better else "worse than"
        # What rounds to 0.00 is not worth an order.
        return side if gap.is_clear else "level with" if abs(gap.value) < 0.005 else f"not clearly {side}"

    def to_json(self) -> dict[str, Any]:
        """Return what ``evaluate --format json`` prints; its shape is stable.

        Returns
        -------
        dict
            ``task``, ``run``, ``split``, ``n``; ``metrics`` {name: {value, low, high}}; ``baselines``
            {name: {metric: {value, low, high}}}; ``per_class`` {class: {precision, recall, f1: {value, low,
            high}, support}}; ``test_openings``; ``sources`` [{source, n, in_headline, metric: {value, low, high}}];
            ``domain_shift_auc`` {value, low, high} or null; ``analyses`` {name: {title, sentences, files}}; and
            ``label_issues`` if labels were reviewed.
        """
        document = {
            "task": self.task,
            "run": self.run,
            "split": self.split,
            "n": self.n,
            "metrics": _intervals_to_json(self.metrics),
            "baselines": {row.name: _intervals_to_json(row.metrics) for row in self.comparison[1:]},
            "per_class": {
                label: _intervals_to_json(row) | {"support": self.support[label]}
                for label, row in self.per_class.items()
            },
            "test_openings": self.test_openings,
            "sources": [score.to_json() for score in self.sources],
            "domain_shift_auc": None if self.shift is None else self.shift.auc.to_json(),
            "analyses": {section.name: section.to_json() for section in self.analyses},
        }
        return document | ({} if self.label_review is None else {"label_issues": self.label_review.to_json()})

    def to_json_text(self) -> str:
        """Return `to_json` as text, with a final newline."""
        return json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def _measured(self, goal: Goal) -> Interval:
        return self.metrics[goal.metric] if goal.label is None else self.per_class[goal.label][goal.metric]

    def _goal_sentence(self) -> str:
        outcomes = self.goal_outcomes
        named = {
            "Goals missed": [str(outcome) for outcome in outcomes if not outcome.reached],
            "Goals reached": [str(outcome) for outcome in outcomes if outcome.reached],
            self.where_other_goals: [goal.wanted for goal in self.other_goals],
        }
        return " ".join(f"{words}: {', '.join(some)}." for words, some in named.items() if some)

    @property
    def where_other_goals(self) -> str:
        """Where the goals are measured that this split does not answer."""
        return "Measured out of fold only" if self.split == "test" else "Measured on the sealed test only"


def show_interval(interval: Interval, digits: int = 2) -> str:
    """Show a score for readers: ``0.62 [0.52, 0.71]``, or the value alone without bounds."""
    if math.isnan(interval.value):
        return "undefined"
    value = f"{interval.value:.{digits}f}"
    if math.isnan(interval.low):
        return value
    return f"{value} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def show_difference(gap: Difference, digits: int = 2) -> str:
    """Show a difference for readers: ``+0.14 [+0.03, +0.25]``, or the value alone without bounds."""
    if math.isnan(gap.value):
        return "undefined"
    value = f"{gap.value:+.{digits}f}"
    return value if math.isnan(gap.low) else f"{value} [{gap.low:+.{digits}f}, {gap.high:+.{digits}f}]"


def _intervals_to_json(intervals: Mapping[str, Interval]) -> dict[str, Any]:
    return {name: interval.to_json() for name, interval in intervals.items()}
