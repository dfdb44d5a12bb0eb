"""Kaldi's log-mel filter bank, the front end of BEATs and its relatives, without Kaldi and without torch.

Conventions: 16 kHz; frames of 25 ms every 10 ms that lie wholly within the waveform ("snip edges"); samples in
[-1, 1] are scaled to those of 16-bit integers; per frame the mean is removed, pre-emphasis 0.97 applied, then the Povey
window; power spectrum of 512 points; 128 triangles over Kaldi's mel scale from 20 to 8000 Hz; natural logarithm with a
floor of 2^-23. No dither. 6 s give 598 frames. All but the logarithm is double precision, and waveforms are taken one
at a time, so a batch gives the bits of its members.

Filter 3 (from 0) is narrower than a bin and holds none: it is -15.942385 before scaling, always.

References: D. Povey et al., The Kaldi speech recognition toolkit, ASRU 2011, feature-fbank.cc and mel-computations.cc;
S. Chen et al., BEATs: audio pre-training with acoustic tokenizers, ICML 2023 (mean and deviation).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.audio.spectrum import FFT_BLOCK_FRAMES
from earmark.errors import UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "FBANK_MEAN",
    "FBANK_STD",
    "N_MELS",
    "SAMPLE_RATE",
    "kaldi_fbank",
    "mel_filters",
    "n_fbank_frames",
    "normalised_fbank",
    "povey_window",
]

Array = NDArray[np.float32]
Float64 = NDArray[np.float64]

SAMPLE_RATE = 16_000
N_MELS = 128
FBANK_MEAN, FBANK_STD = 15.41663, 6.55582
"""Of BEATs' training data, natural log units; the input of the encoder is ``(v - mean) / (2 std)``."""

FRAME_LENGTH, FRAME_SHIFT, N_FFT = 400, 160, 512
FULL_SCALE = 2.0**15
PRE_EMPHASIS = 0.97
POVEY_EXPONENT = 0.85
LOW_HZ, HIGH_HZ = 20.0, 8000.0
ENERGY_FLOOR = 2.0**-23  # 1.1920929e-07, float32's epsilon


def n_fbank_frames(n_samples: int) -> int:
    """Number of frames of a waveform at 16 kHz; 0 below 25 ms."""
    return max(0, 1 + (n_samples - FRAME_LENGTH) // FRAME_SHIFT)


def kaldi_fbank(waveforms: ArrayLike, sample_rate: int) -> Array:
    """Log energies of 128 mel bands.

    Parameters
    ----------
    waveforms : array_like, shape (n,), (batch, n) or (batch, channels, n), real
        In [-1, 1]. Channels are averaged; two axes are always a batch of mono waveforms, however few they are.
    sample_rate : int
        16000 Hz.

    Returns
    -------
    np.ndarray, float32, shape (n_frames, 128) or (batch, n_frames, 128)
        Natural log units; ``n_frames`` is ``n_fbank_frames(n)``, 0 for less than 25 ms.

    Raises
    ------
    UsageError
        Another rate, or another number of axes.
    """
    if sample_rate != SAMPLE_RATE:
        raise UsageError(
            f"The waveform has {sample_rate} Hz; the filter bank is defined at {SAMPLE_RATE} Hz. Resample it first."
        )
    samples = np.asarray(waveforms)
    if samples.ndim not in (1, 2, 3):
        raise UsageError(
            f"Waveforms have shape {samples.shape}; expected (n,), (batch, n) or (batch, channels, n). Reshape them."
        )
    if samples.ndim == 3:
        samples = samples.mean(axis=1, dtype=np.float64)
    if samples.ndim == 1:
        return _log_energies(samples)
    stacked = np.empty((len(samples), n_fbank_frames(samples.shape[1]), N_MELS), dtype=np.float32)
    for row, waveform in zip(stacked, samples, strict=True):
        row[...] = _log_energies(waveform)
    return stacked


def normalised_fbank(
    waveforms: ArrayLike, sample_rate: int, mean: float = FBANK_MEAN, std: float = FBANK_STD
) -> Array:
    """`kaldi_fbank` as an encoder takes it: ``(v - mean) / (2 std)``, same shapes.

    ``mean`` and ``std`` belong to the encoder's checkpoint; the defaults are those of BEATs.
    """
    return (kaldi_fbank(waveforms, sample_rate) - np.float32(mean)) / np.float32(2.0 * std)


def _log_energies(waveform: NDArray[np.generic]) -> Array:
    """Log energies of one mono waveform, shape (n_frames, 128)."""
    scaled = np.asarray(waveform, dtype=np.float64) * FULL_SCALE
    energies = np.empty((n_fbank_frames(scaled.size), N_MELS), dtype=np.float32)
    if len(energies) == 0:
        return energies
    framed = np.lib.stride_tricks.sliding_window_view(scaled, FRAME_LENGTH)[::FRAME_SHIFT]
    for start in range(0, len(energies), FFT_BLOCK_FRAMES):
        block = slice(start, start + FFT_BLOCK_FRAMES)
        energies[block] = (mel_filters() @ _power(framed[block]).T).T
    np.maximum(energies, np.float32(ENERGY_FLOOR), out=energies)
    return np.asarray(np.log(energies, out=energies))


def _power(frames: Float64) -> Float64:
    """Power spectra of frames without their means, emphasised and windowed, shape (n_frames, 257)."""
    from scipy.fft import rfft

    centred = frames - frames.mean(axis=1, keepdims=True)
    padded = np.zeros((len(frames), N_FFT))
    emphasised = padded[:, :FRAME_LENGTH]
    np.multiply(centred[:, :-1], -PRE_EMPHASIS, out=emphasised[:, 1:])
    # the first sample of a frame is its own predecessor
    np.multiply(centred[:, 0], -PRE_EMPHASIS, out=emphasised[:, 0])
    emphasised += centred
    emphasised *= povey_window()
    return np.asarray(np.square(np.abs(rfft(padded, axis=1, overwrite_x=True))))


@lru_cache(maxsize=1)
def povey_window() -> Float64:
    """A Hann window to the power 0.85, which falls to zero at both ends, shape (400,)."""
    phase = 2.0 * np.pi * np.arange(FRAME_LENGTH) / (FRAME_LENGTH - 1)
    return np.asarray((0.5 - 0.5 * np.cos(phase)) ** POVEY_EXPONENT)


@lru_cache(maxsize=1)
def mel_filters() -> csr_array:
    """Triangles over the mel scale, shape (128, 257); sums run over the few weights that are not zero, in one order."""
    from scipy.sparse import csr_array

    edges = np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), N_MELS + 2)
    mel = _mel(np.arange(1 + N_FFT // 2) * (SAMPLE_RATE / N_FFT))
    rising = (mel - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - mel) / np.diff(edges)[1:, None]
    return csr_array(np.maximum(0.0, np.minimum(rising, falling)))


def _mel(frequency_hz: ArrayLike) -> Float64:
    """Kaldi's mel scale, which is HTK's: 1127 ln(1 + f / 700)."""
    return np.asarray(1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0))
