"""Tracker `beat_this`: its network by the user's checkpoint."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.features.group import feature_group
from earmark.tasks.meter.schema import BEAT_COLUMNS, MIN_DURATION_S, SAMPLE_RATE
from earmark.tasks.meter.trackers.weights import Weights

__all__ = ["BEAT_THIS"]


@feature_group(
    "meter.beats_beat_this",
    columns=BEAT_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="events",
    min_duration_s=MIN_DURATION_S,
)
def BEAT_THIS(clip: Clip, weights: Weights | None = None) -> NDArray[np.float32]:
    """Beats and bars by Beat This!; `registry.tracker` gives it its checkpoint."""
    raise UsageError("Beat This! has no checkpoint; expected one. Set EARMARK_BEAT_THIS to its path.")
