"""Shape of a power spectral density in bins of 1 Hz: where its power lies, and how it falls.

Conventions: 20 to 7900 Hz, both ends included, which leaves out rumble below hearing and the slope of the resampler.
Without any power there, frequencies, ratio and flatness are 0.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.welch import density_db, welch_density

__all__ = ["SpectralShape", "low_mid_ratio", "spectral_shape"]

Float64 = NDArray[np.float64]

RANGE_HZ = (20, 7900)
ROLLOFF_SHARE = 0.85
LOW_HZ, MID_HZ = (20.0, 200.0), (200.0, 2000.0)
RATIO_FLOOR = 1e-9  # power that keeps the ratio finite


class SpectralShape(NamedTuple):
    """What `spectral_shape` finds; frequencies in Hz, slope in dB per octave, flatness from 0 (lines) to 1 (white)."""

    centroid_hz: float
    bandwidth_hz: float
    rolloff85_hz: float
    flatness: float
    slope_db: float


def spectral_shape(clip: Clip) -> SpectralShape:
    """Centroid, standard deviation, 85 % point, flatness and slope of the Welch density.

    The slope is that of the straight line which fits the density's dB over log2 of frequency best, bin by bin.
    """
    band = slice(RANGE_HZ[0], RANGE_HZ[1] + 1)
    density, level_db = clip.memo(welch_density)[band], clip.memo(density_db)[band]
    frequencies_hz, slope_weights = _axes()
    slope_db = float(slope_weights @ level_db)
    total = density.sum()
    if total <= 0.0:
        return SpectralShape(0.0, 0.0, 0.0, 0.0, slope_db)
    share = density / total
    centroid_hz = share @ frequencies_hz
    bandwidth_hz = np.sqrt(share @ (frequencies_hz - centroid_hz) ** 2)
    rolloff_bin = np.searchsorted(np.cumsum(share), ROLLOFF_SHARE)
    rolloff_hz = frequencies_hz[min(int(rolloff_bin), len(share) - 1)]
    return SpectralShape(
        float(centroid_hz), float(bandwidth_hz), float(rolloff_hz), _flatness(density), slope_db
    )


def low_mid_ratio(power: NDArray[np.floating[Any]], frequencies_hz: Float64) -> float:
    """Mean power in 20 to 200 Hz over that in (200, 2000] Hz plus 1e-9.

    Parameters
    ----------
    power : np.ndarray, shape (..., n_bins)
        Mean over all leading axes is taken.
    frequencies_hz : np.ndarray, shape (n_bins,)
        Rising.
    """
    low = slice(
        np.searchsorted(frequencies_hz, LOW_HZ[0]), np.searchsorted(frequencies_hz, LOW_HZ[1], side="right")
    )
    mid = slice(low.stop, np.searchsorted(frequencies_hz, MID_HZ[1], side="right"))
    low_power = power[..., low].mean(dtype=np.float64)
    return float(low_power / (power[..., mid].mean(dtype=np.float64) + RATIO_FLOOR))


def _flatness(density: Float64) -> float:
    """Geometric over arithmetic mean; 0 if a bin is empty."""
    if density.min() <= 0.0:
        return 0.0
    return float(np.exp(np.log(density).mean()) / density.mean())


@lru_cache(maxsize=1)
def _axes() -> tuple[Float64, Float64]:
    """Frequencies in Hz, and weights whose sum with levels is the least-squares slope per octave."""
    frequencies_hz = np.arange(RANGE_HZ[0], RANGE_HZ[1] + 1, dtype=np.float64)
    octaves = np.log2(frequencies_hz)
    octaves -= octaves.mean()
    return frequencies_hz, octaves / (octaves @ octaves)
