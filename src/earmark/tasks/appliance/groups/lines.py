"""Group ``appliance.lines``: harmonics of a motor, at the mains frequency and at any other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.motor_lines import MAINS_HZ, N_MAINS_HARMONICS, comb, mains_lines_db
from earmark.features.group import feature_group
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["COLUMNS", "lines"]

COLUMNS = (
    *(f"mains_{mains_hz}_{h}" for mains_hz in MAINS_HZ for h in range(1, N_MAINS_HARMONICS + 1)),
    *("comb_max", "comb_f0", "comb_contrast"),
)


@feature_group(
    "appliance.lines", columns=COLUMNS, sample_rate=SAMPLE_RATE, min_duration_s=1.0, lookahead_s=0.0
)
def lines(clip: Clip) -> NDArray[np.float64]:
    """Lines at harmonics of 50 and 60 Hz over the noise beside them, and the strongest comb of harmonics.

    Shape (35,), in the order of `COLUMNS`.
    """
    return np.concatenate(
        [*(clip.memo(mains_lines_db, mains_hz=mains_hz) for mains_hz in MAINS_HZ), clip.memo(comb)]
    )
