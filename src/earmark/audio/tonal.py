"""Tuning, chroma and tonal centroid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.filterbanks import chroma_filterbank
from earmark.audio.spectrum import fft_frequencies_hz, magnitude

Array = NDArray[np.float32]


def tuning(clip: Clip) -> float:
    """Deviation of the clip from A 440 Hz in semitones, -0.5 to 0.49 in steps of 0.01; 0 without peaks."""
    P = clip.memo(magnitude) ** 2
    f = fft_frequencies_hz(clip.sample_rate)
    inside = (f >= 150.0) & (f < min(4000.0, clip.sample_rate / 2))
    reference = 0.1 * P.max(axis=1, keepdims=True)
    middle = np.where(reference < P, P, 0)
    peak = np.zeros(P.shape, dtype=bool)
    peak[:, 1:-1] = (middle[:, 1:-1] > middle[:, :-2]) & (middle[:, 1:-1] >= middle[:, 2:]) & inside[1:-1]
    rows, bins = np.nonzero(peak)
    if not len(rows):
        return 0.0
    left, centre, right = P[rows, bins - 1], P[rows, bins], P[rows, bins + 1]
    a, b = right + left - 2 * centre, (right - left) / 2
    shift = np.where(np.abs(b) >= np.abs(a), 0, -b / np.where(a == 0, 1, a))
    pitch_hz = (bins + shift) * (clip.sample_rate / 2048)
    height = centre + 0.5 * b * shift
    keep = (pitch_hz > 0) & (height >= np.median(height))
    residual = np.mod(12 * np.log2(pitch_hz[keep] / 27.5), 1.0)
    residual[residual >= 0.5] -= 1.0
    edges = np.linspace(-0.5, 0.5, 101)
    return float(edges[np.argmax(np.histogram(residual, edges)[0])])


def chroma(clip: Clip) -> Array:
    """Energy of the 12 pitch classes, C first, each frame scaled to a maximum of 1; shape (n_frames, 12)."""
    weights = chroma_filterbank(clip.sample_rate, tuning=clip.memo(tuning))
    raw = clip.memo(magnitude) ** 2 @ weights.T
    peak = raw.max(axis=1, keepdims=True)
    return raw / np.where(peak > np.finfo(np.float32).tiny, peak, 1)


def tonnetz(clip: Clip) -> Array:
    """Tonal centroid (Harte 2006): fifths, minor and major thirds as sine and cosine; shape (n_frames, 6)."""
    pitch_classes = clip.memo(chroma)
    total = pitch_classes.sum(axis=1, keepdims=True)
    angle = np.outer([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3], np.arange(12))
    angle[::2] -= 0.5
    radius = np.array([1, 1, 1, 1, 0.5, 0.5])
    basis = (radius[:, None] * np.cos(np.pi * angle)).astype(np.float32)
    return (pitch_classes / np.where(total > 0, total, 1)) @ basis.T
