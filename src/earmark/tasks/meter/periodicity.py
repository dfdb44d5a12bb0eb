"""Autocorrelation of a curve read at the lengths of bars: where a meter shows as a period.

Conventions: curves have one value per frame; lags in frames; the beat is a quarter note. A peak may lie 5 %, and at
least one frame, from its place, since tempo drifts and a lag is a whole number of frames
(`earmark.audio.autocorrelation.lag_peaks`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from earmark.audio.autocorrelation import autocorrelation, lag_peaks

__all__ = ["BAR_BEATS", "bar_peaks", "scaled_to_max"]

_QUARTERS, _EIGHTHS = (2, 3, 4, 5, 6, 7, 9, 11, 12), (3, 5, 6, 7, 9, 11, 12)
BAR_BEATS: Mapping[str, float] = {
    **{f"{n}/4": float(n) for n in _QUARTERS},
    **{f"{n}/8": n / 2 for n in _EIGHTHS},
}
"""Signature -> length of its bar in beats."""


def bar_peaks(curve: NDArray[np.floating], frames_per_beat: float, *, above: float = 0.0) -> dict[str, float]:
    """Signature -> autocorrelation at the length of its bar; those not `above` left out, the largest scaled to 1.

    Empty for a constant curve, and without a beat (``frames_per_beat`` 0).
    """
    if frames_per_beat <= 0:
        return {}
    lags = frames_per_beat * np.array(list(BAR_BEATS.values()))
    n_lags = min(len(curve), int(1.1 * lags.max()) + 2)
    peaks = lag_peaks(autocorrelation(curve, n_lags), lags)
    kept = {name: float(peak) for name, peak in zip(BAR_BEATS, peaks, strict=True) if peak > above}
    return scaled_to_max(kept)


def scaled_to_max(scores: Mapping[str, float]) -> dict[str, float]:
    """Scores divided by the largest; none if there is none above 0."""
    largest = max(scores.values(), default=0.0)
    return {name: score / largest for name, score in scores.items()} if largest > 0 else {}
