"""The onset envelope at another frame rate than that of the fused spectrum pass.

Conventions: as in `earmark.audio.onset`, with frames of `hop_length` samples and a window of 2048.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.mel import mel_filterbank, power_to_db
from earmark.audio.spectrum import stft

__all__ = ["onset_envelope_at"]

N_FFT = 2048
N_BANDS = 128


def onset_envelope_at(clip: Clip, hop_length: int = 441) -> NDArray[np.float32]:
    """Mean over 128 mel bands of the positive dB difference to the frame before.

    Returns
    -------
    np.ndarray, float32, shape (n_frames,)
        dB, delayed by half a window in whole frames.
    """
    spectrum = stft(clip, N_FFT, hop_length)
    power = spectrum.real**2 + spectrum.imag**2
    bands = (power @ mel_filterbank(clip.sample_rate, N_FFT, N_BANDS).T).astype(np.float32)
    level_db = power_to_db(bands)
    delay = N_FFT // (2 * hop_length) + 1
    envelope = np.zeros(len(level_db), dtype=np.float32)
    envelope[delay:] = np.maximum(np.diff(level_db, axis=0), 0.0).mean(axis=1)[: len(envelope) - delay]
    return envelope
