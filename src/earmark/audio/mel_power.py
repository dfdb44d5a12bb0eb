"""Mel power spectrum with free frame and window lengths, for what learns from levels rather than from music.

Conventions: Hann frames centred on multiples of the hop, zeros outside the clip, power 2, triangles of Slaney's scale
with unit area (`filterbanks.mel_filterbank`); arrays are frame-major. Filters narrower than a bin are empty.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.filterbanks import mel_filterbank
from earmark.audio.spectrum import FFT_BLOCK_FRAMES, hann_window, n_frames_of

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["mel_power", "power_frames"]

Array = NDArray[np.float32]


def power_frames(clip: Clip, n_fft: int, window_length: int, hop_length: int) -> Array:
    """Squared magnitudes of frames whose Hann window lies in the middle of ``n_fft`` samples.

    Returns
    -------
    np.ndarray, float32, shape (n_frames, 1 + n_fft // 2)
        ``n_frames`` is ``1 + n_samples // hop_length``.
    """
    from scipy.fft import rfft

    margin = (n_fft - window_length) // 2
    window = np.pad(hann_window(window_length), (margin, n_fft - window_length - margin))
    padded = np.pad(clip.samples, n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    power = np.empty((n_frames_of(clip.samples.size, hop_length), 1 + n_fft // 2), dtype=np.float32)
    for start in range(0, len(power), FFT_BLOCK_FRAMES):
        block = slice(start, start + FFT_BLOCK_FRAMES)
        np.square(np.abs(rfft(frames[block] * window, axis=1, overwrite_x=True)), out=power[block])
    return power


def mel_power(
    clip: Clip,
    n_fft: int,
    window_length: int,
    hop_length: int,
    n_mels: int,
    fmin_hz: float = 0.0,
    fmax_hz: float | None = None,
) -> Array:
    """Power in mel bands, float32, shape (n_frames, n_mels)."""
    power = clip.memo(power_frames, n_fft=n_fft, window_length=window_length, hop_length=hop_length)
    # a product with the few weights that are not zero, in one order: the same bits with any number of threads
    return np.asarray(_filters(clip.sample_rate, n_fft, n_mels, fmin_hz, fmax_hz) @ power.T).T


@lru_cache(maxsize=4)
def _filters(sample_rate: int, n_fft: int, n_mels: int, fmin_hz: float, fmax_hz: float | None) -> csr_array:
    from scipy.sparse import csr_array

    return csr_array(mel_filterbank(sample_rate, n_fft, n_mels, fmin_hz, fmax_hz))
