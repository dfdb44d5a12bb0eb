"""What a task wants of a score, and on which rows it is to be measured.

A goal is reached if the measured value itself is beyond the target; whether the interval agrees is said beside
it. A goal with a `split` counts on that split alone: a score out of fold, after a choice among models, is no
answer to a goal that is meant for the sealed test, nor the other way round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from earmark.errors import UsageError
from earmark.evaluation.intervals import Interval
from earmark.evaluation.metrics import METRICS

__all__ = ["SPLITS", "Goal", "GoalOutcome", "words_of"]

SPLITS = ("val", "test")
"""Out of fold on the training rows, and the sealed test."""

_PER_CLASS = ("precision", "recall", "f1")


@dataclass(frozen=True)
class Goal:
    """A score that the task wants: above ``target`` where higher is better, below it where lower is.

    ``metric`` is a name of `METRICS`, or ``precision``, ``recall`` or ``f1`` of the class ``label``; ``split`` is
    ``val`` or ``test`` for a goal of that split alone.
    """

    metric: str
    target: float
    label: str | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        known = _PER_CLASS if self.label is not None else tuple(METRICS)
        if self.metric not in known:
            raise UsageError(f"There is no goal for `{self.metric}`; expected one of {', '.join(known)}.")
        if self.split not in (None, *SPLITS):
            raise UsageError(
                f"A goal of split `{self.split}`: expected {' or '.join(SPLITS)}, or none for both."
            )

    @property
    def name(self) -> str:
        """``PURPLE recall``, ``balanced accuracy``, ``cross-validated accuracy`` or ``holdout accuracy``."""
        where = {None: "", "val": "cross-validated ", "test": "holdout "}[self.split]
        return where + (
            words_of(self.metric) if self.label is None else f"{self.label} {words_of(self.metric)}"
        )

    @property
    def wants_more(self) -> bool:
        """Whether higher is better."""
        return self.label is not None or METRICS[self.metric].direction == "higher"

    @property
    def wanted(self) -> str:
        """``holdout accuracy > 0.80``."""
        return f"{self.name} {'>' if self.wants_more else '<'} {self.target:.2f}"

    def counts_on(self, split: str) -> bool:
        """Whether scores on `split` answer this goal."""
        return self.split in (None, split)


@dataclass(frozen=True)
class GoalOutcome:
    """A goal beside what was measured."""

    goal: Goal
    measured: Interval

    @property
    def reached(self) -> bool:
        """Whether the measured value itself is beyond the target; an undefined value is not."""
        value, target = self.measured.value, self.goal.target
        return value > target if self.goal.wants_more else value < target

    @property
    def certain(self) -> bool:
        """Whether the whole interval lies on one side of the target."""
        return self.measured.low > self.goal.target or self.measured.high < self.goal.target

    def __str__(self) -> str:
        got = "undefined" if math.isnan(self.measured.value) else f"{self.measured.value:.2f}"
        return f"{self.goal.wanted} (measured {got})"


def words_of(metric: str) -> str:
    """Name a metric for readers: ``balanced_accuracy`` -> ``balanced accuracy``."""
    special = {
        "macro_f1": "macro F1",
        "weighted_f1": "weighted F1",
        "f1": "F1",
        "mcc": "Matthews correlation",
        "ece": "ECE",
        "brier": "Brier score",
    }
    return special.get(metric, metric.replace("_", " "))
