"""Framed level and spectrum of a clip.

Conventions: frames are centred on multiples of ``hop_length``, the signal is padded with zeros by half a
frame on either side, so there are ``1 + n_samples // hop_length`` frames, at least one. Arrays are
frame-major. The window is the periodic Hann window.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

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
    return np.asarray(np.arange(1 + n_fft // 2) * (sample_rate / n_fft), dtype=np.float64)


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
    from earmark.audio.level_kernel import block_energies

    block = math.gcd(frame_length // 2, frame_length, hop_length)
    energies = block_energies(clip.samples, block)
    total = _frame_sums(energies, len(clip.samples), frame_length, hop_length, block)
    return np.sqrt(np.maximum(total, 0.0) / frame_length).astype(np.float32)


def zero_crossing_rate(clip: Clip, frame_length: int = 2048, hop_length: int = 512) -> Array:
    """Share of samples of each frame whose sign differs from the one before, float32, shape (n_frames,).

    Outside the signal its first and last sample are repeated, so the padding adds no crossing. All within
    1e-10 of zero counts as positive.
    """
    from earmark.audio.level_kernel import block_crossings

    samples = clip.samples
    block = math.gcd(frame_length // 2, frame_length, hop_length)
    crossings = block_crossings(samples, block)
    total = _frame_sums(crossings, len(samples), frame_length, hop_length, block)
    starts = np.arange(len(total)) * hop_length - frame_length // 2
    inner = np.flatnonzero((starts > 0) & (starts < len(samples)))
    negative = samples[np.stack([starts[inner] - 1, starts[inner]])] < np.float32(-1e-10)
    # the first sample of a frame has no predecessor in it
    total[inner] -= negative[0] != negative[1]
    return (total / frame_length).astype(np.float32)


def _frame_sums(
    blocks: NDArray[Any], n_samples: int, frame_length: int, hop_length: int, block: int
) -> NDArray[np.float64]:
    """Sums over centred frames from the sums over blocks; blocks outside the signal are 0."""
    n_frames, lead, width = (
        n_frames_of(n_samples, hop_length),
        frame_length // 2 // block,
        frame_length // block,
    )
    n_needed = (n_frames - 1) * (hop_length // block) + width
    padded = np.zeros(max(n_needed, lead + len(blocks)), dtype=np.float64)
    padded[lead : lead + len(blocks)] = blocks
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)[:: hop_length // block]
    return np.asarray(windows[:n_frames].sum(axis=1))


def _framed(samples: Array, frame_length: int, hop_length: int) -> Array:
    """Overlapping view (n_frames, frame_length) of the zero-padded signal."""
    padded = np.pad(samples, frame_length // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop_length]
