"""How well bars of every length and every number of beats explain a clip, whatever its tempo and without any tracker.

A bar of T seconds with n beats leaves its mark on the autocorrelation of a curve twice: it is high at T and 2 T, where
the bar repeats, and higher at the multiples of T/n than half-way between them, where the beats of such bars lie. For
each n the score of T is the sum of both, at n or 2 n pulses per bar, whichever says more; the scores at the best T
are compared over n. Nothing depends on having found the beat first: a tracker that hears eighths, or three beats of a
bar of seven, spoils every feature that counts beats.

Conventions: correlations are unbiased, at `FRAMES_PER_S` lags per second, 0 beyond the clip; T runs over `BAR_S` in
`N_BARS` equal ratios; between lags they are read by linear interpolation.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.schema import CLASSES, FRAMES_PER_S

__all__ = ["BAR_GRID_COLUMNS", "N_LAGS", "bar_grid_columns", "bar_scores", "bar_seconds"]

Float64 = NDArray[np.float64]

BAR_S = (0.8, 6.0)
"""Seconds: 3/8 at 225 eighths per minute to 7/4 at 70 beats per minute."""
N_BARS = 220
BEATS = tuple(int(name) for name in CLASSES)
PULSES_PER_BEAT = (1, 2)
N_LAGS = int(np.ceil(2 * BAR_S[1] * FRAMES_PER_S)) + 2

BAR_GRID_COLUMNS = (
    *(f"best_{n}" for n in BEATS),
    *(f"lead_{n}" for n in BEATS),
    *(f"repeat_lead_{n}" for n in BEATS),
    "bar_octave",
)
"""Of one curve: each n at its own best bar; each n less the best n, at the best bar of all and at the bar that repeats
best; length of the best bar in octaves above 1 s."""


@lru_cache(maxsize=1)
def bar_seconds() -> Float64:
    """The bar lengths, ascending, shape (N_BARS,); do not write to them."""
    return np.geomspace(*BAR_S, N_BARS)


def bar_scores(correlation: Float64) -> tuple[Float64, Float64]:
    """Scores of every bar with each number of beats, and by its repetition alone.

    Parameters
    ----------
    correlation : np.ndarray, shape (N_LAGS,)

    Returns
    -------
    scores : np.ndarray, shape (6, N_BARS)
        In the order of `CLASSES`.
    repetition : np.ndarray, shape (N_BARS,)
    """
    bars = _read(correlation, _bar_lags())
    repetition = bars.mean(axis=0)
    contrasts = [
        _largest(
            [_read(correlation, on).mean(axis=0) - _read(correlation, off).mean(axis=0) for on, off in grids]
        )
        for grids in _pulse_lags()
    ]
    return repetition + np.array(contrasts), repetition


def bar_grid_columns(correlation: Float64) -> Float64:
    """The columns of one curve from its autocorrelation, shape (N_LAGS,)."""
    scores, repetition = bar_scores(correlation)
    best_bar = int(scores.max(axis=0).argmax())
    best, repeated = scores[:, best_bar], scores[:, int(repetition.argmax())]
    octave = float(np.log2(bar_seconds()[best_bar])) if scores.any() else 0.0
    return np.concatenate([scores.max(axis=1), best - best.max(), repeated - repeated.max(), [octave]])


def _largest(arrays: list[Float64]) -> Float64:
    """Elementwise maximum."""
    return np.asarray(np.maximum.reduce(arrays))


@lru_cache(maxsize=1)
def _bar_lags() -> Float64:
    """Lags of one and two bars, shape (2, N_BARS)."""
    return np.array([1, 2])[:, None] * bar_seconds() * FRAMES_PER_S


@lru_cache(maxsize=1)
def _pulse_lags() -> tuple[tuple[tuple[Float64, Float64], ...], ...]:
    """Per number of beats and per division of them: lags on the pulses of two bars, and half-way before each."""
    return tuple(tuple(_on_and_off(beats * pulses) for pulses in PULSES_PER_BEAT) for beats in BEATS)


def _on_and_off(pulses: int) -> tuple[Float64, Float64]:
    pulse = bar_seconds() * FRAMES_PER_S / pulses
    numbers = np.arange(1, 2 * pulses + 1)[:, None]
    return numbers * pulse, (numbers - 0.5) * pulse


def _read(correlation: Float64, lags: Float64) -> Float64:
    return np.interp(lags, np.arange(len(correlation)), correlation)
