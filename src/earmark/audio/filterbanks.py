"""Matrices that sum the bins of a spectrum into bands: mel triangles and chroma bumps.

References: M. Slaney, Auditory Toolbox, Interval Technical Report 1998-010 (mel: linear to 1 kHz, 27
logarithmic steps per factor 6.4; triangles of unit area). D. Ellis, Chroma Feature Analysis and Synthesis,
2007 (chroma: Gaussian bumps a semitone wide, weighted by a Gaussian of two octaves around the fifth octave).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.spectrum import fft_frequencies_hz

Array = NDArray[np.float32]
HZ_PER_MEL = 200.0 / 3  # slope of the linear part
BREAK_HZ = 1000.0
LOG_STEP = np.log(6.4) / 27.0
CENTRE_OCTAVE = 5.0  # above 27.5 Hz
OCTAVE_WIDTH = 2.0


@lru_cache(maxsize=8)
def mel_filterbank(
    sample_rate: int, n_fft: int = 2048, n_mels: int = 128, fmin_hz: float = 0.0, fmax_hz: float | None = None
) -> Array:
    """Triangular mel filters of unit area.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, n_mels : int
        FFT length and number of bands.
    fmin_hz, fmax_hz : float
        Edges of the lowest and highest band, Hz; None: half the sample rate.

    Returns
    -------
    np.ndarray, float32, shape (n_mels, 1 + n_fft // 2)
        Shared: do not write to it. A band narrower than a bin may be all zero.
    """
    top_hz = sample_rate / 2 if fmax_hz is None else fmax_hz
    edges_hz = _mel_to_hz(np.linspace(_hz_to_mel(fmin_hz), _hz_to_mel(top_hz), n_mels + 2))
    distance = edges_hz[:, None] - fft_frequencies_hz(sample_rate, n_fft)[None, :]
    width = np.diff(edges_hz)[:, None]
    triangles = np.maximum(0.0, np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:]))
    return (triangles * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]).astype(np.float32)


def chroma_filterbank(sample_rate: int, n_fft: int = 2048, tuning: float = 0.0) -> Array:
    """Weights from bins to the 12 pitch classes, C first.

    Parameters
    ----------
    sample_rate, n_fft : int
        Hz; FFT length.
    tuning : float
        Deviation from A 440 Hz in semitones, -0.5 to 0.5.

    Returns
    -------
    np.ndarray, float32, shape (12, 1 + n_fft // 2)
    """
    frequencies_hz = np.arange(1, n_fft) * (sample_rate / n_fft)
    semitones = 12.0 * np.log2(frequencies_hz / (440.0 * 2.0 ** (tuning / 12.0) / 16.0))
    # the bin at 0 Hz is put 1.5 octaves below the first, half way round the circle
    semitones = np.concatenate([[semitones[0] - 18.0], semitones])
    width = np.concatenate([np.maximum(np.diff(semitones), 1.0), [1.0]])
    distance = np.mod(semitones[None, :] - np.arange(12)[:, None] + 6.0, 12.0) - 6.0
    weights = np.exp(-0.5 * (2.0 * distance / width) ** 2)
    weights /= np.sqrt((weights**2).sum(axis=0))
    weights *= np.exp(-0.5 * ((semitones / 12.0 - CENTRE_OCTAVE) / OCTAVE_WIDTH) ** 2)
    # the bumps start at A
    return np.ascontiguousarray(np.roll(weights, -3, axis=0)[:, : 1 + n_fft // 2], dtype=np.float32)


def _hz_to_mel(frequency_hz: float) -> float:
    if frequency_hz < BREAK_HZ:
        return frequency_hz / HZ_PER_MEL
    return float(BREAK_HZ / HZ_PER_MEL + np.log(frequency_hz / BREAK_HZ) / LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    break_mel = BREAK_HZ / HZ_PER_MEL
    return np.where(mel < break_mel, mel * HZ_PER_MEL, BREAK_HZ * np.exp(LOG_STEP * (mel - break_mel)))
