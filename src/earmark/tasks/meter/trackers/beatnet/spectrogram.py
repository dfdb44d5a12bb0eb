"""What BeatNet hears: a logarithmic filterbank and its rise, fifty times a second.

Conventions: 22 050 Hz mono; frames of 64 ms (1411 samples) every 20 ms (441), centred on their time, zeros outside the
signal; magnitudes, triangles of area 1 at quarter tones from 30 Hz up, ``log10(1 + x)``; then the positive difference
to the frame before. The network's training fixes each of these constants, the odd ones too: 705 bins are taken to be
those of a transform of 1410 samples.

Reference: M. Heydari, F. Cwitkowitz, Z. Duan, BeatNet: CRNN and particle filtering for online joint beat, downbeat and
meter tracking, ISMIR 2021.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip

Array = NDArray[np.float32]

FRAME_LENGTH, HOP_LENGTH = 1411, 441
FPS = 50.0
SAMPLE_RATE = 22_050
N_BINS = FRAME_LENGTH // 2
BANDS_PER_OCTAVE = 24
RANGE_HZ = (30.0, 17_000.0)
REFERENCE_HZ = 440.0
N_FEATURES = 272


def beatnet_features(clip: Clip) -> Array:
    """Level of each band and its rise, float32, shape (n_frames, 272); one frame each 20 ms, none without samples."""
    level = _log_bands(clip.samples)
    rise = np.zeros_like(level)
    np.maximum(level[1:] - level[:-1], 0.0, out=rise[1:])
    return np.concatenate([level, rise], axis=1)


def _log_bands(samples: Array) -> Array:
    from scipy.fft import rfft

    n_frames = -(-len(samples) // HOP_LENGTH)
    half = FRAME_LENGTH // 2
    padded = np.pad(samples, (half, FRAME_LENGTH))
    framed = np.lib.stride_tricks.sliding_window_view(padded, FRAME_LENGTH)[::HOP_LENGTH][:n_frames]
    window = np.hanning(FRAME_LENGTH).astype(np.float32)
    magnitude = np.abs(rfft(framed * window, axis=1)[:, :N_BINS])
    return np.asarray(np.log10(1.0 + magnitude @ _filterbank()), dtype=np.float32)


@lru_cache(maxsize=1)
def _filterbank() -> Array:
    """Triangles of area 1 between neighbouring bins of the band frequencies, shape (705, 136)."""
    edges = np.unique(_nearest_bins(_band_frequencies_hz()))
    bank = np.zeros((N_BINS, len(edges) - 2), dtype=np.float32)
    for band, (start, centre, stop) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        if stop - start < 2:
            centre, stop = start, start + 1
        shape = np.concatenate(
            [
                np.linspace(0, 1, centre - start, endpoint=False),
                np.linspace(1, 0, stop - centre, endpoint=False),
            ]
        )
        bank[start:stop, band] = shape / shape.sum()
    return bank


def _band_frequencies_hz() -> NDArray[np.float64]:
    """Quarter tones around 440 Hz within the range."""
    first, last = (np.log2(bound / REFERENCE_HZ) * BANDS_PER_OCTAVE for bound in RANGE_HZ)
    steps = np.arange(np.ceil(first), np.floor(last) + 1)
    return np.asarray(REFERENCE_HZ * 2.0 ** (steps / BANDS_PER_OCTAVE))


def _nearest_bins(frequencies_hz: NDArray[np.float64]) -> NDArray[np.int64]:
    bins = np.rint(frequencies_hz * (2 * N_BINS / SAMPLE_RATE)).astype(np.int64)
    return np.clip(bins, 0, N_BINS - 1)
