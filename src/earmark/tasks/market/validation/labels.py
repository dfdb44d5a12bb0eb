"""Coverage and classes of labels, from the columns of a label set."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["CLASS_NAMES", "class_counts", "class_ratio", "label_coverage"]

CLASS_NAMES = ("down", "neutral", "up")
"""Names of the classes 0, 1, 2."""

_DIRECTION = "future_direction_"


def label_coverage(labels: pl.DataFrame) -> dict[int, float]:
    """Horizon in s -> share of the rows whose direction is known."""
    found = {}
    for name in labels.columns:
        if name.startswith(_DIRECTION):
            known = labels.height - labels[name].null_count()
            found[int(name.removeprefix(_DIRECTION).removesuffix("s"))] = known / max(1, labels.height)
    return dict(sorted(found.items()))


def class_counts(labels: pl.DataFrame, horizon_s: int) -> tuple[int, int, int]:
    """Rows of each class at a horizon; zeros where it has no column."""
    name = f"{_DIRECTION}{horizon_s}s"
    if name not in labels.columns:
        return 0, 0, 0
    down, neutral, up = (int((labels[name] == index).sum()) for index in range(3))
    return down, neutral, up


def class_ratio(counts: tuple[int, ...]) -> float:
    """Rows of the largest class for one of the smallest; infinite where a class is absent."""
    return max(counts) / min(counts) if min(counts) else float("inf")
