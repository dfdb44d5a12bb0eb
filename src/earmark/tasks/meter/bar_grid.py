"""How well bars of every length and every number of beats explain a clip, whatever its tempo and without any tracker.

A bar of T seconds with n beats leaves its mark on the autocorrelation of a curve: it is high at T and 2 T, where the
bar repeats; lower at the multiples of T/n between, where its other beats lie; lowest half-way between these. Two scores
say so for each T and n, at n or 2 n pulses per bar, whichever says more:

``fit``    mean at T and 2 T, and by how much all pulses stand out from the gaps between them
``tiers``  geometric mean of the two steps, from bars to pulses and from pulses to gaps; 0 where either is missing, so
           five bars of three beats are no bar of five

Of each the scores are compared over n, at the best T and over all T. Numbers of beats that are no class compete too:
six and twelve tell three from four by what three alone leaves open, eight explains what would pass for seven or nine.
Nothing depends on having found the beat first: a tracker that hears eighths, or three beats of a bar of seven, spoils
every feature that counts beats.

Conventions: correlations are unbiased, at `FRAMES_PER_S` lags per second, 0 beyond the clip; T runs over `BAR_S` in
`N_BARS` equal ratios; between lags they are read by linear interpolation, so that every mean over lags is a product
with one sparse matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.schema import FRAMES_PER_S

__all__ = [
    "BAR_GRID_COLUMNS",
    "BEATS",
    "N_LAGS",
    "BarScores",
    "bar_grid_columns",
    "bar_scores",
    "bar_seconds",
]

Float64 = NDArray[np.float64]

BAR_S = (0.8, 6.0)
"""Seconds: 3/8 at 225 eighths per minute to 7/4 at 70 beats per minute."""
N_BARS = 220
BEATS = (2, 3, 4, 5, 6, 7, 8, 9, 11, 12)
PULSES_PER_BEAT = (1, 2)
N_LAGS = int(np.ceil(2 * BAR_S[1] * FRAMES_PER_S)) + 2
SHARPNESS = 8.0
"""Of the shares: a bar that scores 0.1 less than another counts 0.45 of it."""

SCORES = ("fit", "tiers")
BAR_GRID_COLUMNS = tuple(
    f"{score}_{column}"
    for score in SCORES
    for column in (
        *(f"best_{n}" for n in BEATS),
        *(f"lead_{n}" for n in BEATS),
        *(f"repeat_lead_{n}" for n in BEATS),
        "bar_octave",
        *(f"share_{n}" for n in BEATS),
    )
)
"""Of one curve and either score: each n at its own best bar; each n less the best n, at the best bar of all and at the
bar that repeats best; length of the best bar in octaves above 1 s; softmax over all bars and n, summed over bars."""


@lru_cache(maxsize=1)
def bar_seconds() -> Float64:
    """The bar lengths, ascending, shape (N_BARS,); do not write to them."""
    return np.geomspace(*BAR_S, N_BARS)


@dataclass(frozen=True)
class BarScores:
    """Scores of every bar: `fit` and `tiers` of shape (len(BEATS), N_BARS), `repetition` (N_BARS,)."""

    fit: Float64
    tiers: Float64
    repetition: Float64


def bar_scores(correlation: Float64) -> BarScores:
    """Scores of every bar with each number of beats, from an autocorrelation of shape (N_LAGS,)."""
    means = np.asarray(_mean_over_lags() @ correlation, dtype=np.float64).reshape(-1, N_BARS)
    repetition, levels = means[0], means[1:].reshape(len(BEATS), len(PULSES_PER_BEAT), 3, N_BARS)
    pulses, inner, gaps = levels[:, :, 0], levels[:, :, 1], levels[:, :, 2]
    fit = repetition + (pulses - gaps).max(axis=1)
    steps = np.maximum(repetition - inner, 0.0) * np.maximum(inner - gaps, 0.0)
    return BarScores(fit, np.sqrt(steps).max(axis=1), repetition)


def bar_grid_columns(correlation: Float64) -> Float64:
    """The columns of one curve from its autocorrelation, shape (N_LAGS,); 0 for a constant curve."""
    if not correlation.any():
        return np.zeros(len(BAR_GRID_COLUMNS))
    found = bar_scores(correlation)
    return np.concatenate([_compared(scores, found.repetition) for scores in (found.fit, found.tiers)])


def _compared(scores: Float64, repetition: Float64) -> Float64:
    best_bar = int(scores.max(axis=0).argmax())
    best, repeated = scores[:, best_bar], scores[:, int(repetition.argmax())]
    octave = float(np.log2(bar_seconds()[best_bar])) if scores.any() else 0.0
    odds = np.exp(SHARPNESS * (scores - scores.max())).sum(axis=1)
    return np.concatenate(
        [scores.max(axis=1), best - best.max(), repeated - repeated.max(), [octave], odds / odds.sum()]
    )


@lru_cache(maxsize=1)
def _mean_over_lags() -> Any:
    """What makes the mean over a set of lags for every bar out of a correlation: a sparse matrix of N_LAGS columns.

    Its rows are bars, repeated for: one and two bars; then per number of beats and per division of them all pulses of
    two bars, those that are no bar, and the gaps half-way before each.
    """
    from scipy.sparse import vstack

    bars = bar_seconds() * FRAMES_PER_S
    sets = [np.array([1.0, 2.0])[:, None] * bars]
    for pulses in (beats * division for beats in BEATS for division in PULSES_PER_BEAT):
        numbers = np.arange(1, 2 * pulses + 1)[:, None]
        inner = numbers[numbers[:, 0] % pulses != 0]
        sets += [chosen * bars / pulses for chosen in (numbers, inner, numbers - 0.5)]
    return vstack([_mean_at(lags) for lags in sets], format="csr")


def _mean_at(lags: Float64) -> Any:
    """Mean of linear interpolations at lags of shape (k, N_BARS), as a sparse matrix (N_BARS, N_LAGS)."""
    from scipy.sparse import coo_array

    below = np.minimum(lags.astype(np.int64), N_LAGS - 2)
    share = lags - below
    bars = np.broadcast_to(np.arange(N_BARS), lags.shape)
    weights = np.concatenate([1 - share, share]) / len(lags)
    places = (np.concatenate([bars, bars]).ravel(), np.concatenate([below, below + 1]).ravel())
    return coo_array((weights.ravel(), places), shape=(N_BARS, N_LAGS)).tocsr()
