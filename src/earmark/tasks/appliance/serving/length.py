"""How long a recording is once it is decoded: in the cache like any feature, so a known file is not decoded for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.features.group import feature_group
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["LENGTH", "n_samples_of"]

BLOCK = 1 << 20
"""Counts are kept in two columns: float32 holds no whole number above 16.7 million, which is 17 minutes."""


@feature_group("appliance.length", columns=("blocks", "samples_beyond"), sample_rate=SAMPLE_RATE)
def LENGTH(clip: Clip) -> NDArray[np.float32]:  # noqa: N802  a constant of this module, as other groups are
    """Samples of a recording: whole blocks of 2**20, and what is beyond them."""
    return np.array(divmod(len(clip.samples), BLOCK), dtype=np.float32)


def n_samples_of(row: NDArray[np.float32]) -> int:
    """The number of samples, from a row of the group."""
    blocks, beyond = (int(value) for value in row)
    return blocks * BLOCK + beyond
