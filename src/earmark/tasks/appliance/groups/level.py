"""Group ``appliance.level``: how loud a window is.

The level over the room's floor, ``rel_level``, is no column here: the floor is learnt or confirmed, not heard in the
window, so the model adds it.
"""

from __future__ import annotations

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.levels import amplitude_dbfs, frame_rms, peak, whole_rms
from earmark.features.group import feature_group
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["COLUMNS", "level"]

COLUMNS = (
    *("rms", "rms_dbfs", "peak_dbfs", "crest_db"),
    *("level_p10", "level_p50", "level_p90", "level_range"),
)


@feature_group(
    "appliance.level", columns=COLUMNS, sample_rate=SAMPLE_RATE, min_duration_s=0.1, lookahead_s=0.0
)
def level(clip: Clip) -> list[float]:
    """Level of the whole window, and percentiles of the levels of its 100 ms frames.

    Shape (8,), in the order of `COLUMNS`.
    """
    rms = clip.memo(whole_rms)
    rms_dbfs, peak_dbfs = float(amplitude_dbfs(rms)), float(amplitude_dbfs(clip.memo(peak)))
    p10, p50, p90 = np.percentile(amplitude_dbfs(clip.memo(frame_rms)), (10, 50, 90))
    return [rms, rms_dbfs, peak_dbfs, peak_dbfs - rms_dbfs, p10, p50, p90, p90 - p10]
