"""Group ``meter.audio`` with tempi from the beats of the trackers (v6.1): the same 1449 columns.

A tempo off by a third moves every lag of blocks A, F and G; beats of a good tracker are right more often than the
highest maximum of the tempogram.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.front_end import HIGHPASS_HZ, front_end
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.groups.audio_columns import audio_columns
from earmark.tasks.meter.groups.audio_v6 import audio_values
from earmark.tasks.meter.groups.slots import DEFAULT_TRACKERS, Trackers, present, primary_beats
from earmark.tasks.meter.groups.tempo_candidates import beat_tempi
from earmark.tasks.meter.intervals import beats_bpm
from earmark.tasks.meter.schema import MIN_DURATION_S, SAMPLE_RATE

__all__ = ["AUDIO_TRACKED"]


def audio_tracked(clip: Clip, *, trackers: Trackers, highpass_hz: float) -> NDArray[np.float64]:
    """The columns of v6 at the primary tracker's median tempo and its relatives, shape (1449,)."""
    ready = clip.memo(front_end, highpass_hz=highpass_hz)
    return audio_values(ready, beat_tempi(ready, beats_bpm(primary_beats(clip, trackers))))


AUDIO_TRACKED: FeatureGroup = feature_group(
    "meter.audio",
    columns=audio_columns("v6"),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"trackers": DEFAULT_TRACKERS, "highpass_hz": HIGHPASS_HZ},
    reuses=present(DEFAULT_TRACKERS),
)(audio_tracked)
