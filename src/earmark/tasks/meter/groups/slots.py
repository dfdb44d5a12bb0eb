"""What the groups that build on beats share: the three slots, their beats on a clip, and the tracker they follow.

Conventions: a slot without a tracker has no beats. Which trackers fill the slots is a parameter of each group, so it is
in the fingerprint; `with_trackers` makes the variant of a group with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.downbeats import downbeat_activation, fit_bars
from earmark.audio.front_end import front_end
from earmark.audio.onset_events import onset_events
from earmark.features.group import FeatureGroup
from earmark.tasks.meter.trackers.alignment import alignment, primary
from earmark.tasks.meter.trackers.bars import bars
from earmark.tasks.meter.trackers.dp import dp
from earmark.tasks.meter.trackers.registry import beats_of
from earmark.tasks.meter.trackers.rows import Beats

__all__ = [
    "DEFAULT_TRACKERS",
    "N_SLOTS",
    "Trackers",
    "alignments",
    "present",
    "primary_beats",
    "slot_beats",
    "slot_columns",
    "with_trackers",
]

Trackers = tuple[FeatureGroup | None, ...]

N_SLOTS = 3
DEFAULT_TRACKERS: Trackers = (dp, None, bars)
"""Slots without any checkpoint: the second belongs to Beat This!."""


def slot_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of all slots, slot by slot."""
    return tuple(f"slot{slot}_{column}" for slot in range(1, N_SLOTS + 1) for column in columns)


def present(trackers: Trackers) -> tuple[FeatureGroup, ...]:
    """The trackers of slots that are not empty."""
    return tuple(tracker for tracker in trackers if tracker is not None)


def with_trackers(group: FeatureGroup, trackers: Trackers) -> FeatureGroup:
    """The group with other trackers in its slots, under the same name."""
    return replace(group, parameters={**group.parameters, "trackers": trackers}, reuses=present(trackers))


def slot_beats(clip: Clip, trackers: Trackers) -> tuple[Beats, ...]:
    """Beats of each slot, bars laid over those of a tracker that knows none; no beats where it is empty."""
    return tuple(_with_bars(clip, beats_of(clip, tracker)) for tracker in trackers)


def _with_bars(clip: Clip, beats: Beats) -> Beats:
    if beats.positions.any():
        return beats
    fit = fit_bars(downbeat_activation(clip.memo(front_end), beats.times_s))
    return replace(beats, positions=fit.positions)


def alignments(clip: Clip, trackers: Trackers) -> NDArray[np.float64]:
    """How well the beats of each slot sit on the onsets, 0 to 1, shape (3,); 0 for an empty slot."""
    onsets_s = clip.memo(front_end).memo(onset_events).attacks_s
    return np.array([alignment(beats.times_s, onsets_s) for beats in slot_beats(clip, trackers)])


def primary_beats(clip: Clip, trackers: Trackers) -> Beats:
    """Beats of the slot that sits best on the onsets: every signal is given this beat."""
    return slot_beats(clip, trackers)[primary(alignments(clip, trackers).tolist())]
