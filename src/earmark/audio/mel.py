"""Mel spectrum in dB and cepstral coefficients.

Conventions: Slaney's mel scale and area-normalised triangles (Auditory Toolbox, 1998); power spectrum; dB re
1 with a floor of 1e-10 and at most ``top_db`` below the clip's loudest band; DCT-II with orthonormal scaling,
coefficient 0 included.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.filterbanks import mel_filterbank

__all__ = ["log_mel", "mel_filterbank", "mfcc", "power_to_db"]

Array = NDArray[np.float32]
POWER_FLOOR = 1e-10


def power_to_db(power: Array, top_db: float | None = 80.0) -> Array:
    """``10 log10(power)`` with a floor of 1e-10 and at most ``top_db`` below the maximum of the array."""
    level_db: Array = np.log(np.maximum(power, np.float32(POWER_FLOOR)))
    level_db *= np.float32(10.0 / np.log(10.0))
    if top_db is not None and level_db.size:
        np.maximum(level_db, level_db.max() - np.float32(top_db), out=level_db)
    return level_db


def log_mel(clip: Clip, top_db: float | None = 80.0) -> Array:
    """Mel power spectrum of 128 bands in dB, float32, shape (n_frames, 128)."""
    return power_to_db(clip.memo(spectral_descriptors).mel_power, top_db)


def mfcc(clip: Clip, n_mfcc: int = 20) -> Array:
    """Cepstral coefficients 0 .. n_mfcc - 1 of `log_mel`, float32, shape (n_frames, n_mfcc)."""
    level_db = clip.memo(log_mel)
    coefficients: Array = np.matmul(level_db, _dct_matrix(level_db.shape[1], n_mfcc))
    return coefficients


@lru_cache(maxsize=8)
def _dct_matrix(n_bands: int, n_coefficients: int) -> Array:
    """Orthonormal DCT-II, shape (n_bands, n_coefficients)."""
    angle = np.pi / n_bands * np.outer(np.arange(n_bands) + 0.5, np.arange(n_coefficients))
    matrix: NDArray[np.float64] = np.cos(angle) * np.sqrt(2.0 / n_bands)
    matrix[:, 0] = np.sqrt(1.0 / n_bands)
    return matrix.astype(np.float32)
