"""Group ``meter.bar_grid``: bars of every length and number of beats against what a clip repeats.

===========  ==============================================================================
``low``      rise of the log-mel spectrum below 500 Hz: bass and drums
``onset``    rise over all bands
``level``    change of the RMS level
``timbre``   rises of 16 groups of bands, each compared with itself
``events``   the picked onsets, all of one weight
``harmony``  the 12 pitch classes, each compared with itself
``pitch``    their rises, each compared with itself: which note begins
``change``   how much the pitch classes before and after differ
===========  ==============================================================================

The autocorrelation of each says when it repeats. Columns are those of `earmark.tasks.meter.bar_grid` for ``all``, the
mean of the eight, where a bar must convince most of them, and for ``pitch`` and ``harmony``, which melodies without
drums need.

Conventions: the correlation of several bands is the mean of theirs, weighted by their variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from earmark.audio.autocorrelation import autocorrelation
from earmark.audio.clip import Clip
from earmark.audio.cqt import cqt_chroma
from earmark.audio.front_end import front_end
from earmark.audio.mel import log_mel
from earmark.audio.onset_events import onset_events
from earmark.audio.spectrum import rms
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.bar_grid import BAR_GRID_COLUMNS, N_LAGS, bar_grid_columns
from earmark.tasks.meter.schema import MIN_DURATION_S, SAMPLE_RATE

__all__ = ["BAR_GRID", "GRID_CURVES", "bar_curves", "joint_correlation"]

Float64 = NDArray[np.float64]

GRID_CURVES = ("all", "pitch", "harmony")
"""What has columns of its own."""

N_LOW_BANDS = 20  # of 128 mel bands: up to 500 Hz
N_BAND_GROUPS = 16
SMOOTHING = np.hanning(7) / np.hanning(7).sum()
"""Frames: 0.07 s at half height, as much as played notes stray from the beat."""
PITCH_SMOOTHING = 1.5
"""Frames (standard deviation) over which a pitch class rises."""
CHANGE_SMOOTHING, CHANGE_REACH = 3.0, 6
"""Frames: smoothing of the pitch classes before they are compared, and how far before and after a frame they are."""


def bar_curves(clip: Clip) -> dict[str, Float64]:
    """The curves of a clip that has passed the front end, each shape (n_curves, n_frames)."""
    rises = np.maximum(np.diff(clip.memo(log_mel), axis=0), 0.0).T.astype(np.float64)
    chroma = clip.memo(cqt_chroma).T.astype(np.float64)
    rising = np.diff(gaussian_filter1d(chroma, PITCH_SMOOTHING, axis=1), axis=1)
    return {
        "low": _smooth(rises[:N_LOW_BANDS].mean(axis=0, keepdims=True)),
        "onset": _smooth(rises.mean(axis=0, keepdims=True)),
        "level": _smooth(np.gradient(clip.memo(rms).astype(np.float64))[None]),
        "timbre": _smooth(rises.reshape(N_BAND_GROUPS, -1, rises.shape[1]).mean(axis=1)),
        "events": _smooth(_events(clip, rises.shape[1])),
        "harmony": chroma,
        "pitch": _smooth(np.maximum(rising, 0.0)),
        "change": harmonic_change(chroma),
    }


def harmonic_change(chroma: Float64) -> Float64:
    """1 - cosine of the pitch classes before and after each frame, shape (1, n_frames) from (12, n_frames)."""
    smooth = gaussian_filter1d(chroma, CHANGE_SMOOTHING, axis=1)
    before, after = smooth[:, : -2 * CHANGE_REACH], smooth[:, 2 * CHANGE_REACH :]
    norms = np.linalg.norm(before, axis=0) * np.linalg.norm(after, axis=0)
    cosine = np.divide((before * after).sum(axis=0), norms, out=np.ones_like(norms), where=norms > 1e-9)
    return np.pad(1.0 - cosine, CHANGE_REACH)[None]


def joint_correlation(curves: Float64) -> Float64:
    """Unbiased autocorrelation of several curves, weighted by variance, shape (N_LAGS,); 0 if all are constant."""
    weights = curves.var(axis=1)
    if not weights.any():
        return np.zeros(N_LAGS)
    return np.asarray(weights @ autocorrelation(curves, N_LAGS, unbiased=True) / weights.sum())


def bar_grid(clip: Clip) -> Float64:
    """The columns of `GRID_CURVES`."""
    curves = bar_curves(clip.memo(front_end))
    found = {name: joint_correlation(curve) for name, curve in curves.items()}
    found["all"] = np.mean(list(found.values()), axis=0)
    return np.concatenate([bar_grid_columns(found[name]) for name in GRID_CURVES])


def _events(clip: Clip, n_frames: int) -> Float64:
    curve = np.zeros((1, n_frames + 1))
    curve[0, clip.memo(onset_events).frames] = 1.0
    return curve


def _smooth(curves: Float64) -> Float64:
    return np.array([np.convolve(curve, SMOOTHING, mode="same") for curve in curves])


BAR_GRID: FeatureGroup = feature_group(
    "meter.bar_grid",
    columns=tuple(f"{curve}_{column}" for curve in GRID_CURVES for column in BAR_GRID_COLUMNS),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)(bar_grid)
