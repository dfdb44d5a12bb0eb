"""Group ``meter.division``: how the onsets divide the beats of the primary tracker; see `earmark.tasks.meter.division`.

Conventions: a number of onsets per beat, a ratio, a share, and 1 for a compound division, else 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.front_end import front_end
from earmark.audio.onset_events import onset_events
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.division import division
from earmark.tasks.meter.groups.slots import DEFAULT_TRACKERS, Trackers, present, primary_beats
from earmark.tasks.meter.schema import MIN_DURATION_S, SAMPLE_RATE

__all__ = ["DIVISION"]

COLUMNS = ("inner_median", "inner_variation", "thirds_share", "is_compound")


def beat_division(clip: Clip, *, trackers: Trackers) -> NDArray[np.float64]:
    """The columns of a clip."""
    onsets_s = clip.memo(front_end).memo(onset_events).attacks_s
    found = division(primary_beats(clip, trackers).times_s, onsets_s)
    return np.array([found.inner_median, found.inner_variation, found.thirds_share, float(found.is_compound)])


DIVISION: FeatureGroup = feature_group(
    "meter.division",
    columns=COLUMNS,
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"trackers": DEFAULT_TRACKERS},
    reuses=present(DEFAULT_TRACKERS),
)(beat_division)
