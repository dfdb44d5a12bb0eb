"""Tempi at which the periods of a clip are looked up, and the mean tempogram that they are read from.

Conventions: BPM; lags in frames of 512 samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.tempo import mean_tempogram, tempo
from earmark.tasks.meter.schema import FRAMES_PER_S, MAX_BPM, MIN_BPM

LAGS = (9, 86)  # frames of a beat: 287 to 30 BPM
APART = 3  # frames: nearer maxima are one
START_BPM = 120.0

Float64 = NDArray[np.float64]


def tempogram_tempi(clip: Clip) -> tuple[float, float, float, float]:
    """The tempi of the two highest maxima of the mean tempogram, half and one and a half times the first.

    A maximum is higher than the lag before it and not lower than the lag after; of equal ones the shorter lag is
    first. For a missing one the clip's tempo stands in, without any onset 120 BPM.
    """
    return _with_relatives(_tempogram_maxima(clip.memo(mean_tempogram)), clip)


def dp_tempi(clip: Clip) -> tuple[float, float, float]:
    """The clip's tempo, its half and its double."""
    bpm = _dp_tempo(clip)
    return bpm, bpm / 2, 2 * bpm


def beat_tempi(clip: Clip, bpm: float) -> tuple[float, float, float, float]:
    """A tempo that beats gave, the clip's tempo, half and one and a half times the first; 0 stands for no beats."""
    return _with_relatives([float(np.clip(bpm, MIN_BPM, MAX_BPM))] if bpm > 0 else [], clip)


def _dp_tempo(clip: Clip) -> float:
    return clip.memo(tempo) or START_BPM


def _with_relatives(found: list[float], clip: Clip) -> tuple[float, float, float, float]:
    first, second, *_ = [*found, _dp_tempo(clip), _dp_tempo(clip)]
    return first, second, max(MIN_BPM, first / 2), min(MAX_BPM, 1.5 * first)


def _tempogram_maxima(profile: Float64) -> list[float]:
    """Tempi of at most two local maxima, highest first."""
    low, high = LAGS
    lags = np.arange(low, high + 1)
    is_peak = (profile[lags] > profile[lags - 1]) & (profile[lags] >= profile[lags + 1])
    peaks = lags[is_peak]
    ordered = peaks[np.argsort(-profile[peaks], kind="stable")]
    if not len(ordered):
        return []
    others = ordered[np.abs(ordered - ordered[0]) >= APART]
    return [60.0 * FRAMES_PER_S / float(lag) for lag in (ordered[0], *others[:1])]
