"""Noise of a given spectrum and level.

Noise is made in the frequency domain, so its spectrum is exact and has no start. Nothing lies below `LOWEST_HZ` or
above `HIGHEST_HZ`: a recording at any rate has the same level once it is read at 16 kHz. Levels are dBFS, 0 for a root
mean square of 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HIGHEST_HZ",
    "LOWEST_HZ",
    "Samples",
    "amplitude",
    "at_level",
    "band",
    "falling",
    "pink",
    "shaped_noise",
]

Samples = NDArray[np.float64]
Spectrum = Callable[[Samples], Samples]
"""Power per Hz, up to a factor, of frequencies in Hz."""

LOWEST_HZ = 20.0
HIGHEST_HZ = 7_800.0


def amplitude(level_db: float) -> float:
    """Root mean square of a level in dBFS."""
    return float(10 ** (level_db / 20))


def at_level(samples: Samples, level_db: float) -> Samples:
    """The samples, scaled to a level; silence stays silent."""
    rms = float(np.sqrt(np.mean(samples**2)))
    return samples * (amplitude(level_db) / rms) if rms else samples


def pink(hz: Samples) -> Samples:
    """Equal power in each octave."""
    return 1 / hz


def falling(hz: Samples, *, corner_hz: float = 200.0) -> Samples:
    """Level up to a corner, above it 6 dB less for each octave."""
    return np.minimum(1.0, (corner_hz / hz) ** 2)


def band(hz: Samples, *, low_hz: float, high_hz: float) -> Samples:
    """Level between two frequencies, nothing elsewhere."""
    return ((hz >= low_hz) & (hz <= high_hz)).astype(np.float64)


def shaped_noise(
    n_samples: int, sample_rate: int, spectrum: Spectrum, level_db: float, rng: np.random.Generator
) -> Samples:
    """Gaussian noise of a spectrum, at exactly a level.

    Parameters
    ----------
    n_samples : int
    sample_rate : int
        Hz.
    spectrum : callable
        Power per Hz of frequencies in Hz, up to a factor.
    level_db : float
        dBFS.
    rng : numpy.random.Generator

    Returns
    -------
    np.ndarray, shape (n_samples,)
    """
    from scipy.fft import irfft, next_fast_len, rfft

    n_made = next_fast_len(n_samples, real=True)
    bins = rfft(rng.standard_normal(n_made))
    hz = np.arange(len(bins)) * (sample_rate / n_made)
    heard = (hz >= LOWEST_HZ) & (hz <= HIGHEST_HZ)
    bins[~heard] = 0
    bins[heard] *= np.sqrt(spectrum(hz[heard]))
    return at_level(irfft(bins, n_made)[:n_samples], level_db)
