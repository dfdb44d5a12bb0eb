"""Tuning, chroma and tonal centroid.

Conventions: pitch classes C, C#, ..., B; tuning in semitones from A = 440 Hz; frames as in
`earmark.audio.spectrum`.

References: D. Ellis, Chroma Feature Analysis and Synthesis, 2007; C. Harte, M. Sandler, M. Gasser, Detecting
harmonic change in musical audio, AMCMM 2006 (tonal centroid).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.descriptors import N_FFT, spectral_descriptors
from earmark.audio.filterbanks import chroma_filterbank
from earmark.audio.spectrum import hann_window, n_frames_of

Array = NDArray[np.float32]
LOWEST_A_HZ = 27.5
TUNING_BINS = 100  # steps of 0.01 bin
N_PITCH_CLASSES = 12
TINY = np.finfo(np.float32).tiny


def tuning(clip: Clip) -> float:
    """Deviation from A = 440 Hz in semitones, -0.5 to 0.49 in steps of 0.01; 0 for a clip without spectral
    peaks.

    The fullest step of a histogram over those spectral peaks that are at least as high as their median.
    """
    descriptors = clip.memo(spectral_descriptors)
    return _fullest_step(descriptors.peak_bin, descriptors.peak_power, clip.sample_rate, N_PITCH_CLASSES)


def bin_tuning(clip: Clip, bins_per_octave: int) -> float:
    """`tuning` in parts of another division of the octave, from the peaks of magnitudes instead of powers."""
    descriptors = clip.memo(spectral_descriptors)
    return _fullest_step(descriptors.peak_size_bin, descriptors.peak_size, clip.sample_rate, bins_per_octave)


def _fullest_step(peak_bin: Array, height: Array, sample_rate: int, bins_per_octave: int) -> float:
    if not len(height):
        return 0.0
    strong = peak_bin[height >= np.median(height)]
    bins = bins_per_octave * np.log2(strong * np.float32(sample_rate / N_FFT) / np.float32(LOWEST_A_HZ))
    deviation = bins - np.floor(bins + np.float32(0.5))  # -0.5 to 0.5, upper end left out
    step = np.floor((deviation + np.float32(0.5)) * np.float32(TUNING_BINS)).astype(np.int64)
    counts = np.bincount(np.clip(step, 0, TUNING_BINS - 1), minlength=TUNING_BINS)
    return int(np.argmax(counts)) / TUNING_BINS - 0.5


def chroma(clip: Clip) -> Array:
    """Energy of the 12 pitch classes, C first, at the clip's own tuning.

    Returns
    -------
    np.ndarray, float32, shape (n_frames, 12)
        Each frame scaled to a maximum of 1; all 0 where silent.
    """
    from earmark.audio.chroma_kernel import sum_pitch_classes
    from earmark.audio.simd import LANES
    from earmark.audio.tile_fft import twiddles

    weights = chroma_filterbank(clip.sample_rate, N_FFT, clip.memo(tuning))
    n_frames = n_frames_of(len(clip.samples))
    n_padded = -(-n_frames // LANES) * LANES
    energy = np.empty(n_padded * LANES, dtype=np.float32)
    sum_pitch_classes(
        clip.samples,
        n_frames,
        hann_window(N_FFT),
        twiddles(),
        np.ascontiguousarray(weights.T).ravel(),
        energy,
    )
    pitch_classes = energy.reshape(n_padded, LANES)[:n_frames, :N_PITCH_CLASSES]
    largest = pitch_classes.max(axis=1, keepdims=True)
    return np.asarray(pitch_classes / np.where(largest > TINY, largest, 1.0), dtype=np.float32)


def tonnetz(clip: Clip) -> Array:
    """Tonal centroid of `chroma`: fifths, minor thirds, major thirds as sine and cosine.

    Returns
    -------
    np.ndarray, float32, shape (n_frames, 6)
        -1 to 1, the major thirds -0.5 to 0.5; all 0 where silent.
    """
    pitch_classes = clip.memo(chroma)
    total = pitch_classes.sum(axis=1, keepdims=True)
    angle = np.outer([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3], np.arange(N_PITCH_CLASSES))
    angle[::2] -= 0.5
    radius = np.array([1, 1, 1, 1, 0.5, 0.5])
    basis = (radius[:, None] * np.cos(np.pi * angle)).astype(np.float32)
    centroid = (pitch_classes / np.where(total > TINY, total, 1.0)) @ basis.T
    return np.asarray(centroid, dtype=np.float32)
