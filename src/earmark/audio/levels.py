"""Level of a steady sound: dBFS of the whole clip and of short frames without overlap.

Conventions: 0 dBFS is a root mean square of 1; nothing is quieter than -160 dBFS (an amplitude of 1e-8), so digital
silence has a finite level. Frames start at sample 0; a last one that the clip does not fill is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip

__all__ = ["SMALLEST_AMPLITUDE", "amplitude_dbfs", "frame_rms", "peak", "root_mean_square", "whole_rms"]

Float64 = NDArray[np.float64]

SMALLEST_AMPLITUDE = 1e-8


def amplitude_dbfs(amplitude: Float64 | float) -> Float64:
    """``20 log10(max(amplitude, 1e-8))``, of any shape."""
    return np.asarray(20.0 * np.log10(np.maximum(amplitude, SMALLEST_AMPLITUDE)))


def whole_rms(clip: Clip) -> float:
    """Root of the mean square of all samples, summed in double precision; 0 for a clip without samples."""
    return root_mean_square(clip.samples) if clip.samples.size else 0.0


def root_mean_square(samples: NDArray[np.float32] | Float64) -> float:
    """The same of at least one sample, of any shape."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def peak(clip: Clip) -> float:
    """Largest absolute sample; 0 for a clip without samples."""
    samples = clip.samples
    return float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))


def frame_rms(clip: Clip, frame_s: float = 0.1) -> Float64:
    """Root of the mean square of frames of ``frame_s`` seconds without overlap.

    Returns
    -------
    np.ndarray, float64, shape (n_frames,)
        No frame for a clip shorter than one.
    """
    length = round(frame_s * clip.sample_rate)
    n_frames = clip.samples.size // length
    frames = clip.samples[: n_frames * length].astype(np.float64).reshape(n_frames, length)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", frames, frames) / length))
