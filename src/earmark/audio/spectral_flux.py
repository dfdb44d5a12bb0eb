"""Spectral flux that level does not change: how much of the spectrum is new from frame to frame.

Conventions: Hann frames of 512 samples every 160, all within the clip; each frame's magnitudes are divided by their
root sum of squares, a frame of zeros stays zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.levels import peak
from earmark.audio.spectrum import FFT_BLOCK_FRAMES, hann_window

__all__ = ["mean_flux"]

N_FFT, HOP = 512, 160


def mean_flux(clip: Clip) -> float:
    """Mean over neighbouring frames of the sum of what rose, 0 to 16; 0 for less than two frames, and for silence."""
    loudest = clip.memo(peak)
    if clip.samples.size < N_FFT + HOP or loudest == 0.0:
        return 0.0
    # at one level, so that squares of the quietest clips do not vanish in single precision
    frames = np.lib.stride_tricks.sliding_window_view(clip.samples / np.float32(loudest), N_FFT)[::HOP]
    # blocks share a frame, so that no step between two frames is missed
    starts = range(0, len(frames) - 1, FFT_BLOCK_FRAMES)
    return sum(_rise(frames[start : start + FFT_BLOCK_FRAMES + 1]) for start in starts) / (len(frames) - 1)


def _rise(frames: NDArray[np.float32]) -> float:
    """Sum over bins and steps of what rose from one frame to the next."""
    from scipy.fft import rfft

    magnitude = np.abs(rfft(frames * hann_window(N_FFT), axis=1, overwrite_x=True))
    norm = np.sqrt(np.einsum("ij,ij->i", magnitude, magnitude))
    magnitude *= np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0.0)[:, None]
    rise = np.diff(magnitude, axis=0)
    return float(np.maximum(rise, 0.0, out=rise).sum(dtype=np.float64))
