"""Group ``meter.bar_grid``: bars of every length and number of beats against five curves; see `tasks.meter.bar_grid`.

===========  ==============================================================================
``low``      rise of the log-mel spectrum below 500 Hz: bass and drums
``onset``    rise over all bands
``level``    change of the RMS level
``timbre``   rises of 16 groups of bands, each compared with itself
``harmony``  the 12 pitch classes, each compared with itself
===========  ==============================================================================

Conventions: the correlation of several bands is the mean of theirs, weighted by their variance.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.autocorrelation import autocorrelation
from earmark.audio.clip import Clip
from earmark.audio.cqt import cqt_chroma
from earmark.audio.front_end import front_end
from earmark.audio.mel import log_mel
from earmark.audio.spectrum import rms
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.bar_grid import BAR_GRID_COLUMNS, N_LAGS, bar_grid_columns
from earmark.tasks.meter.schema import MIN_DURATION_S, SAMPLE_RATE

__all__ = ["BAR_GRID", "bar_curves", "joint_correlation"]

Float64 = NDArray[np.float64]

BAR_CURVES = ("low", "onset", "level", "timbre", "harmony")
N_LOW_BANDS = 20  # of 128 mel bands: up to 500 Hz
N_BAND_GROUPS = 16
SMOOTHING = np.hanning(7) / np.hanning(7).sum()
"""Frames: 0.07 s at half height, as much as played notes stray from the beat."""


def bar_curves(clip: Clip) -> dict[str, Float64]:
    """The curves of a clip that has passed the front end, each shape (n_curves, n_frames)."""
    rises = np.maximum(np.diff(clip.memo(log_mel), axis=0), 0.0).T.astype(np.float64)
    grouped = rises.reshape(N_BAND_GROUPS, -1, rises.shape[1]).mean(axis=1)
    return {
        "low": _smooth(rises[:N_LOW_BANDS].mean(axis=0, keepdims=True)),
        "onset": _smooth(rises.mean(axis=0, keepdims=True)),
        "level": _smooth(np.gradient(clip.memo(rms).astype(np.float64))[None]),
        "timbre": _smooth(grouped),
        "harmony": clip.memo(cqt_chroma).T.astype(np.float64),
    }


def joint_correlation(curves: Float64) -> Float64:
    """Unbiased autocorrelation of several curves, weighted by variance, shape (N_LAGS,); 0 if all are constant."""
    weights = curves.var(axis=1)
    if not weights.any():
        return np.zeros(N_LAGS)
    return np.asarray(weights @ autocorrelation(curves, N_LAGS, unbiased=True) / weights.sum())


def bar_grid(clip: Clip) -> Float64:
    """The columns of all curves."""
    found = bar_curves(clip.memo(front_end))
    return np.concatenate([bar_grid_columns(joint_correlation(found[name])) for name in BAR_CURVES])


def _smooth(curves: Float64) -> Float64:
    return np.array([np.convolve(curve, SMOOTHING, mode="same") for curve in curves])


BAR_GRID: FeatureGroup = feature_group(
    "meter.bar_grid",
    columns=tuple(f"{curve}_{column}" for curve in BAR_CURVES for column in BAR_GRID_COLUMNS),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)(bar_grid)
