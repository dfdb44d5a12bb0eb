"""Fundamental frequency by YIN (de Cheveigne and Kawahara, JASA 2002)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.spectrum import n_frames_of

Array = NDArray[np.float32]
FRAME_LENGTH = 2048
HOP_LENGTH = 512
TROUGH_THRESHOLD = 0.1
BLOCK_FRAMES = 256


def yin(clip: Clip, fmin_hz: float = 65.0, fmax_hz: float = 2093.0) -> tuple[Array, Array]:
    """Fundamental frequency (Hz) and aperiodicity of every frame, two arrays (n_frames,).

    Aperiodicity is the normalised difference at the chosen period, 0 = periodic; 1 for a silent frame.
    """
    rate = clip.sample_rate
    shortest = max(1, int(rate / fmax_hz))
    longest = min(int(np.ceil(rate / fmin_hz)), FRAME_LENGTH - 1)
    padded = np.pad(clip.samples, FRAME_LENGTH // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_LENGTH)[::HOP_LENGTH]
    f0_hz = np.empty(n_frames_of(len(clip.samples)), dtype=np.float32)
    aperiodicity = np.empty_like(f0_hz)
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        difference = _normalised_difference(frames[block].astype(np.float64), shortest, longest)
        lag, aperiodicity[block] = _first_trough(difference)
        f0_hz[block] = rate / (shortest + lag)
    return f0_hz, aperiodicity


def _normalised_difference(frames: NDArray[np.float64], shortest: int, longest: int) -> NDArray[np.float64]:
    """Cumulative mean normalised difference at lags shortest .. longest, (n, n_lags); 1 where the frame is silent."""
    from scipy.fft import irfft, next_fast_len, rfft

    n = next_fast_len(frames.shape[1] + longest + 1, real=True)
    power = np.abs(rfft(frames, n=n, axis=1)) ** 2
    product = irfft(power, n=n, axis=1)[:, : longest + 1]
    head = np.cumsum(frames**2, axis=1)[:, :longest]
    difference = 2 * (product[:, :1] - product[:, 1:]) - head
    mean = np.cumsum(difference, axis=1) / np.arange(1, longest + 1)
    silent = product[:, :1] < 1e-12
    return np.where(silent, 1.0, difference / np.where(mean > 0, mean, 1.0))[:, shortest - 1 :]


def _first_trough(difference: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position, refined by a parabola, and depth of the first trough below the threshold, else of the minimum."""
    trough = np.zeros(difference.shape, dtype=bool)
    trough[:, 0] = difference[:, 0] < difference[:, 1]
    trough[:, 1:-1] = (difference[:, 1:-1] < difference[:, :-2]) & (difference[:, 1:-1] <= difference[:, 2:])
    trough[:, -1] = difference[:, -1] < difference[:, -2]
    trough &= difference < TROUGH_THRESHOLD
    index = np.where(trough.any(axis=1), trough.argmax(axis=1), difference.argmin(axis=1))
    rows = np.arange(len(difference))
    inner = np.clip(index, 1, difference.shape[1] - 2)
    left, centre, right = (difference[rows, inner + k] for k in (-1, 0, 1))
    a, b = right + left - 2 * centre, (right - left) / 2
    shift = np.where((np.abs(b) >= np.abs(a)) | (inner != index), 0.0, -b / np.where(a == 0, 1.0, a))
    return index + shift, np.clip(difference[rows, index], 0.0, 1.0)
