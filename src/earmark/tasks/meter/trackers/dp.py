"""Trackers by dynamic programming: `dp`, and `librosa`, the plain rule of the field's reference implementation.

Neither knows bars: positions are 0. `earmark.tasks.meter.trackers.bars` lays bars over the beats of `dp`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.beat_tracking import beat_strengths, pulse_beats, refined_times_s
from earmark.audio.clip import Clip
from earmark.audio.front_end import front_end
from earmark.audio.tempo import beat_frames
from earmark.features.group import feature_group
from earmark.tasks.meter.schema import BEAT_COLUMNS, MIN_DURATION_S, SAMPLE_RATE
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["dp", "librosa_rule"]


@feature_group(
    "meter.beats_dp",
    columns=BEAT_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="events",
    min_duration_s=MIN_DURATION_S,
)
def dp(clip: Clip) -> NDArray[np.float32]:
    """Beats and tempo decided together, at sub-frame times."""
    ready = clip.memo(front_end)
    return _rows(ready, ready.memo(pulse_beats))


@feature_group(
    "meter.beats_librosa",
    columns=BEAT_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="events",
    min_duration_s=MIN_DURATION_S,
)
def librosa_rule(clip: Clip) -> NDArray[np.float32]:
    """Beats at the one tempo nearest to 120 BPM that the tempogram allows, at sub-frame times."""
    ready = clip.memo(front_end)
    return _rows(ready, ready.memo(beat_frames))


def _rows(ready: Clip, frames: NDArray[np.int64]) -> NDArray[np.float32]:
    positions = np.zeros(len(frames), dtype=np.int64)
    return Beats(refined_times_s(ready, frames), positions, beat_strengths(ready, frames)).rows
