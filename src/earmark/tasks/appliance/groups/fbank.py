"""Group ``appliance.fbank``: the filter bank that BEATs and the small network listen to, one row per 10 ms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.kaldi_fbank import FBANK_MEAN, FBANK_STD, FRAME_LENGTH, N_MELS, normalised_fbank
from earmark.features.group import feature_group
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["COLUMNS", "fbank"]

COLUMNS = tuple(f"mel_{i}" for i in range(N_MELS))


@feature_group(
    "appliance.fbank",
    columns=COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="embedding",
    parameters={"mean": FBANK_MEAN, "std": FBANK_STD},
    min_duration_s=FRAME_LENGTH / SAMPLE_RATE,
    lookahead_s=0.0,
)
def fbank(clip: Clip, *, mean: float, std: float) -> NDArray[np.float32]:
    """Kaldi's log mel energies of frames of 25 ms every 10 ms, less a mean and over twice a deviation.

    Shape (n_frames, 128): 598 frames of 6 s. ``mean`` and ``std`` belong to the encoder that listens.
    """
    return normalised_fbank(clip.samples, clip.sample_rate, mean, std)
