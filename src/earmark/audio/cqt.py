"""Chroma from a constant-Q transform: 7 octaves from C1 with 36 bins each, at the clip's own tuning.

Conventions: frames are centred on multiples of 512 samples, zeros outside the signal, ``1 + n_samples // 512``
frames; pitch classes C, C#, ..., B; the three bins nearest a semitone are summed as magnitudes.

A frame is scaled to a maximum of 1, but at most by 80 dB more than the loudest frame of the clip, as levels of mel
bands are: the hiss before the first note would be the densest of chords otherwise.

A block of 512 hops is transformed at once, its spectrum is windowed by each filter (`earmark.audio.cqt_filters`) and
folded to the rate of the frames, where a short inverse transform gives the filter's output in all frames. Compared
with a transform at each frame and octave this takes a tenth of the operations, since neighbouring frames of the low
octaves overlap almost wholly.

Agreement with the reference implementation is within 1e-4 of the loudest frame's magnitude, so within 1e-3 in all
frames down to 20 dB below it and mostly far beyond. In the 35 frames at either end it is within about 1e-2: there the
reference halves the rate of a signal that is cut off, and cuts off what its filters ring before it begins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.cqt_filters import BINS_PER_OCTAVE, BLOCK_HOPS, HOP_LENGTH, N_CLASSES, filter_table
from earmark.audio.spectrum import n_frames_of
from earmark.audio.tonal import bin_tuning
from earmark.errors import UsageError

Array = NDArray[np.float32]
TINY = np.finfo(np.float32).tiny
SILENT_SHARE = np.float32(1e-4)  # of the loudest frame's magnitude: -80 dB
MARGIN_HOPS = (
    40  # at either end of a block, whose frames hear beyond it: half the longest waveform and a little
)
LOWEST_RATE = 9000


def cqt_chroma(clip: Clip) -> Array:
    """Magnitude of the 12 pitch classes, C first.

    Returns
    -------
    np.ndarray, float32, shape (n_frames, 12)
        Each frame scaled to a maximum of 1, less in frames more than 80 dB below the loudest; all 0 where silent.

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
    largest = np.maximum(largest, SILENT_SHARE * largest.max())
    return np.asarray(magnitude / np.where(largest > TINY, largest, 1.0), dtype=np.float32)


def pitch_class_magnitudes(clip: Clip) -> Array:
    """Sum of the magnitudes of each pitch class before scaling, float32, shape (n_frames, 12)."""
    from earmark.audio import cqt_kernel
    from earmark.audio.simd import LANES

    table = filter_table(clip.sample_rate, clip.memo(bin_tuning, bins_per_octave=BINS_PER_OCTAVE))
    n_frames = n_frames_of(len(clip.samples))
    energy = np.empty(n_frames * LANES, dtype=np.float32)
    cqt_kernel.sum_magnitudes(
        _padded(clip.samples, n_frames),
        n_frames,
        MARGIN_HOPS,
        cqt_kernel.side_twiddles(),
        *cqt_kernel.block_twiddles(),
        table.first,
        table.place,
        table.real,
        table.imaginary,
        energy,
    )
    return energy.reshape(n_frames, LANES)[:, :N_CLASSES]


def _padded(samples: Array, n_frames: int) -> Array:
    """The signal with zeros before it and behind it, as far as its blocks reach."""
    n_blocks = -(-n_frames // (BLOCK_HOPS - 2 * MARGIN_HOPS))
    n_hops = (n_blocks - 1) * (BLOCK_HOPS - 2 * MARGIN_HOPS) + BLOCK_HOPS
    padded = np.zeros(n_hops * HOP_LENGTH, dtype=np.float32)
    padded[MARGIN_HOPS * HOP_LENGTH :][: len(samples)] = samples
    return padded
