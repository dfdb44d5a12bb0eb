"""Group ``meter.tempo``: two tempos and how far they agree.

Conventions: BPM / 300; the first tempo is that of the tracker `dp`, the second the highest local maximum of the mean
tempogram between 30 and 300 BPM.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.front_end import front_end
from earmark.audio.tempo import mean_tempogram
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.intervals import beats_bpm
from earmark.tasks.meter.schema import FRAMES_PER_S, MAX_BPM, MIN_BPM, MIN_DURATION_S, SAMPLE_RATE
from earmark.tasks.meter.trackers.dp import dp
from earmark.tasks.meter.trackers.registry import beats_of

__all__ = ["TEMPO", "tempo_columns", "tempogram_bpm"]

COLUMNS = ("dp", "tempogram", "ratio", "agreement")


def tempo_columns(first_bpm: float, second_bpm: float) -> NDArray[np.float64]:
    """Both tempos / 300, the first by the second, and 1 less their difference by the larger.

    A tempo of 0 is missing: without either the row is 0, 0, 1, 0; with one of them the ratio is 1, the agreement 0.5.
    """
    if first_bpm > 0 and second_bpm > 0:
        difference = abs(first_bpm - second_bpm) / max(first_bpm, second_bpm)
        ratio, agreement = first_bpm / second_bpm, 1.0 - difference
    else:
        ratio, agreement = 1.0, 0.5 if max(first_bpm, second_bpm) > 0 else 0.0
    return np.array([first_bpm / MAX_BPM, second_bpm / MAX_BPM, ratio, agreement])


def tempogram_bpm(clip: Clip) -> float:
    """Tempo of the largest local maximum of the mean tempogram, 30 to 300 BPM; 0 without one."""
    g = clip.memo(mean_tempogram)
    lags = np.arange(int(np.ceil(60 * FRAMES_PER_S / MAX_BPM)), int(60 * FRAMES_PER_S / MIN_BPM) + 1)
    lags = lags[lags < len(g) - 1]
    is_peak = (g[lags] > g[lags - 1]) & (g[lags] >= g[lags + 1])
    if not is_peak.any():
        return 0.0
    peaks = lags[is_peak]
    return float(60 * FRAMES_PER_S / peaks[np.argmax(g[peaks])])


def tempo(clip: Clip) -> NDArray[np.float64]:
    """The four columns of a clip."""
    return tempo_columns(beats_bpm(beats_of(clip, dp)), tempogram_bpm(clip.memo(front_end)))


TEMPO: FeatureGroup = feature_group(
    "meter.tempo", columns=COLUMNS, sample_rate=SAMPLE_RATE, min_duration_s=MIN_DURATION_S, reuses=(dp,)
)(tempo)
