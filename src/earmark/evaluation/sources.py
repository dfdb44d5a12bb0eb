"""Scores by where the items come from, so that an easy source cannot hide a hard one.

Items that only train (auxiliary rows of another collection) are scored out of fold as well and stand beside
the others, marked: they are no part of the headline, because nobody asks the model about that collection, and
because their labels may be derived.

Conventions: as in `earmark.evaluation.metrics` and `earmark.evaluation.intervals`; each source is resampled by
itself. A source without a name is shown as ``unnamed``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from earmark.errors import UsageError
from earmark.evaluation.intervals import Interval, bootstrap_intervals
from earmark.evaluation.metrics import METRICS
from earmark.evaluation.tables import csv_text

__all__ = ["SOURCE_METRICS", "UNNAMED", "SourceScore", "score_by_source", "sources_csv"]

SOURCE_METRICS = ("accuracy", "balanced_accuracy", "macro_f1")
"""What is shown of each source; balanced accuracy leaves out a class that the source lacks."""

UNNAMED = "unnamed"


@dataclass(frozen=True)
class SourceScore:
    """Scores of one source's items, and whether they are part of the headline."""

    source: str
    n: int
    in_headline: bool
    scores: Mapping[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Return ``source``, ``n``, ``in_headline`` and ``{value, low, high}`` per metric."""
        head = {"source": self.source, "n": self.n, "in_headline": self.in_headline}
        return head | {name: score.to_json() for name, score in self.scores.items()}


def score_by_source(
    y: ArrayLike,
    p: ArrayLike,
    sources: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    in_headline: bool = True,
    seed: int = 42,
) -> tuple[SourceScore, ...]:
    """Score the items of each source by themselves.

    Parameters
    ----------
    y : array of int, shape (n_items,)
        True classes.
    p : array, shape (n_items, n_classes)
        Probabilities.
    sources : array of str, shape (n_items,)
        Where each item comes from.
    groups : array, shape (n_items,), optional
        What intervals resample; each item alone when absent.
    in_headline : bool, default True
        Whether these items are those of the headline.
    seed : int, default 42
        Seed of the bootstrap.

    Returns
    -------
    tuple of SourceScore
        By name; empty without items.
    """
    classes, probabilities, of = np.asarray(y), np.asarray(p), np.asarray(sources, dtype=np.str_)
    if of.shape != classes.shape:
        raise UsageError(f"sources have shape {of.shape}; expected one for each of the {len(classes)} items.")
    group_of = np.arange(len(classes)) if groups is None else np.asarray(groups)
    metrics = {name: METRICS[name] for name in SOURCE_METRICS}
    return tuple(
        SourceScore(
            str(name) or UNNAMED,
            int(inside.sum()),
            in_headline,
            bootstrap_intervals(
                classes[inside], probabilities[inside], group_of[inside], seed, metrics=metrics
            ),
        )
        for name in np.unique(of)
        for inside in [of == name]
    )


def sources_csv(scores: Sequence[SourceScore]) -> str:
    """CSV with ``source,n,in_headline`` and, per metric, its value and the bounds of its interval."""
    bounds = {name: (name, f"{name}_low", f"{name}_high") for name in SOURCE_METRICS}
    rows = []
    for one in scores:
        row: dict[str, Any] = {"source": one.source, "n": one.n, "in_headline": one.in_headline}
        for name, score in one.scores.items():
            row |= dict(zip(bounds[name], (score.value, score.low, score.high), strict=True))
        rows.append(row)
    columns = ["source", "n", "in_headline", *(column for names in bounds.values() for column in names)]
    return csv_text(rows, columns)
