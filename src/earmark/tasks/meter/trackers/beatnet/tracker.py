"""Tracker `beatnet`: its network by the user's weights, its bars by our bar pointer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.bar_tracking import track_bars
from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.features.group import feature_group
from earmark.models.weights import Weights
from earmark.tasks.meter.schema import BEAT_COLUMNS, MIN_DURATION_S, SAMPLE_RATE
from earmark.tasks.meter.trackers.beatnet.spectrogram import FPS, beatnet_features
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["BAR_LENGTHS", "beatnet"]

BAR_LENGTHS = (3, 4, 5, 7, 9, 11)


@feature_group(
    "meter.beats_beatnet",
    columns=BEAT_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="events",
    min_duration_s=MIN_DURATION_S,
)
def beatnet(clip: Clip, weights: Weights | None = None) -> NDArray[np.float32]:
    """Beats and bars by BeatNet; `registry.tracker` gives it its weights."""
    if weights is None:
        raise UsageError("BeatNet has no weights; expected a file of them. Set EARMARK_BEATNET to its path.")
    bars = track_bars(_activation(clip, weights), FPS, beats_per_bar=BAR_LENGTHS)
    return Beats(bars.times_s, bars.positions, bars.strengths.astype(np.float32)).rows


def _activation(clip: Clip, weights: Weights) -> NDArray[np.float64]:
    from earmark.tasks.meter.trackers.beatnet.network import beatnet_activation

    state = weights.load()
    try:
        return beatnet_activation(beatnet_features(_at_peak(clip)), state)
    except RuntimeError as error:
        raise UsageError(
            f"{weights.path} does not hold the tensors of BeatNet ({str(error).splitlines()[0]}). Fetch it again."
        ) from error


def _at_peak(clip: Clip) -> Clip:
    """The clip at peak level 1, unfiltered: the network was trained on whole spectra."""
    level = np.abs(clip.samples).max(initial=np.float32(0.0))
    return Clip(clip.samples / level, clip.sample_rate, clip.uri) if level > 0 else clip
