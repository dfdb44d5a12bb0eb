"""Framed level and spectrum of a clip.

Conventions: frames are centred on multiples of ``hop_length``, the signal is padded with zeros by half a frame on either
side, so there are ``1 + n_samples // hop_length`` frames, at least one. Arrays are frame-major. The window is the periodic Hann
window.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip

Array = NDArray[np.float32]
FFT_BLOCK_FRAMES = 128  # 1 MB of frames: the transform stays in the second-level cache


def n_frames_of(n_samples: int, hop_length: int = 512) -> int:
    """Number of centred frames of a signal."""
    return 1 + n_samples // hop_length


def fft_frequencies_hz(sample_rate: int, n_fft: int = 2048) -> NDArray[np.float64]:
    """Centre frequencies of the bins of a real FFT, Hz, shape (1 + n_fft // 2,)."""
    return np.arange(1 + n_fft // 2) * (sample_rate / n_fft)


@lru_cache(maxsize=8)
def hann_window(n_fft: int) -> Array:
    """Periodic Hann window, float32, shape (n_fft,); do not write to it."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def stft(clip: Clip, n_fft: int = 2048, hop_length: int = 512) -> NDArray[np.complex64]:
    """Short-time Fourier transform, Hann window, zero padding.

    Returns
    -------
    np.ndarray, complex64, shape (n_frames, 1 + n_fft // 2)
    """
    from scipy.fft import rfft

    framed = _framed(clip.samples, n_fft, hop_length)
    spectrum = np.empty((len(framed), 1 + n_fft // 2), dtype=np.complex64)
    for start in range(0, len(framed), FFT_BLOCK_FRAMES):
        block = slice(start, start + FFT_BLOCK_FRAMES)
        spectrum[block] = rfft(framed[block] * hann_window(n_fft), axis=1)
    return spectrum


def magnitude(clip: Clip, n_fft: int = 2048, hop_length: int = 512) -> Array:
    """Magnitude of `stft`, float32, shape (n_frames, 1 + n_fft // 2)."""
    return np.abs(stft(clip, n_fft, hop_length))


def rms(clip: Clip, frame_length: int = 2048, hop_length: int = 512) -> Array:
    """Root of the mean square of each frame, float32, shape (n_frames,); zeros count outside the signal."""
    framed = _framed(clip.samples, frame_length, hop_length)
    power = np.einsum("ij,ij->i", framed, framed, dtype=np.float64) / frame_length
    return np.sqrt(power).astype(np.float32)


def zero_crossing_rate(clip: Clip, frame_length: int = 2048, hop_length: int = 512) -> Array:
    """Share of samples of each frame whose sign bit differs from the one before, float32, shape (n_frames,).

    Outside the signal its first and last sample are repeated, so the padding adds no crossing. Zero counts as positive,
    and so does all within 1e-10 of it.
    """
    negative = clip.samples < -1e-10
    crossing = np.zeros(len(negative) + frame_length, dtype=np.int64)
    half = frame_length // 2
    if len(negative):
        crossing[half + 1 : half + len(negative)] = negative[1:] != negative[:-1]
    total = np.concatenate([[0], np.cumsum(crossing)])
    starts = np.arange(n_frames_of(len(negative), hop_length)) * hop_length
    # the first sample of a frame has no predecessor in it
    return ((total[starts + frame_length] - total[starts + 1]) / frame_length).astype(np.float32)


def _framed(samples: Array, frame_length: int, hop_length: int) -> Array:
    """Overlapping view (n_frames, frame_length) of the zero-padded signal."""
    padded = np.pad(samples, frame_length // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop_length]
