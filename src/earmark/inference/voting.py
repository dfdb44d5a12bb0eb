"""From the probabilities of a track's frames to one answer for the track.

=============  ============================================================================================
method         score of a class
=============  ============================================================================================
``mean``       mean of its probability over the frames
``majority``   share of the frames in which it is the most probable
``weighted``   mean of its probability, each frame with its `frame_weights`: sure frames, late frames and
               frames that agree with their neighbours count more
=============  ============================================================================================

Conventions: frames in time order and of equal length; classes in any order, the caller's. Of two classes that
are equally probable in a frame the first counts. Scores sum to 1. `decide` may raise the scores of single
classes, for one that is missed too often, and gives no answer where the best is not sure enough.

All functions are of the whole track: weights depend on where a frame lies in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.models.constraints import closest

__all__ = [
    "METHODS",
    "UNDECIDED",
    "Decision",
    "FrameWeights",
    "decide",
    "frame_weights",
    "majority_vote",
    "mean_vote",
    "vote",
    "weighted_vote",
]

Floats = npt.NDArray[np.float64]

UNDECIDED = -1
LATE_FROM, LAST_FROM = 0.6, 0.9  # places in the track, 0 to 1
LATE_MOST, LAST = 3.0, 3.6  # position weight: 1, then rising to 3, then 3.6
BOTH_AGREE, ONE_AGREES, NONE_AGREES = 1.5, 1.2, 1.0


@dataclass(frozen=True)
class FrameWeights:
    """Shares of the three parts of a frame's weight; each part is scaled to 0 to 1 over the track first.

    Parameters
    ----------
    confidence : float
        Of the probability of the frame's best class.
    position : float
        Of the place in the track: 1 up to 60 %, from there rising to 3, but 3.6 in the last 10 %. What a track
        builds up to tells its energy better than its intro.
    agreement : float
        Of neighbours with the same best class: 1.5 with both, 1.2 with one, 1 with none.
    """

    confidence: float = 0.3
    position: float = 0.5
    agreement: float = 0.2

    def __post_init__(self) -> None:
        parts = (self.confidence, self.position, self.agreement)
        if not all(np.isfinite(part) and part >= 0 for part in parts) or not sum(parts) > 0:
            raise UsageError(
                f"the shares of a frame's weight are {parts}; expected numbers >= 0, not all 0. Correct them."
            )


@dataclass(frozen=True)
class Decision:
    """The answer for a track: class position or `UNDECIDED`, its score, and the scores of all, shape (k,)."""

    label: int
    confidence: float
    scores: Floats


def mean_vote(probabilities: npt.ArrayLike) -> Floats:
    """Mean probability of each class over the frames.

    Parameters
    ----------
    probabilities : array, shape (n_frames, k)
        At least one frame; numbers >= 0, scaled to sum 1 in each frame.

    Returns
    -------
    ndarray, shape (k,)
        Scores that sum to 1.

    Raises
    ------
    UsageError
        The table is empty, not two-dimensional, or holds negative or non-finite numbers or a frame of zeros.
    """
    return np.asarray(_checked(probabilities).mean(axis=0))


def majority_vote(probabilities: npt.ArrayLike) -> Floats:
    """Share of the frames in which each class is the most probable; parameters and errors as `mean_vote`."""
    table = _checked(probabilities)
    return np.bincount(table.argmax(axis=1), minlength=table.shape[1]) / len(table)


def weighted_vote(probabilities: npt.ArrayLike, weights: FrameWeights | None = None) -> Floats:
    """Mean probability of each class with `frame_weights`; parameters and errors as `mean_vote`.

    Examples
    --------
    >>> weighted_vote([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]], FrameWeights(0, 1, 0)).round(2)
    array([0.1, 0.9])
    """
    table = _checked(probabilities)
    return np.asarray(np.average(table, axis=0, weights=frame_weights(table, weights)))


def frame_weights(probabilities: npt.ArrayLike, weights: FrameWeights | None = None) -> Floats:
    """Weight of each frame, shape (n_frames,), 0 to the sum of the shares; equal where nothing sets frames apart.

    A part that is the same in all frames is left out. Parameters and errors as `mean_vote`.
    """
    share, table = weights or FrameWeights(), _checked(probabilities)
    parts = (
        share.confidence * _min_max(table.max(axis=1)),
        share.position * _min_max(_position(len(table))),
        share.agreement * _min_max(_agreement(table.argmax(axis=1))),
    )
    total = np.sum(parts, axis=0)
    return total if total.any() else np.ones(len(table))


METHODS: Mapping[str, Callable[[npt.ArrayLike], Floats]] = {
    "mean": mean_vote,
    "majority": majority_vote,
    "weighted": weighted_vote,
}


def decide(
    scores: npt.ArrayLike, *, boosts: Sequence[float] | None = None, threshold: float = 0.0
) -> Decision:
    """The best class, or none if its score is too low.

    Parameters
    ----------
    scores : array, shape (k,)
        Of a vote.
    boosts : sequence of float, length k, optional
        Factors of the scores, which are then scaled to sum 1 again.
    threshold : float
        Least score of an answer, 0 to 1.

    Returns
    -------
    Decision
        With the scores after boosting; `label` is `UNDECIDED` where the best of them is below `threshold`.

    Raises
    ------
    UsageError
        A boost is missing, negative or not finite, or leaves no class; the threshold is outside 0 to 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    factors = np.ones(len(values)) if boosts is None else np.asarray(boosts, dtype=np.float64)
    if factors.shape != values.shape or not np.isfinite(factors).all() or (factors < 0).any():
        raise UsageError(
            f"boosts are {boosts}; expected {len(values)} numbers >= 0, one for each class. Correct them."
        )
    if not 0 <= threshold <= 1:
        raise UsageError(f"the threshold of a vote is {threshold}; expected 0 to 1. Correct it.")
    boosted = _checked((values * factors)[None, :])[0]
    best = int(boosted.argmax())
    confidence = float(boosted[best])
    return Decision(best if confidence >= threshold else UNDECIDED, confidence, boosted)


def vote(
    probabilities: npt.ArrayLike,
    method: str = "mean",
    *,
    boosts: Sequence[float] | None = None,
    threshold: float = 0.0,
) -> Decision:
    """Vote by one of `METHODS`, then `decide`.

    Examples
    --------
    >>> vote([[0.6, 0.4], [0.6, 0.4], [0.2, 0.8]], "majority").label
    0
    >>> vote([[0.6, 0.4], [0.6, 0.4], [0.2, 0.8]], "mean", threshold=0.7).label == UNDECIDED
    True
    """
    if method not in METHODS:
        raise UsageError(
            f"there is no vote {method!r}{closest(method, METHODS)}. Known: {', '.join(METHODS)}."
        )
    return decide(METHODS[method](probabilities), boosts=boosts, threshold=threshold)


def _position(n_frames: int) -> Floats:
    """Weight of each frame by the place of its centre in the track."""
    place = (np.arange(n_frames) + 0.5) / n_frames
    rising = 1 + (LATE_MOST - 1) * np.clip((place - LATE_FROM) / (1 - LATE_FROM), 0, 1)
    return np.where(place >= LAST_FROM, LAST, rising)


def _agreement(best: npt.NDArray[np.intp]) -> Floats:
    same = best[1:] == best[:-1]
    count = np.append(same, False).astype(int) + np.append(False, same)
    return np.asarray(np.array([NONE_AGREES, ONE_AGREES, BOTH_AGREE])[count])


def _min_max(values: Floats) -> Floats:
    low, span = values.min(), np.ptp(values)
    return np.asarray((values - low) / span if span > 0 else np.zeros(len(values)))


def _checked(probabilities: npt.ArrayLike) -> Floats:
    table = np.asarray(probabilities, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise UsageError(
            f"probabilities of frames have shape {table.shape}; expected (n_frames, n_classes), at least one of "
            "each. Pass one row for each frame."
        )
    sums = table.sum(axis=1, keepdims=True)
    if not np.isfinite(table).all() or (table < 0).any() or not (sums > 0).all():
        raise UsageError(
            "probabilities of frames hold a negative or non-finite number, or a frame of zeros; expected numbers "
            ">= 0 with a positive sum. Predict the frames again."
        )
    return np.asarray(table / sums)
