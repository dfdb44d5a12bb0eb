"""Group ``appliance.logmel256``: means and deviations of 128 mel bands in dB, the baseline of the second generation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.mel import power_to_db
from earmark.audio.mel_power import mel_power
from earmark.features.group import feature_group
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["COLUMNS", "logmel256"]

N_FFT, WINDOW_LENGTH, HOP_LENGTH, N_MELS = 512, 400, 160, 128

COLUMNS = tuple(f"mel_{moment}_{i}" for moment in ("mean", "std") for i in range(N_MELS))


@feature_group("appliance.logmel256", columns=COLUMNS, sample_rate=SAMPLE_RATE, lookahead_s=0.0)
def logmel256(clip: Clip) -> NDArray[np.float32]:
    """Mean and standard deviation of 128 mel levels over frames of 25 ms every 10 ms.

    Shape (256,), in the order of `COLUMNS`; dB without a limit below the maximum.
    """
    power = mel_power(clip, N_FFT, WINDOW_LENGTH, HOP_LENGTH, N_MELS)
    level_db = power_to_db(power, top_db=None)
    return np.concatenate([level_db.mean(axis=0), level_db.std(axis=0)])
