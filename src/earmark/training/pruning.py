"""When a point of a search is ended early: far enough behind the best that it will hardly win.

Scores are compared in points (hundredths) of a metric that is better higher. Two rules, each needs a gap larger than
asked for:

* folds: the mean score of the folds so far lies below the best point's score, from `min_folds` folds on;
* epochs: the best balanced accuracy on a fold's rows of early stopping lies below the best point's, from epoch `start`
  on; without `start` from the epoch that the best point kept, at most `max_start`.

Rows of early stopping are no test rows, and no fold's own rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset
    from earmark.models.estimator import Floats
    from earmark.training.crossval import Event

__all__ = ["PrunedError", "Pruning", "Target", "Watch"]

_WATCHED = "validation_balanced_accuracy"


class PrunedError(Exception):
    """The point is not worth going on with; its text says why."""


@dataclass(frozen=True)
class Pruning:
    """The rules' settings: `gap` in points, the rest in epochs and folds."""

    gap: float
    start: int | None = None
    max_start: int = 60
    min_folds: int = 3

    def __post_init__(self) -> None:
        if not self.gap > 0 or self.max_start < 1 or self.min_folds < 1 or (self.start or 1) < 1:
            raise UsageError(
                f"Pruning by a gap of {self.gap} points from epoch {self.start or self.max_start} and fold "
                f"{self.min_folds}; expected all above 0. Correct --prune."
            )

    @classmethod
    def parse(cls, text: str, *, max_start: int = 60, min_folds: int = 3) -> Pruning:
        """``3`` is a gap of 3 points, ``3,40`` the same from epoch 40 on."""
        gap, comma, start = text.partition(",")
        try:
            return cls(float(gap), int(start) if comma else None, max_start, min_folds)
        except ValueError as error:
            raise UsageError(f"--prune {text}: expected GAP or GAP,EPOCH, such as 3 or 3,40.") from error

    def first_epoch(self, target: Target) -> int:
        """Number of epochs after which epochs are compared."""
        return self.start or min(max(1, target.length), self.max_start)


@dataclass(frozen=True)
class Target:
    """The best point: its score, its balanced accuracy on rows of early stopping, the epochs it kept."""

    score: float
    validation: float
    length: int


class Watch:
    """Hears of epochs and folds of one point, writes them to its log, and ends it where a rule says so."""

    def __init__(
        self,
        dataset: Dataset,
        function: Callable[..., Any],
        pruning: Pruning | None,
        target: Target | None,
        log: Path,
    ) -> None:
        self._dataset, self._function, self._log = dataset, function, log
        self._rules = None if pruning is None or target is None else (pruning, target)
        self._best: dict[str, float] = {}
        self._scores: list[float] = []
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")

    @property
    def validation(self) -> float:
        """Mean over folds of the best balanced accuracy on rows of early stopping; NaN where none was measured."""
        return sum(self._best.values()) / len(self._best) if self._best else math.nan

    def hear(self, event: Event) -> None:
        """An epoch or a fold."""
        self._write(event)
        if event["event"] != "epoch" or _WATCHED not in event:
            return
        stage = str(event["stage"])
        self._best[stage] = best = max(self._best.get(stage, -math.inf), float(event[_WATCHED]))
        if self._rules is None:
            return
        pruning, target = self._rules
        epochs, gap = int(event["epoch"]) + 1, 100 * (target.validation - best)
        if epochs >= pruning.first_epoch(target) and gap > pruning.gap:
            raise PrunedError(f"{gap:.1f} points behind the best after epoch {epochs} of {stage}")

    def judge(self, fold: int, probabilities: Floats) -> None:
        """A fold's own rows were predicted."""
        y = self._dataset.y[self._dataset.folds == fold]
        self._scores.append(float(self._function(y, probabilities)))
        self._write({"event": "score", "stage": f"fold-{fold}", "score": self._scores[-1]})
        if self._rules is None:
            return
        pruning, target = self._rules
        known = len(self._scores)
        gap = 100 * (target.score - sum(self._scores) / known)
        if known >= pruning.min_folds and gap > pruning.gap:
            raise PrunedError(f"{gap:.1f} points behind the best after {known} folds")

    def _write(self, event: Event) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
