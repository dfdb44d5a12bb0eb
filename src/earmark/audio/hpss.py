"""Harmonic and percussive parts by median filtering."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.spectrum import hann_window, magnitude, stft

Array = NDArray[np.float32]
KERNEL = 31


def harmonic_percussive_energy(clip: Clip) -> tuple[float, float]:
    """Energies (sums of squares) of the harmonic and the percussive signal."""
    spectrum = clip.memo(stft)
    harmonic = _inverse(spectrum * _harmonic_mask(clip.memo(magnitude)), len(clip.samples))
    percussive = clip.samples - harmonic
    return float(np.dot(harmonic, harmonic)), float(np.dot(percussive, percussive))


def harmonic_percussive_frames(clip: Clip) -> Array:
    """Sums over bins of the harmonic and percussive magnitude of each frame, shape (n_frames, 2)."""
    S = clip.memo(magnitude)
    mask = _harmonic_mask(S)
    return np.stack([(S * mask).sum(axis=1), (S * (1 - mask)).sum(axis=1)], axis=1)


def _harmonic_mask(S: Array) -> Array:
    from scipy.ndimage import median_filter

    harmonic = median_filter(S, size=(KERNEL, 1), mode="reflect")
    percussive = median_filter(S, size=(1, KERNEL), mode="reflect")
    larger = np.maximum(harmonic, percussive)
    larger[larger < np.finfo(np.float32).tiny] = 0
    scale = np.where(larger > 0, larger, 1)
    h = np.where(larger > 0, (harmonic / scale) ** 2, 1)
    p = np.where(larger > 0, (percussive / scale) ** 2, 1)
    return h / (h + p)


def _inverse(spectrum: NDArray[np.complex64], n_samples: int, n_fft: int = 2048, hop: int = 512) -> Array:
    from scipy.fft import irfft

    window = hann_window(n_fft)
    total = np.zeros(n_fft + hop * (len(spectrum) - 1), dtype=np.float32)
    weight = np.zeros_like(total)
    for i, frame in enumerate(irfft(spectrum, axis=1)):
        total[i * hop : i * hop + n_fft] += window * frame
        weight[i * hop : i * hop + n_fft] += window * window
    start = n_fft // 2
    return total[start : start + n_samples] / np.maximum(weight[start : start + n_samples], 1e-30)
