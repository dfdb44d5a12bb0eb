"""Afterwards, over a whole recording: one machine's probabilities, and what its own two states sound like there.

A model that has never heard a machine is unsure of it, but seldom wrong most of the time; and within one recording the
machine and the room stay the same. So the recording teaches what is left to know: its rows are split into two Gaussians
with one covariance, weighted by the posterior of a sticky two-state chain, and the ratio of the two joins the model's
probabilities in the chain's next pass. No label is read. Nothing here is for a live stream, whose future is not there.

Conventions: rows are equally spaced in time, ``hop_s`` apart; probabilities are of "on"; a posterior given all rows is
the smoothed one (forward-backward). References: L. Rabiner, A tutorial on hidden Markov models, Proc. IEEE 77, 1989;
O. Ledoit and M. Wolf, A well-conditioned estimator for large covariance matrices, 2004 (why the covariance is shrunk).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import UsageError

__all__ = ["DWELL_S", "adapted_posterior", "log_odds", "sticky_posterior"]

Float64 = NDArray[np.float64]

DWELL_S = 20.0
"""Mean time in a state, seconds; for recordings of minutes. A compressor's is ten minutes, which live decoding uses."""

SMALLEST_PROBABILITY = 1e-3
N_PASSES = 3
SHRINKAGE = 0.3  # of the covariance towards its diagonal
MODEL_GAIN, RATIO_GAIN = (
    0.6,
    0.3,
)  # neighbouring rows overlap or resemble each other: each tells less than it seems
RATIO_SHARE = 0.8  # of the recording's own ratio, the rest is the model
LARGEST_RATIO = 6.0
FEWEST_ROWS = 5.0  # that a state needs for a mean of its own


def log_odds(probability: ArrayLike) -> Float64:
    """``ln(p / (1 - p))`` with p clipped to [0.001, 0.999], of any shape."""
    p = np.clip(np.asarray(probability, dtype=np.float64), SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    return np.asarray(np.log(p / (1.0 - p)))


def sticky_posterior(log_ratio: ArrayLike, hop_s: float, dwell_s: float = DWELL_S) -> Float64:
    """Probability of "on" in each row given all rows, for a chain that stays ``dwell_s`` seconds on average.

    Parameters
    ----------
    log_ratio : array_like, shape (n,)
        Log likelihood of the row under "on" less that under "off".
    hop_s, dwell_s : float
        Seconds between rows and mean time in a state, > 0.

    Returns
    -------
    np.ndarray, float64, shape (n,)
        The first row has prior 1/2.

    Raises
    ------
    UsageError
        A time that is not positive.
    """
    if not (hop_s > 0.0 and dwell_s > 0.0):
        raise UsageError(f"hop_s is {hop_s:g} and dwell_s {dwell_s:g}; both are times in seconds above 0.")
    ratio = np.clip(np.asarray(log_ratio, dtype=np.float64), -30.0, 30.0)
    stay = np.exp(-hop_s / dwell_s)
    # both filters run on odds, so a row costs one number each way
    forward = _filtered(ratio, stay)
    backward = _filtered(ratio[::-1], stay)[::-1]
    # the row itself is in both
    odds = np.clip(forward + backward - ratio, -700.0, 700.0)
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))


def adapted_posterior(
    probability: ArrayLike, rows: ArrayLike, hop_s: float, dwell_s: float = DWELL_S
) -> Float64:
    """Probability of "on" in each row of one recording, after the recording has taught its two states.

    Parameters
    ----------
    probability : array_like, shape (n,)
        A model's, of "on".
    rows : array_like, shape (n, n_columns)
        What the states differ in, such as third-octave levels in dB of the same moments; finite.
    hop_s, dwell_s : float
        As in `sticky_posterior`.

    Returns
    -------
    np.ndarray, float64, shape (n,)
        The sticky posterior of the model alone where one of the states has too few rows to be learnt.
    """
    model = MODEL_GAIN * log_odds(probability)
    features = np.asarray(rows, dtype=np.float64)
    on = sticky_posterior(model, hop_s, dwell_s)
    for _ in range(N_PASSES):
        if min(on.sum(), (1.0 - on).sum()) < FEWEST_ROWS:
            break
        ratio = np.clip(RATIO_GAIN * _gaussian_log_ratio(features, on), -LARGEST_RATIO, LARGEST_RATIO)
        on = sticky_posterior(RATIO_SHARE * ratio + (1.0 - RATIO_SHARE) * model, hop_s, dwell_s)
    return on


def _filtered(log_ratio: Float64, stay: float) -> Float64:
    """Log odds of "on" given the rows up to each, shape (n,)."""
    filtered = np.empty_like(log_ratio)
    odds = 0.0
    for row, ratio in enumerate(log_ratio):
        on = 1.0 / (1.0 + np.exp(-odds))
        predicted = stay * on + (1.0 - stay) * (1.0 - on)
        odds = float(np.log(predicted / (1.0 - predicted)) + ratio)
        filtered[row] = odds
    return filtered


def _gaussian_log_ratio(features: Float64, on: Float64) -> Float64:
    """Log ratio of two Gaussians with one shrunk covariance, fitted with the weights ``on`` and 1 - ``on``."""
    weights = np.clip(np.stack([on, 1.0 - on]), 0.02, None)
    means = weights @ features / weights.sum(axis=1, keepdims=True)
    covariance = np.zeros((features.shape[1], features.shape[1]))
    for weight, mean in zip(weights, means, strict=True):
        apart = features - mean
        covariance += (apart * weight[:, None]).T @ apart
    covariance /= weights.sum()
    variance = np.diag(covariance).copy()
    covariance *= 1.0 - SHRINKAGE
    covariance[np.diag_indices_from(covariance)] = variance + 1e-6
    direction = np.linalg.solve(covariance, means[0] - means[1])
    return np.asarray((features - means.mean(axis=0)) @ direction)
