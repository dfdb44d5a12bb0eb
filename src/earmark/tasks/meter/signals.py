"""Five witnesses of the meter, each with scores for the signatures it can tell; every one is given the same beat.

==============  ===========================================================================================
``spacing_1``   how often the downbeats of the first tracker lie 2, ..., 12 beats apart
``spacing_2``   the same for the second tracker
``autocorr``    periods of the onset envelope at the lengths of bars
``bar_tracking``  how well bars of 3, 4, 5 and 7 beats fit the downbeat activation of the beats
``hcdf``        periods of harmonic change (Harte, Sandler, Gasser, 2006) at the lengths of bars
==============  ===========================================================================================

Conventions: scores are 0 to 1, a signature without evidence is absent; a beat is the median inter-beat interval of the
tracker that sits best on the onsets, in seconds, 0 if there is none: then the signals that need it say nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.downbeats import fit_bars
from earmark.tasks.meter.intervals import spacing_shares
from earmark.tasks.meter.periodicity import bar_peaks, scaled_to_max
from earmark.tasks.meter.trackers.rows import Beats

__all__ = [
    "SIGNALS",
    "Scores",
    "autocorrelation_scores",
    "bar_tracking_scores",
    "harmonic_change",
    "harmonic_change_scores",
    "spacing_scores",
]

Scores = dict[str, float]
Array = NDArray[np.floating]

SIGNALS = ("spacing_1", "spacing_2", "autocorr", "bar_tracking", "hcdf")
"""In the order of their columns."""

MIN_SHARE = 0.15
DOUBLED_WEIGHT = 0.4
MIN_CORRELATION = 0.02
BAR_LENGTHS = (3, 4, 5, 7)
MIN_BEATS = 6
MIN_PROBABILITY = 0.05


def spacing_scores(beats: Beats) -> Scores:
    """``n/4`` by the share of bars of n beats, if it is at least 0.15; 0.4 of it for bars of twice the length."""
    scores: Scores = {}
    for n_beats, share in spacing_shares(beats).items():
        if share < MIN_SHARE:
            continue
        scores[f"{n_beats}/4"] = scores.get(f"{n_beats}/4", 0.0) + share
        if 2 * n_beats <= 12:
            doubled = f"{2 * n_beats}/4"
            scores[doubled] = scores.get(doubled, 0.0) + DOUBLED_WEIGHT * share
    return scores


def autocorrelation_scores(envelope: Array, frames_per_s: float, beat_s: float) -> Scores:
    """Peaks above 0.02 of the autocorrelation of the onset envelope at the lengths of bars, the largest 1."""
    return bar_peaks(envelope, frames_per_s * beat_s, above=MIN_CORRELATION)


def harmonic_change_scores(chroma: Array, frames_per_s: float, beat_s: float) -> Scores:
    """Peaks of the autocorrelation of harmonic change at the lengths of bars, the largest 1.

    Parameters
    ----------
    chroma : np.ndarray, shape (n_frames, 12)
    """
    return bar_peaks(harmonic_change(chroma), frames_per_s * beat_s)


def harmonic_change(chroma: Array) -> NDArray[np.float64]:
    """1 less the cosine of each frame and the next, shape (n_frames - 1,); 0 beside a silent frame."""
    values = np.asarray(chroma, dtype=np.float64)
    norms = np.linalg.norm(values, axis=1)
    products = (values[1:] * values[:-1]).sum(axis=1)
    scale = norms[1:] * norms[:-1]
    return np.where(scale > 0, 1.0 - products / np.where(scale > 0, scale, 1.0), 0.0)


def bar_tracking_scores(activation: NDArray[np.float64]) -> Scores:
    """``n/4`` for bars of 3, 4, 5 and 7 beats by their likelihood, those above 0.05, the largest 1.

    Parameters
    ----------
    activation : np.ndarray, shape (n_beats,)
        How much each beat sounds like a downbeat, 0 to 1; fewer than six beats say nothing.
    """
    if len(activation) < MIN_BEATS:
        return {}
    likelihoods = np.array(list(fit_bars(activation, BAR_LENGTHS).log_likelihood.values()))
    odds = np.exp(likelihoods - likelihoods.max())
    probabilities = odds / odds.sum()
    return scaled_to_max(
        {
            f"{n_beats}/4": float(probability)
            for n_beats, probability in zip(BAR_LENGTHS, probabilities, strict=True)
            if probability > MIN_PROBABILITY
        }
    )
