"""Chroma from a constant-Q transform: 7 octaves from C1 with 36 bins each, at the clip's own tuning.

Conventions: frames are centred on multiples of 512 samples, zeros outside the signal, ``1 + n_samples // 512``
frames; pitch classes C, C#, ..., B; the three bins nearest a semitone are summed as magnitudes.

A block of 512 hops is transformed at once, its spectrum is windowed by each filter (`earmark.audio.cqt_filters`) and
folded to the rate of the frames, where a short inverse transform gives the filter's output in all frames. Compared
with a transform at each frame and octave this takes a tenth of the operations, since neighbouring frames of the low
octaves overlap almost wholly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.cqt_filters import BINS_PER_OCTAVE, BLOCK, BLOCK_HOPS, HOP_LENGTH, N_CLASSES, filter_table
from earmark.audio.spectrum import n_frames_of
from earmark.audio.tonal import tuning
from earmark.errors import UsageError

Array = NDArray[np.float32]
TINY = np.finfo(np.float32).tiny
MARGIN_HOPS = (
    40  # frames at either end of a block that hear beyond it: half the longest waveform and a little
)
LOWEST_RATE = 9000


def cqt_chroma(clip: Clip) -> Array:
    """Magnitude of the 12 pitch classes, C first.

    Returns
    -------
    np.ndarray, float32, shape (n_frames, 12)
        Each frame scaled to a maximum of 1; all 0 where silent.

    Raises
    ------
    UsageError
        The sample rate is below 9000 Hz: the highest bin, at 4.2 kHz, would not exist.
    """
    if clip.sample_rate < LOWEST_RATE:
        raise UsageError(
            f"The clip has {clip.sample_rate} Hz; the constant-Q transform reaches 4.2 kHz and needs at least "
            f"{LOWEST_RATE} Hz. Decode it at a higher rate."
        )
    magnitude = pitch_class_magnitudes(clip)
    largest = magnitude.max(axis=1, keepdims=True)
    return np.asarray(magnitude / np.where(largest > TINY, largest, 1.0), dtype=np.float32)


def pitch_class_magnitudes(clip: Clip) -> Array:
    """Sum of the magnitudes of each pitch class before scaling, float32, shape (n_frames, 12)."""
    table = filter_table(clip.sample_rate, clip.memo(tuning, bins_per_octave=BINS_PER_OCTAVE))
    n_frames = n_frames_of(len(clip.samples))
    result = np.empty((n_frames, N_CLASSES), dtype=np.float32)
    step = BLOCK_HOPS - 2 * MARGIN_HOPS
    for start in range(0, n_frames, step):
        n = min(step, n_frames - start)
        first = (start - MARGIN_HOPS) * HOP_LENGTH
        block = np.zeros(BLOCK, dtype=np.float32)
        lead = max(0, -first)
        piece = clip.samples[max(first, 0) : first + BLOCK]
        block[lead : lead + len(piece)] = piece
        from scipy.fft import ifft, rfft

        spectrum = rfft(block)
        folded = np.zeros((len(table.first), BLOCK_HOPS), dtype=np.complex64)
        for i, k in enumerate(table.first):
            a, b = table.place[i], table.place[i + 1]
            product = spectrum[k : k + b - a] * (table.real[a:b] + 1j * table.imaginary[a:b])
            np.add.at(folded[i], np.arange(k, k + b - a) % BLOCK_HOPS, product)
        out = np.abs(ifft(folded, axis=1)).reshape(-1, N_CLASSES, BLOCK_HOPS).sum(axis=0).T
        result[start : start + n] = out[MARGIN_HOPS : MARGIN_HOPS + n]
    return result
