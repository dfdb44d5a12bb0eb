"""Welch's power spectral density of steady noise, in bins of 1 Hz.

Conventions: segments of one second, periodic Hann window, 50 % overlap, the mean of each segment removed, one-sided,
in full scale squared per Hz; bin i is i Hz, so a sum over bins is a band's power. No sample outside the clip counts:
a last half second that no segment holds is left out. 6 s give 11 segments.

Reference: P. Welch, The use of fast Fourier transform for the estimation of power spectra, IEEE Trans. Audio
Electroacoustics 15, 1967.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.errors import TooShortError

__all__ = ["POWER_FLOOR", "density_db", "power_db", "segment_densities", "welch_density"]

Float64 = NDArray[np.float64]

POWER_FLOOR = 1e-12  # added to a power before its logarithm: -120 dB


def power_db(power: Float64) -> Float64:
    """``10 log10(power + 1e-12)``, of any shape."""
    return np.asarray(10.0 * np.log10(power + POWER_FLOOR))


def welch_density(clip: Clip) -> Float64:
    """Mean of `segment_densities` over the segments, float64, shape (1 + sample_rate // 2,)."""
    return np.asarray(clip.memo(segment_densities).mean(axis=0))


def density_db(clip: Clip) -> Float64:
    """`welch_density` in dB re full scale squared per Hz, shape (1 + sample_rate // 2,)."""
    return power_db(clip.memo(welch_density))


def segment_densities(clip: Clip) -> Float64:
    """Power spectral density of each second, half a second apart.

    Returns
    -------
    np.ndarray, float64, shape (n_segments, 1 + sample_rate // 2)
        Full scale squared per Hz.

    Raises
    ------
    TooShortError
        The clip is shorter than one second.
    """
    from scipy.fft import rfft

    length = clip.sample_rate
    if clip.samples.size < length:
        raise TooShortError(
            f"{clip.uri or 'The clip'} has {clip.duration_s:.2f} s; a spectrum in bins of 1 Hz needs at least 1 s. "
            "Give longer windows."
        )
    starts = range(0, clip.samples.size - length + 1, length // 2)
    densities = np.empty((len(starts), 1 + length // 2))
    # one second at a time stays in the cache
    for start, density in zip(starts, densities, strict=True):
        segment = clip.samples[start : start + length].astype(np.float64)
        segment -= segment.mean()
        segment *= _window(length)
        np.square(np.abs(rfft(segment, overwrite_x=True)), out=density)
    # the other half of the spectrum, which 0 Hz and the Nyquist frequency do not have
    densities[:, 1 : (length + 1) // 2] *= 2.0
    return densities


@lru_cache(maxsize=4)
def _window(length: int) -> Float64:
    """Periodic Hann window of one second, scaled so that squared magnitudes are a density."""
    hann: Float64 = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)
    return np.asarray(hann / np.sqrt(length * np.sum(hann**2)))
