"""Two baselines without training: the rule of one signal, and a weighted vote of all.

Conventions: scores of the columns of group ``meter.signals``, shape (n_items,) per signature; answers are positions in
`schema.CLASSES`. An item for which nothing speaks is answered by the commonest class, 4.

The vote is that of the first generation of meter systems, without the penalties on rare meters that crushed 5 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.schema import CLASSES, SIGNATURES
from earmark.tasks.meter.signals import SIGNALS
from earmark.tasks.meter.signatures import class_scores

__all__ = ["rule_answers", "vote_answers", "vote_scores"]

Float64 = NDArray[np.float64]

COMMONEST = CLASSES.index("4")
TRACKERS = ("spacing_1", "spacing_2")
WEIGHTS = {"spacing_1": 0.195, "spacing_2": 0.195, "autocorr": 0.20, "bar_tracking": 0.12, "hcdf": 0.29}
"""Trackers 0.39 together, periodicity 0.20, bar tracking 0.12, what is left for the rest."""
UNTRUSTED_PERIODICITY = 0.16
AGREEMENT = {3: 1.15, 4: 1.25}
EVEN_PENALTY = 0.6
EVEN = ("2/4", "4/4", "6/8", "10/8", "12/8")
COMPOUND = {"3/4": "6/8", "4/4": "12/8"}
COMPOUND_GAIN = 1.3


def rule_answers(columns: Mapping[str, Float64]) -> NDArray[np.int64]:
    """The class of the strongest period of the onset envelope at the beats of `dp`."""
    return _best_class(_scores_of(columns, "autocorr"))


def vote_answers(columns: Mapping[str, Float64]) -> NDArray[np.int64]:
    """The class that the weighted signals favour; columns of ``meter.signals``, trust and division beside them."""
    signals = {signal: _scores_of(columns, signal) for signal in SIGNALS}
    trusted = np.max([columns[f"meter.beat.slot{slot}_alignment"] for slot in (1, 2, 3)], axis=0) > 0.4
    is_compound = columns["meter.division.is_compound"] > 0.5
    return _best_class(vote_scores(signals, trusted=trusted, is_compound=is_compound))


def vote_scores(
    signals: Mapping[str, Mapping[str, Float64]],
    *,
    trusted: NDArray[np.bool_],
    is_compound: NDArray[np.bool_],
) -> dict[str, Float64]:
    """Weighted sum of the signals per signature, shape (n_items,) each.

    Parameters
    ----------
    signals : mapping of signal to mapping of signature to array
    trusted : array of bool, shape (n_items,)
        Whether any tracker sits on the onsets; else periodicity, which is given its beat, counts less.
    is_compound : array of bool, shape (n_items,)
        Whether the beats divide into three: then half the score of 3/4 and 4/4 moves to 6/8 and 12/8.
    """
    weights = {name: np.full(len(trusted), weight) for name, weight in WEIGHTS.items()}
    weights["autocorr"] = np.where(trusted, WEIGHTS["autocorr"], UNTRUSTED_PERIODICITY)
    total = {name: np.sum([weights[s] * signals[s][name] for s in SIGNALS], axis=0) for name in SIGNATURES}
    favourites = _favourites(signals)
    for position, name in enumerate(SIGNATURES):
        total[name] = total[name] * _agreement((favourites == position).sum(axis=0))
    total["3/4"] = np.where(_networks_are_even(favourites), EVEN_PENALTY, 1.0) * total["3/4"]
    for simple, compound in COMPOUND.items():
        moved = np.where(is_compound, 0.5 * total[simple], 0.0)
        total[simple] = total[simple] - moved
        total[compound] = total[compound] + COMPOUND_GAIN * moved
    return total


def _favourites(signals: Mapping[str, Mapping[str, Float64]]) -> NDArray[np.int64]:
    """Position in `SIGNATURES` of what each signal says most, shape (n_signals, n_items); -1 where it says nothing."""
    scores = np.array([[signals[signal][name] for name in SIGNATURES] for signal in SIGNALS])
    return np.where(scores.max(axis=1) > 0, scores.argmax(axis=1), -1)


def _agreement(n_agreeing: NDArray[np.int64]) -> Float64:
    return np.select([n_agreeing >= 4, n_agreeing >= 3], [AGREEMENT[4], AGREEMENT[3]], 1.0)


def _networks_are_even(favourites: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether some tracker speaks, and all that speak say an even meter."""
    spoken = favourites[: len(TRACKERS)]
    even = np.isin(spoken, [SIGNATURES.index(name) for name in EVEN])
    return np.asarray((even | (spoken < 0)).all(axis=0) & (spoken >= 0).any(axis=0))


def _scores_of(columns: Mapping[str, Float64], signal: str) -> dict[str, Float64]:
    return {
        name: np.asarray(columns[f"meter.signals.{signal}_{name.replace('/', '_')}"], dtype=np.float64)
        for name in SIGNATURES
    }


def _best_class(scores: Mapping[str, Float64]) -> NDArray[np.int64]:
    by_class = class_scores(scores)
    return np.where(by_class.max(axis=1) > 0, by_class.argmax(axis=1), COMMONEST)
