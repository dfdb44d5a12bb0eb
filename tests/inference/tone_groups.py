"""Two small feature groups of the ladder's tests, in a module so that worker processes can import them."""

from __future__ import annotations

import numpy as np

from earmark.features import feature_group


@feature_group("test.level", columns=("rms", "peak"), sample_rate=8000)
def level(clip):
    return [np.sqrt(np.mean(clip.samples**2)), np.abs(clip.samples).max()]


@feature_group("test.shape", columns=("crossings",), sample_rate=8000)
def shape(clip):
    return [np.mean(np.diff(np.signbit(clip.samples)))]
