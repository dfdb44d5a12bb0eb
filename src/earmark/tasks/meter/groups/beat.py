"""Group ``meter.beat``: regularity, tempo and bars of each tracker, and how far the trackers agree.

Conventions: seconds, BPM, shares 0 to 1; ratios are scaled to about 0 to 1 as named. An absent tracker gives zeros.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.groups.slots import (
    DEFAULT_TRACKERS,
    Trackers,
    alignments,
    present,
    slot_beats,
    slot_columns,
)
from earmark.tasks.meter.intervals import beat_interval_s, beats_bpm, modal_spacing, spacing_shares
from earmark.tasks.meter.schema import CLASSES, MAX_BPM, MIN_DURATION_S, SAMPLE_RATE
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["BEAT", "agreement_columns", "beat_columns"]

Float64 = NDArray[np.float64]

BAR_LENGTHS = (2, 3, 4, 5, 6, 7)
LONGEST_INTERVAL_S = 3.0
MAX_VARIATION = 2.0
MAX_BEATS_PER_S = 10.0
BEAT_COLUMNS_OF_SLOT = (
    "interval",
    "interval_std",
    "variation",
    "rate",
    "alignment",
    *(f"bars_of_{n_beats}" for n_beats in BAR_LENGTHS),
    "bpm",
)


def beat_columns(beats: Beats, aligned: float, duration_s: float) -> Float64:
    """The 12 columns of one slot.

    Median interval / 3 s, its standard deviation in s, coefficient of variation / 2, beats per second / 10, alignment,
    shares of bars of 2 to 7 beats, BPM / 300; all 0 with fewer than two beats.
    """
    intervals = beats.intervals_s
    if not len(intervals):
        return np.zeros(len(BEAT_COLUMNS_OF_SLOT))
    shares = spacing_shares(beats)
    return np.array(
        [
            beat_interval_s(beats) / LONGEST_INTERVAL_S,
            intervals.std(),
            min(intervals.std() / intervals.mean(), MAX_VARIATION) / MAX_VARIATION,
            len(beats) / duration_s / MAX_BEATS_PER_S,
            aligned,
            *(shares[n_beats] for n_beats in BAR_LENGTHS),
            min(beats_bpm(beats), MAX_BPM) / MAX_BPM,
        ]
    )


def agreement_columns(slots: Sequence[Beats]) -> Float64:
    """Share of the trackers whose usual bar has 3, 4, 5, 7, 9, 11 beats; 0 with fewer than two that know bars."""
    modes = [mode for beats in slots if (mode := modal_spacing(beats)) is not None]
    if len(modes) < 2:
        return np.zeros(len(CLASSES))
    return np.array([modes.count(int(name)) / len(modes) for name in CLASSES])


def beat(clip: Clip, *, trackers: Trackers) -> Float64:
    """The columns of all slots and of their agreement."""
    slots = slot_beats(clip, trackers)
    aligned = alignments(clip, trackers)
    own = [beat_columns(beats, a, clip.duration_s) for beats, a in zip(slots, aligned, strict=True)]
    return np.concatenate([*own, agreement_columns(slots)])


BEAT: FeatureGroup = feature_group(
    "meter.beat",
    columns=(*slot_columns(BEAT_COLUMNS_OF_SLOT), *(f"agree_on_{name}" for name in CLASSES)),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"trackers": DEFAULT_TRACKERS},
    reuses=present(DEFAULT_TRACKERS),
)(beat)
