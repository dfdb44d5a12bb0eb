"""Group ``meter.ssm``: how alike the harmony of beats is that lie 2, ..., 12 beats apart, per slot of a tracker.

Conventions: chroma of the frames between a beat and the next is averaged and scaled to length 1; similarity is the
cosine; a lag is a number of beats. Fewer than four beats give zeros, as an absent tracker does.

Reference: J. Foote, Visualizing music and audio using self-similarity, ACM Multimedia 1999.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.cqt import cqt_chroma
from earmark.audio.downbeats import between_beats
from earmark.audio.front_end import front_end
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.groups.slots import DEFAULT_TRACKERS, Trackers, present, slot_beats, slot_columns
from earmark.tasks.meter.intervals import SPACINGS
from earmark.tasks.meter.schema import MIN_DURATION_S, SAMPLE_RATE

__all__ = ["SSM", "SSM_COLUMNS", "similarity_profile", "ssm_columns"]

Float64 = NDArray[np.float64]

MIN_BEATS = 4
SSM_COLUMNS = (
    *(f"sim_{lag:02d}" for lag in SPACINGS),
    *(f"rel_{lag:02d}" for lag in SPACINGS),
    "best_lag",
    "best_sim",
    "entropy",
)
"""Of one slot; entropy in bits, the best lag in units of 12 beats."""


def ssm_columns(chroma: NDArray[np.float32], beats_s: Float64) -> Float64:
    """The 25 columns of one slot.

    Parameters
    ----------
    chroma : np.ndarray, shape (n_frames, 12)
    beats_s : np.ndarray, shape (n_beats,)
        Seconds, ascending.
    """
    if len(beats_s) < MIN_BEATS:
        return np.zeros(len(SSM_COLUMNS))
    profile = similarity_profile(between_beats(chroma, beats_s, SAMPLE_RATE)[:-1])
    best = float(profile.max())
    weights = np.abs(profile) / max(np.abs(profile).sum(), np.finfo(float).tiny)
    bits = -np.sum(weights * np.log2(np.where(weights > 0, weights, 1.0)))
    relative = profile / best if best > 0 else np.zeros_like(profile)
    best_lag = SPACINGS[int(np.argmax(profile))] / SPACINGS[-1]
    return np.array([*profile, *relative, best_lag if best > 0 else 0.0, best, bits])


def similarity_profile(beat_values: Float64) -> Float64:
    """Mean cosine of beats 2, ..., 12 apart, shape (11,); 0 for lags that the beats do not span."""
    norms = np.linalg.norm(beat_values, axis=1, keepdims=True)
    unit = beat_values / np.where(norms > 0, norms, 1.0)
    return np.array(
        [float((unit[lag:] * unit[:-lag]).sum(axis=1).mean()) if lag < len(unit) else 0.0 for lag in SPACINGS]
    )


def ssm(clip: Clip, *, trackers: Trackers) -> Float64:
    """The columns of all slots, those of absent trackers 0."""
    chroma = clip.memo(front_end).memo(cqt_chroma)
    return np.concatenate([ssm_columns(chroma, beats.times_s) for beats in slot_beats(clip, trackers)])


SSM: FeatureGroup = feature_group(
    "meter.ssm",
    columns=slot_columns(SSM_COLUMNS),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"trackers": DEFAULT_TRACKERS},
    reuses=present(DEFAULT_TRACKERS),
)(ssm)
