"""Beats at the best of several tempi, with times between frames.

Conventions: frames of 512 samples on the onset envelope; times in seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.bar_tracking import parabolic_offsets
from earmark.audio.clip import Clip
from earmark.audio.onset import onset_envelope
from earmark.audio.tempo import HOP_LENGTH, beat_frames

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

NEAR = 2  # frames: as far as a beat moves to the peak of its onset


def steady_beats(clip: Clip) -> Int64:
    """Frames of the beats."""
    return clip.memo(beat_frames)


def refined_times_s(clip: Clip, frames: Int64) -> Float64:
    """Times of beats at the summit of the onset next to each, by a parabola; a beat without one keeps its frame."""
    if not len(frames):
        return np.empty(0)
    envelope = clip.memo(onset_envelope).astype(np.float64)
    around = np.clip(frames[:, np.newaxis] + np.arange(-NEAR, NEAR + 1), 0, len(envelope) - 1)
    peaks = around[np.arange(len(frames)), np.argmax(envelope[around], axis=1)]
    is_summit = (envelope[peaks] > envelope[np.maximum(peaks - 1, 0)]) & (
        envelope[peaks] >= envelope[np.minimum(peaks + 1, len(envelope) - 1)]
    )
    refined = np.where(is_summit, peaks + parabolic_offsets(envelope, peaks), frames)
    return np.maximum.accumulate(np.maximum(refined, 0.0)) * (HOP_LENGTH / clip.sample_rate)


def beat_strengths(clip: Clip, frames: Int64) -> NDArray[np.float32]:
    """Onset strength around each beat as a share of the strongest onset, float32, shape (n_beats,)."""
    envelope = clip.memo(onset_envelope)
    highest = envelope.max(initial=np.float32(0.0))
    if not highest > 0:
        return np.zeros(len(frames), dtype=np.float32)
    around = np.clip(frames[:, np.newaxis] + np.arange(-NEAR, NEAR + 1), 0, len(envelope) - 1)
    return np.asarray(envelope[around].max(axis=1, initial=0.0) / highest, dtype=np.float32)
