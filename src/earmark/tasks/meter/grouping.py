"""How the beats of a bar are grouped, 2+2+3 against 3+2+2, heard from the accents.

Conventions: an accent is the sum of onset strength and level at a beat, each standardised over the beats; positions
count from 1 at the downbeat, 0 without bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.signatures import grouping_by_rule

__all__ = ["Grouping", "accents", "bar_accents", "candidate_groupings", "grouping"]

MIN_MARGIN = 0.1
"""Of standardised accent: below it the best order is no better heard than the next."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Grouping:
    """Sizes of the groups of a bar in order; whether accents tell; by how much the best order leads."""

    groups: tuple[int, ...]
    is_measured: bool
    margin: float


@lru_cache(maxsize=32)
def candidate_groupings(beats: int) -> tuple[tuple[int, ...], ...]:
    """All orders of twos and threes that fill a bar, e.g. (2, 3) and (3, 2) for five beats; none for one beat."""
    if beats == 0:
        return ((),)
    heads = (head for head in (2, 3) if head <= beats)
    return tuple((head, *rest) for head in heads for rest in candidate_groupings(beats - head))


def accents(*curves: Float64) -> Float64:
    """Sum of curves over the beats, each with mean 0 and variance 1; a constant one adds 0; shape (n_beats,)."""
    return np.asarray(sum(_standardised(np.asarray(curve, dtype=np.float64)) for curve in curves))


def bar_accents(beat_accents: Float64, positions: NDArray[np.int64], beats: int) -> Float64:
    """Mean accent of each position over the bars of `beats` beats, shape (beats,); 0 where there is none."""
    starts = np.flatnonzero(positions == 1)
    full = starts[:-1][np.diff(starts) == beats]
    if not len(full):
        return np.zeros(beats)
    return np.asarray(beat_accents[full[:, None] + np.arange(beats)].mean(axis=0))


def grouping(position_accents: Sequence[float] | Float64, *, compound: bool = False) -> Grouping:
    """The order of twos and threes whose group starts stand out most.

    Parameters
    ----------
    position_accents : array_like, shape (n_beats_per_bar,)
        From `bar_accents`.
    compound : bool
        Whether the beats divide into three, for the rule that answers where accents do not.
    """
    strengths = np.asarray(position_accents, dtype=np.float64)
    ranked = sorted(
        ((_contrast(strengths, groups), groups) for groups in candidate_groupings(len(strengths))),
        reverse=True,
    )
    margin = ranked[0][0] - ranked[1][0] if len(ranked) > 1 else 0.0
    if margin < MIN_MARGIN:
        return Grouping(grouping_by_rule(len(strengths), compound=compound), False, float(margin))
    return Grouping(ranked[0][1], True, float(margin))


def _contrast(strengths: Float64, groups: Sequence[int]) -> float:
    """Mean accent at group starts less that elsewhere."""
    is_start = np.zeros(len(strengths), dtype=bool)
    is_start[[0, *accumulate(groups[:-1])]] = True
    return float(strengths[is_start].mean() - strengths[~is_start].mean())


def _standardised(values: Float64) -> Float64:
    spread = values.std() if len(values) else 0.0
    return np.asarray((values - values.mean()) / spread if spread > 0 else np.zeros_like(values))
