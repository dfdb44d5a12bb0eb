"""Group ``appliance.g1``: mel levels and cepstrum of the window, the baseline of the first generation.

Levels are relative to the window's own maximum, so how loud the room is cannot be told from them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.mel_power import mel_power, power_frames
from earmark.audio.spectral_shape import low_mid_ratio
from earmark.audio.spectrum import fft_frequencies_hz
from earmark.features.group import feature_group
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["COLUMNS", "SMALLEST_PEAK", "g1"]

N_FFT, HOP_LENGTH = 2048, 512
N_MELS, N_MFCC = 64, 13
FMIN_HZ, FMAX_HZ = 20.0, 4000.0
RANGE_DB = 80.0

SMALLEST_PEAK = 1e-4
"""Windows with a lower peak are left out of training: their shape is that of the converter's noise."""

COLUMNS = (
    *(f"mel_{moment}_{i}" for moment in ("mean", "std") for i in range(N_MELS)),
    *(f"mfcc_{moment}_{i}" for moment in ("mean", "std") for i in range(N_MFCC)),
    "low_mid_ratio",
)


@feature_group("appliance.g1", columns=COLUMNS, sample_rate=SAMPLE_RATE, lookahead_s=0.0)
def g1(clip: Clip) -> NDArray[np.float64]:
    """Mel levels and cepstrum relative to the loudest band of the window, over frames of 128 ms every 32 ms.

    Shape (155,), in the order of `COLUMNS`; a silent window lies at its maximum, 0 dB, everywhere.
    """
    from scipy.fft import dct

    level_db = _relative_db(mel_power(clip, N_FFT, N_FFT, HOP_LENGTH, N_MELS, FMIN_HZ, FMAX_HZ))
    cepstrum = dct(level_db, axis=1, norm="ortho")[:, :N_MFCC]
    power = clip.memo(power_frames, n_fft=N_FFT, window_length=N_FFT, hop_length=HOP_LENGTH)
    ratio = low_mid_ratio(power, fft_frequencies_hz(clip.sample_rate, N_FFT))
    moments = [values for rows in (level_db, cepstrum) for values in (rows.mean(axis=0), rows.std(axis=0))]
    return np.concatenate([*moments, [ratio]])


def _relative_db(power: NDArray[np.float32]) -> NDArray[np.float64]:
    """dB below the largest value, at most 80."""
    largest = power.max()
    if largest <= 0.0:
        return np.zeros(power.shape)
    share = np.maximum(power / np.float64(largest), 10.0 ** (-RANGE_DB / 10.0))
    return np.asarray(10.0 * np.log10(share))
