"""From class probabilities to time signatures: up to five hypotheses and how ambiguous they are.

Conventions: classes are those of `earmark.tasks.meter.schema.CLASSES`; probabilities sum to 1; ambiguity is the entropy
of the probabilities that are kept, as a share of the largest possible, 0 (one meter) to 1 (all alike).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from earmark.tasks.meter.analysis.bars import FAST_PULSE_BPM, Bars
from earmark.tasks.meter.grouping import grouping
from earmark.tasks.meter.signatures import grouping_by_rule

__all__ = ["MAX_HYPOTHESES", "Hypotheses", "Hypothesis", "hypotheses", "signature"]

MAX_HYPOTHESES = 5
MIN_PROBABILITY = 0.01
MIN_SHARE_OF_BEST = 0.1

_COMPOUND = {"3": (6, 8), "4": (12, 8)}
_IN_EIGHTHS = ("9", "11")
_ODD = ("5", "7")


@dataclass(frozen=True)
class Hypothesis:
    """A time signature with its probability and the groups of its bar.

    Parameters
    ----------
    confidence : float
        Probability among the hypotheses; these sum to 1 unless more than five remain.
    grouping : tuple of int
        Sizes of the groups of a bar.
    grouping_measured : bool
        Whether accents tell the order; else it is the usual one.
    division : str
        ``simple`` or ``compound``: of the beats, whatever the signature.
    """

    numerator: int
    denominator: int
    confidence: float
    grouping: tuple[int, ...]
    grouping_measured: bool
    division: str

    @property
    def meter(self) -> str:
        """``7/8``."""
        return f"{self.numerator}/{self.denominator}"


@dataclass(frozen=True)
class Hypotheses:
    """The hypotheses, the most probable first; none where there was nothing to say."""

    ranked: tuple[Hypothesis, ...]
    ambiguity: float

    @property
    def meter(self) -> str | None:
        """The most probable signature."""
        return self.ranked[0].meter if self.ranked else None

    @property
    def confidence(self) -> float:
        """Its probability; 0 without one."""
        return self.ranked[0].confidence if self.ranked else 0.0


def hypotheses(probabilities: Mapping[str, float], bars: Bars, *, limit: int = MAX_HYPOTHESES) -> Hypotheses:
    """Rank the signatures that class probabilities and the bars heard speak for.

    Classes below 0.01 are dropped before the ambiguity is taken, those below a tenth of the best after it.

    Parameters
    ----------
    probabilities : mapping of class to float
        Calibrated; empty, or all 0, gives no hypothesis.
    bars : Bars
        Division, pulse and accents, which decide between signatures of one class.
    """
    kept = {name: p for name, p in probabilities.items() if p >= MIN_PROBABILITY}
    if not kept:
        return Hypotheses((), 0.0)
    best = max(kept.values())
    likely = {name: p for name, p in kept.items() if p >= MIN_SHARE_OF_BEST * best}
    total = sum(likely.values())
    order = sorted(likely, key=lambda name: -likely[name])[:limit]
    return Hypotheses(
        tuple(_hypothesis(name, likely[name] / total, bars) for name in order), _ambiguity(kept)
    )


def signature(name: str, bars: Bars) -> tuple[int, int]:
    """Numerator and denominator that a class is shown as.

    Examples
    --------
    >>> signature("3", Bars.none())
    (3, 4)
    """
    if name in _COMPOUND and bars.is_compound:
        return _COMPOUND[name]
    if name == "4" and bars.beats_per_bar == 2:
        return 2, 4
    is_eighths = name in _IN_EIGHTHS or (name in _ODD and bars.pulse_bpm > FAST_PULSE_BPM)
    return int(name), 8 if is_eighths else 4


def _hypothesis(name: str, confidence: float, bars: Bars) -> Hypothesis:
    numerator, denominator = signature(name, bars)
    heard = bars.accents_of(numerator)
    division = "compound" if bars.is_compound else "simple"
    if heard is None:
        groups, is_measured = grouping_by_rule(numerator, compound=bars.is_compound), False
    else:
        found = grouping(heard, compound=bars.is_compound)
        groups, is_measured = found.groups, found.is_measured
    return Hypothesis(numerator, denominator, confidence, groups, is_measured, division)


def _ambiguity(kept: Mapping[str, float]) -> float:
    if len(kept) < 2:
        return 0.0
    p = np.array(list(kept.values())) / sum(kept.values())
    return float(-(p * np.log2(p)).sum() / np.log2(len(p)))
