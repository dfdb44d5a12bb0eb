"""Beats of any tempo from 30 to 300 BPM, steady or not, with times between frames.

The usual rule (`earmark.audio.tempo.beat_frames`) fixes one tempo before it looks for beats. Here the bar pointer, with
bars of one beat, decides tempo and beats together and lets the tempo drift: it follows ramps and played music, and of
several tempi takes the one whose beats explain the onsets best.

Conventions: frames of 512 samples on the onset envelope; times in seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.bar_tracking import parabolic_offsets, track_bars
from earmark.audio.clip import Clip
from earmark.audio.onset import ONSET_DELAY_FRAMES, onset_envelope
from earmark.audio.tempo import HOP_LENGTH

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

MIN_BPM, MAX_BPM = 30.0, 300.0
TEMPO_BPM, TEMPO_WEIGHT = (
    110.0,
    0.5,
)  # a mild preference; without it every tempo of equal beats is halved or doubled
OBSERVATION_LAMBDA = 8.0  # onsets are less exact than the activation of a network
UPSAMPLING = 2
LEVEL_WINDOW_S = 3.0
FAINT_SHARE = (
    0.3  # of the strongest onset: what is quieter than this throughout is not raised to full strength
)
MOST_CERTAIN = 0.9
NEAR = 2  # frames: as far as a beat moves to the peak of its onset


def pulse_beats(clip: Clip) -> Int64:
    """Frames of the beats, ascending; empty without any onset.

    Twice as many frames as the envelope has, since a frame is a tenth of the shortest beat.
    """
    envelope = clip.memo(onset_envelope).astype(np.float64)
    if len(envelope) < 2 or not envelope.any():
        return np.empty(0, dtype=np.int64)
    fine = np.interp(
        np.arange(UPSAMPLING * (len(envelope) - 1) + 1) / UPSAMPLING,
        np.arange(len(envelope)),
        _activation(envelope, clip.sample_rate / HOP_LENGTH),
    )
    fps = UPSAMPLING * clip.sample_rate / HOP_LENGTH
    bars = track_bars(
        np.stack([fine, fine], axis=1) / 2,
        fps,
        beats_per_bar=(1,),
        min_bpm=MIN_BPM,
        max_bpm=MAX_BPM,
        observation_lambda=OBSERVATION_LAMBDA,
        tempo_weight=TEMPO_WEIGHT,
        tempo_bpm=TEMPO_BPM,
    )
    return np.unique(np.rint(bars.times_s * (clip.sample_rate / HOP_LENGTH)).astype(np.int64))


def _activation(envelope: Float64, fps: float) -> Float64:
    """The envelope over its own highest values nearby, 0 to 0.9."""
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    nearby = gaussian_filter1d(maximum_filter1d(envelope, int(LEVEL_WINDOW_S * fps)), fps)
    level = np.maximum(nearby, FAINT_SHARE * envelope.max())
    return np.asarray(MOST_CERTAIN * np.clip(envelope / level, 0.0, 1.0))


def refined_times_s(clip: Clip, frames: Int64) -> Float64:
    """Times of beats at the summit of the onset next to each, by a parabola; a beat without one keeps its frame.

    A click sounds one frame before the envelope shows it, and so do beats.
    """
    if not len(frames):
        return np.empty(0)
    envelope = clip.memo(onset_envelope).astype(np.float64)
    around = np.clip(frames[:, np.newaxis] + np.arange(-NEAR, NEAR + 1), 0, len(envelope) - 1)
    peaks = around[np.arange(len(frames)), np.argmax(envelope[around], axis=1)]
    is_summit = (envelope[peaks] > envelope[np.maximum(peaks - 1, 0)]) & (
        envelope[peaks] >= envelope[np.minimum(peaks + 1, len(envelope) - 1)]
    )
    refined = np.where(is_summit, peaks + parabolic_offsets(envelope, peaks), frames)
    return np.maximum.accumulate(np.maximum(refined - ONSET_DELAY_FRAMES, 0.0)) * (
        HOP_LENGTH / clip.sample_rate
    )


def beat_strengths(clip: Clip, frames: Int64) -> NDArray[np.float32]:
    """Onset strength around each beat as a share of the strongest onset, float32, shape (n_beats,)."""
    envelope = clip.memo(onset_envelope)
    highest = envelope.max(initial=np.float32(0.0))
    if not highest > 0:
        return np.zeros(len(frames), dtype=np.float32)
    around = np.clip(frames[:, np.newaxis] + np.arange(-NEAR, NEAR + 1), 0, len(envelope) - 1)
    return np.asarray(envelope[around].max(axis=1, initial=0.0) / highest, dtype=np.float32)
