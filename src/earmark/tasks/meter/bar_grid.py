"""How well bars of every length and every number of beats explain a clip, whatever its tempo and without any tracker.

A bar of T seconds with n beats leaves its mark on the autocorrelation of a curve: it is high at T and 2 T, where the
bar repeats; lower at the multiples of T/n between, where its other beats lie; lowest half-way between these. Two scores
say so for each T and n, at n or 2 n pulses per bar, whichever says more:

``fit``    mean at T and 2 T, and by how much all pulses stand out from the gaps between them
``tiers``  geometric mean of the two steps, from bars to pulses and from pulses to gaps; 0 where either is missing, so
           five bars of three beats are no bar of five

Of each the scores at the best T are compared over n. Nothing depends on having found the beat first: a tracker that
hears eighths, or three beats of a bar of seven, spoils every feature that counts beats.

Conventions: correlations are unbiased, at `FRAMES_PER_S` lags per second, 0 beyond the clip; T runs over `BAR_S` in
`N_BARS` equal ratios; between lags they are read by linear interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.schema import CLASSES, FRAMES_PER_S

__all__ = ["BAR_GRID_COLUMNS", "N_LAGS", "BarScores", "bar_grid_columns", "bar_scores", "bar_seconds"]

Float64 = NDArray[np.float64]

BAR_S = (0.8, 6.0)
"""Seconds: 3/8 at 225 eighths per minute to 7/4 at 70 beats per minute."""
N_BARS = 220
BEATS = tuple(int(name) for name in CLASSES)
PULSES_PER_BEAT = (1, 2)
N_LAGS = int(np.ceil(2 * BAR_S[1] * FRAMES_PER_S)) + 2

SCORES = ("fit", "tiers")
BAR_GRID_COLUMNS = tuple(
    f"{score}_{column}"
    for score in SCORES
    for column in (
        *(f"best_{n}" for n in BEATS),
        *(f"lead_{n}" for n in BEATS),
        *(f"repeat_lead_{n}" for n in BEATS),
        "bar_octave",
    )
)
"""Of one curve and either score: each n at its own best bar; each n less the best n, at the best bar of all and at the
bar that repeats best; length of the best bar in octaves above 1 s."""


@lru_cache(maxsize=1)
def bar_seconds() -> Float64:
    """The bar lengths, ascending, shape (N_BARS,); do not write to them."""
    return np.geomspace(*BAR_S, N_BARS)


@dataclass(frozen=True)
class BarScores:
    """Scores of every bar: `fit` and `tiers` of shape (6, N_BARS) in the order of `CLASSES`, `repetition` (N_BARS,)."""

    fit: Float64
    tiers: Float64
    repetition: Float64


def bar_scores(correlation: Float64) -> BarScores:
    """Scores of every bar with each number of beats, from an autocorrelation of shape (N_LAGS,)."""
    repetition = _read(correlation, _bar_lags()).mean(axis=0)
    fit, tiers = [], []
    for grids in _pulse_lags():
        levels = [tuple(_read(correlation, lags).mean(axis=0) for lags in grid) for grid in grids]
        fit.append(np.maximum.reduce([pulses - gaps for pulses, _, gaps in levels]))
        tiers.append(np.maximum.reduce([_steps(repetition, inner, gaps) for _, inner, gaps in levels]))
    return BarScores(repetition + np.array(fit), np.array(tiers), repetition)


def bar_grid_columns(correlation: Float64) -> Float64:
    """The columns of one curve from its autocorrelation, shape (N_LAGS,); 0 for a constant curve."""
    found = bar_scores(correlation)
    return np.concatenate([_compared(scores, found.repetition) for scores in (found.fit, found.tiers)])


def _compared(scores: Float64, repetition: Float64) -> Float64:
    best_bar = int(scores.max(axis=0).argmax())
    best, repeated = scores[:, best_bar], scores[:, int(repetition.argmax())]
    octave = float(np.log2(bar_seconds()[best_bar])) if scores.any() else 0.0
    return np.concatenate([scores.max(axis=1), best - best.max(), repeated - repeated.max(), [octave]])


def _steps(bars: Float64, pulses: Float64, gaps: Float64) -> Float64:
    return np.asarray(np.sqrt(np.maximum(bars - pulses, 0.0) * np.maximum(pulses - gaps, 0.0)))


@lru_cache(maxsize=1)
def _bar_lags() -> Float64:
    """Lags of one and two bars, shape (2, N_BARS)."""
    return np.array([1, 2])[:, None] * bar_seconds() * FRAMES_PER_S


@lru_cache(maxsize=1)
def _pulse_lags() -> tuple[tuple[tuple[Float64, Float64, Float64], ...], ...]:
    """Per number of beats and per division of them: lags of all pulses of two bars, of those that are no bar, and of
    the gaps half-way before each.
    """
    return tuple(tuple(_levels(beats * pulses) for pulses in PULSES_PER_BEAT) for beats in BEATS)


def _levels(pulses: int) -> tuple[Float64, Float64, Float64]:
    pulse = bar_seconds() * FRAMES_PER_S / pulses
    numbers = np.arange(1, 2 * pulses + 1)[:, None]
    inner = numbers[numbers[:, 0] % pulses != 0]
    return numbers * pulse, inner * pulse, (numbers - 0.5) * pulse


def _read(correlation: Float64, lags: Float64) -> Float64:
    return np.interp(lags, np.arange(len(correlation)), correlation)
