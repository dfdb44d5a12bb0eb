"""Metrics as the training rooms see them: a function of labels and probabilities, and which way is better.

"Best" is never a bare minimum or maximum: every comparison goes through the metric's own direction. An
undefined score (NaN) is worse than any number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

from earmark.errors import UsageError
from earmark.models.constraints import closest

__all__ = ["Direction", "Metric", "Metrics", "better", "pick", "ranked"]

Direction = Literal["higher", "lower"]


class Metric(Protocol):
    """``function(y, probabilities) -> float`` and its direction; the metrics of `earmark.evaluation` are
    such.
    """

    @property
    def function(self) -> Callable[..., Any]: ...

    @property
    def direction(self) -> Direction: ...


Metrics = Mapping[str, Metric]


def better(first: float, second: float, direction: Direction) -> bool:
    """Whether `first` is strictly better than `second`."""
    if math.isnan(first) or math.isnan(second):
        return math.isnan(second) and not math.isnan(first)
    return first > second if direction == "higher" else first < second


def ranked(scores: Sequence[float], direction: Direction) -> list[int]:
    """Positions from best to worst; equals keep their order, NaN comes last."""
    sign = -1.0 if direction == "higher" else 1.0

    def order(i: int) -> tuple[bool, float]:
        return (math.isnan(scores[i]), 0.0 if math.isnan(scores[i]) else sign * scores[i])

    return sorted(range(len(scores)), key=order)


def pick(metrics: Metrics, name: str) -> Metric:
    """The metric called `name`; raises UsageError with the likely name."""
    if name not in metrics:
        raise UsageError(
            f"There is no metric `{name}`{closest(name, metrics)}. Choose one of: {', '.join(metrics)}."
        )
    return metrics[name]
