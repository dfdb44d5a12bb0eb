"""Onsets as events: the peaks of the onset envelope.

Conventions: frames of 512 samples; seconds from the start of the clip; strengths are envelope values, scaled so that
the envelope's largest is 1.

Reference: S. Boeck, F. Krebs, M. Schedl, Evaluating the online capabilities of onset detection methods, ISMIR 2012
(30 ms before, 100 ms of average on either side, threshold 0.07, in frames of 23 ms).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.onset import ONSET_DELAY_FRAMES, onset_envelope

HOP_LENGTH = 512
PRE_AVERAGE, POST_AVERAGE = 4, 5  # frames; the second counts the peak itself
DELTA = 0.07


@dataclass(frozen=True)
class OnsetEvents:
    """Onsets of a clip, ascending. Shared: do not write to them.

    Attributes
    ----------
    frames : int64, shape (n_onsets,)
        Frame of the envelope's peak.
    times_s : float64, shape (n_onsets,)
        The same in seconds.
    strength : float32, shape (n_onsets,)
        Envelope at the peak, 0 to 1.
    backtracked_s : float64, shape (n_onsets,)
        Time of the minimum before the peak, where the sound begins; for display.
    attacks_s : float64, shape (n_onsets,)
        Time of the attack, `ONSET_DELAY_FRAMES` before the peak, not below 0: what beats are compared with.
    """

    frames: NDArray[np.int64]
    times_s: NDArray[np.float64]
    strength: NDArray[np.float32]
    backtracked_s: NDArray[np.float64]
    attacks_s: NDArray[np.float64]


def onset_events(clip: Clip) -> OnsetEvents:
    """Peaks of the onset envelope that rise at least 0.07 above the average around them; none in silence."""
    envelope = clip.memo(onset_envelope)
    largest = envelope.max()
    scaled = envelope / largest if largest > 0 else envelope
    frames = pick_peaks(scaled) if largest > 0 else np.empty(0, dtype=np.int64)
    starts = _starts(frames, scaled)
    attacks = np.maximum(frames - ONSET_DELAY_FRAMES, 0)
    return OnsetEvents(
        frames, _seconds(frames, clip), scaled[frames], _seconds(starts, clip), _seconds(attacks, clip)
    )


def pick_peaks(curve: NDArray[np.float32]) -> NDArray[np.int64]:
    """Places not below the one before, `DELTA` above the average around them, and never two next to each other.

    Parameters
    ----------
    curve : np.ndarray, shape (n,)
        n >= 1.

    Returns
    -------
    np.ndarray, int64, shape (n_peaks,)
    """
    n = len(curve)
    total = np.concatenate([[0.0], np.cumsum(curve, dtype=np.float64)])
    first = np.maximum(np.arange(n) - PRE_AVERAGE, 0)
    end = np.minimum(np.arange(n) + POST_AVERAGE, n)
    average = (total[end] - total[first]) / (end - first)
    high = curve >= average + DELTA
    high[1:] &= curve[1:] >= curve[:-1]
    peaks: list[int] = []
    for place in np.flatnonzero(high).tolist():
        if not peaks or place - peaks[-1] > 1:
            peaks.append(place)
    return np.array(peaks, dtype=np.int64)


def _seconds(frames: NDArray[np.int64], clip: Clip) -> NDArray[np.float64]:
    return frames.astype(np.float64) * (HOP_LENGTH / clip.sample_rate)


def _starts(frames: NDArray[np.int64], curve: NDArray[np.float32]) -> NDArray[np.int64]:
    """The last local minimum at or before each frame; frame 0 if there is none."""
    inner = (curve[1:-1] <= curve[:-2]) & (curve[1:-1] < curve[2:])
    minima = np.concatenate([[0], 1 + np.flatnonzero(inner)])
    starts: NDArray[np.int64] = minima[np.searchsorted(minima, frames, side="right") - 1]
    return starts
