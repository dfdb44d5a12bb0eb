"""What Beat This! hears: 128 mel bands fifty times a second.

Conventions: 22 050 Hz mono; frames of 1024 samples every 441, centred, the signal mirrored at its ends; periodic Hann
window; magnitudes over the square root of the frame length; mel triangles of height 1 between 30 and 11 000 Hz on
Slaney's scale; ``log(1 + 1000 x)``. The network's training fixes each of these.

Reference: F. Foscarin, J. Schlueter, G. Widmer, Beat This! Accurate beat tracking without DBN postprocessing, ISMIR
2024.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.filterbanks import BREAK_HZ, HZ_PER_MEL, LOG_STEP
from earmark.audio.spectrum import fft_frequencies_hz, hann_window

Array = NDArray[np.float32]

N_FFT, HOP_LENGTH = 1024, 441
FPS = 50.0
SAMPLE_RATE = 22_050
N_MELS = 128
RANGE_HZ = (30.0, 11_000.0)
GAIN = 1000.0


def beat_this_spectrogram(clip: Clip) -> Array:
    """Log-mel spectrogram, float32, shape (1 + n_samples // 441, 128); needs more than 512 samples."""
    from scipy.fft import rfft

    padded = np.pad(clip.samples, N_FFT // 2, mode="reflect")
    framed = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    magnitude = np.abs(rfft(framed * hann_window(N_FFT), axis=1)) / np.float32(np.sqrt(N_FFT))
    return np.asarray(np.log1p(np.float32(GAIN) * (magnitude @ _triangles())), dtype=np.float32)


@lru_cache(maxsize=1)
def _triangles() -> Array:
    """Shape (513, 128), height 1."""
    low, high = (_mel(bound) for bound in RANGE_HZ)
    edges_hz = _hz(np.linspace(low, high, N_MELS + 2))
    frequencies_hz = fft_frequencies_hz(SAMPLE_RATE, N_FFT)[:, np.newaxis]
    width = np.diff(edges_hz)
    rising = (frequencies_hz - edges_hz[:-2]) / width[:-1]
    falling = (edges_hz[2:] - frequencies_hz) / width[1:]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _mel(frequency_hz: float) -> float:
    if frequency_hz < BREAK_HZ:
        return frequency_hz / HZ_PER_MEL
    return float(BREAK_HZ / HZ_PER_MEL + np.log(frequency_hz / BREAK_HZ) / LOG_STEP)


def _hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = BREAK_HZ / HZ_PER_MEL
    return np.where(mel < break_mel, mel * HZ_PER_MEL, BREAK_HZ * np.exp(LOG_STEP * (mel - break_mel)))
