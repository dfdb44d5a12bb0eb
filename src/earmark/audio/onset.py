"""Onset strength: how much the log-mel spectrum rises from frame to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.mel import log_mel

CENTRE_SHIFT = 2  # n_fft / (2 hop): a rise is seen by the frame that starts half a window before its centre
ONSET_DELAY_FRAMES = 1  # from an attack to the peak of the envelope, as measured on clicks


def onset_envelope(clip: Clip) -> NDArray[np.float32]:
    """Mean over the mel bands of the positive dB difference to the frame before.

    Returns
    -------
    np.ndarray, float32, shape (n_frames,)
        dB; delayed by half a window, so the first three values are 0.
    """
    level_db = clip.memo(log_mel)
    envelope = np.zeros(len(level_db), dtype=np.float32)
    rise = np.maximum(level_db[1:] - level_db[:-1], 0.0).mean(axis=1)
    delay = CENTRE_SHIFT + 1
    envelope[delay:] = rise[: max(0, len(envelope) - delay)]
    return envelope
