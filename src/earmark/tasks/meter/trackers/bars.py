"""Tracker `bars`: bars of 2 to 12 beats laid over the beats of `dp`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.bar_evidence import bars_over
from earmark.audio.clip import Clip
from earmark.audio.front_end import front_end
from earmark.features.group import feature_group
from earmark.tasks.meter.schema import BEAT_COLUMNS, MIN_DURATION_S, SAMPLE_RATE
from earmark.tasks.meter.trackers.dp import dp
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["bars"]


@feature_group(
    "meter.beats_bars",
    columns=BEAT_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="events",
    min_duration_s=MIN_DURATION_S,
    reuses=(dp,),
)
def bars(clip: Clip) -> NDArray[np.float32]:
    """The beats of `dp` with their place in the bar."""
    beats = Beats.of_rows(dp.on(clip))
    ready = clip.memo(front_end)
    fit = bars_over(ready, beats.times_s)
    positions = fit.positions if fit.beats_per_bar else np.zeros(len(beats), dtype=np.int64)
    return Beats(beats.times_s, positions, beats.strengths).rows
