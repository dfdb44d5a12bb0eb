"""Whether there is enough to train on: requirements with a minimum and a recommended value, and a score.

========== ======== ============ ==================================================================
item        minimum  recommended  what is counted
========== ======== ============ ==================================================================
samples     600      10 000       rows
features    110      112          columns of features that are there and not empty
symbols     1        3
period_h    12       168          from the first row to the last
labels      0.80     0.95         share of the rows with a label at the trained horizon
========== ======== ============ ==================================================================

Score: 25 for labels from 0.80, 25 for 1 000 samples or 50 for 10 000, 25 for a ratio of classes up to 5. Ready is a
score of 75 with every minimum reached and a valid schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from earmark.tasks.market.schema import SCHEMA
from earmark.tasks.market.validation.checks import Check, Selection
from earmark.tasks.market.validation.labels import class_counts, class_ratio, label_coverage

__all__ = ["READY_SCORE", "Readiness", "Requirement", "judge", "readiness"]

READY_SCORE = 75

_COLLECT = "earmark collect market"
_REQUIREMENTS = {
    "samples": (600, 10_000, _COLLECT),
    "features": (110, 112, "earmark extract market"),
    "symbols": (1, 3, _COLLECT),
    "period_h": (12, 168, _COLLECT),
    "labels": (0.80, 0.95, "earmark label market"),
}
_WORDS = {"period_h": "hours from the first row to the last", "features": "columns of features"}


@dataclass(frozen=True)
class Requirement:
    """One line: `status` is recommended, minimum or fail."""

    item: str
    value: float
    minimum: float
    recommended: float
    status: str
    next: str


@dataclass(frozen=True)
class Readiness:
    """All requirements, the score and what is missing."""

    requirements: tuple[Requirement, ...]
    score: int
    class_ratio: float
    missing: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether training makes sense."""
        return self.score >= READY_SCORE and not self.missing


def readiness(selection: Selection, checks: list[Check]) -> Readiness:
    """Judge a selection of which the `checks` are known."""
    values = _values(selection)
    requirements, insufficient = judge(values, selection.horizon_s)
    ratio = (
        class_ratio(class_counts(selection.labels, selection.horizon_s))
        if selection.labels is not None
        else float("inf")
    )
    invalid = (
        f"{check.message}. Run: {check.next}"
        for check in checks
        if check.name == "schema" and check.status == "fail"
    )
    return Readiness(requirements, _score(values, ratio), ratio, (*insufficient, *invalid))


def judge(values: Mapping[str, float], horizon_s: int) -> tuple[tuple[Requirement, ...], tuple[str, ...]]:
    """The requirements, of what was counted of each item, and a sentence for each whose minimum is not reached."""
    requirements = tuple(_judged(item, values[item]) for item in _REQUIREMENTS)
    return requirements, tuple(_missing(one, horizon_s) for one in requirements if one.status == "fail")


def _values(selection: Selection) -> dict[str, float]:
    rows = selection.rows
    present = [
        name for name in SCHEMA.inputs if name in rows.columns and rows[name].null_count() < rows.height
    ]
    span_ms: Any = rows["timestamp"].max() - rows["timestamp"].min()  # type: ignore[operator]
    coverage = {} if selection.labels is None else label_coverage(selection.labels)
    return {
        "samples": rows.height,
        "features": len(present),
        "symbols": rows["symbol"].n_unique(),
        "period_h": round(span_ms / 3_600_000, 2),
        "labels": coverage.get(selection.horizon_s, 0.0),
    }


def _judged(item: str, value: float) -> Requirement:
    minimum, recommended, command = _REQUIREMENTS[item]
    status = "recommended" if value >= recommended else "minimum" if value >= minimum else "fail"
    return Requirement(item, value, minimum, recommended, status, "" if status == "recommended" else command)


def _score(values: dict[str, float], ratio: float) -> int:
    labels = 25 if values["labels"] >= 0.80 else 0
    samples = 50 if values["samples"] >= 10_000 else 25 if values["samples"] >= 1_000 else 0
    return labels + samples + (25 if ratio <= 5 else 0)


def _missing(requirement: Requirement, horizon_s: int) -> str:
    if requirement.item == "samples":
        return (
            f"Insufficient data: {requirement.value:g} samples, need at least {requirement.minimum:g}. Collect more, "
            f"or lower sequence_length. Run: {_COLLECT}"
        )
    if requirement.item == "labels":
        what = (
            "Future labels = None"
            if not requirement.value
            else f"Labels cover {requirement.value:.0%} of the rows"
        )
        return f"{what} at {horizon_s} s, need at least {requirement.minimum:.0%}. Run: {requirement.next}"
    what = _WORDS.get(requirement.item, requirement.item)
    return f"{requirement.value:g} {what}, need at least {requirement.minimum:g}. Run: {requirement.next}"
