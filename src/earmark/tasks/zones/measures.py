"""Single numbers of a track that its feature groups are made of.

``level`` is the frame RMS of a whole track at full scale 1, float64, shape (n_frames,). Every function
gives a finite number for silence and for any length of at least one frame.
"""

from __future__ import annotations

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.tempo import beat_times_s, local_tempo

__all__ = [
    "SILENT_RMS",
    "chroma_entropy",
    "dynamic_range",
    "energy_slope",
    "p90",
    "rhythmic_regularity",
    "smoothed_drop_intensity",
    "tempo_confidence",
    "tempo_stability",
]

EPSILON = 1e-6
SILENT_RMS = 1e-6  # full scale 1; a track with a lower mean counts as silent
DYNAMIC_FLOOR_DB = -80.0


def p90(values: np.ndarray) -> float:
    """90th percentile, linearly interpolated; 0 for no values."""
    return float(np.percentile(values, 90)) if len(values) else 0.0


def energy_slope(level: np.ndarray) -> float:
    """Least-squares slope over time scaled to [0, 1], in standard deviations of the level, within [-1, 1]."""
    if len(level) < 2:
        return 0.0
    time = np.linspace(-0.5, 0.5, len(level))
    slope = float(time @ (level - level.mean())) / float(time @ time)
    return float(np.clip(slope / (level.std() + EPSILON), -1.0, 1.0))


def dynamic_range(level: np.ndarray) -> float:
    """Highest minus lowest frame RMS in dB, at most 80; 0 for silence."""
    loudest = float(level.max())
    if loudest <= 0:
        return 0.0
    softest = max(float(level.min()) / loudest, 10 ** (DYNAMIC_FLOOR_DB / 20))
    return -20 * float(np.log10(softest))


def smoothed_drop_intensity(level: np.ndarray) -> float:
    """Strength of sudden rises: ``min(1, 10 * share(dx > P90(|dx|)) * max(dx) / mean)``.

    dx is the difference of the level averaged over 11 frames (0.26 s); 0 for silence.
    """
    mean = level.mean()
    if len(level) < 12 or mean <= SILENT_RMS:
        return 0.0
    rise = np.diff(np.convolve(level, np.full(11, 1 / 11), mode="valid"))
    return float(np.clip(10 * (rise > p90(np.abs(rise))).mean() * rise.max() / mean, 0.0, 1.0))


def beat_interval_variation(clip: Clip) -> float | None:
    """Standard deviation over mean of the inter-beat intervals; None with two beats or fewer."""
    intervals_s = np.diff(np.asarray(clip.memo(beat_times_s), dtype=np.float64))
    return float(intervals_s.std() / intervals_s.mean()) if len(intervals_s) >= 2 else None


def rhythmic_regularity(clip: Clip) -> float:
    """``1 / (1 + variation of the inter-beat intervals)``, 0 with two beats or fewer."""
    variation = beat_interval_variation(clip)
    return 0.0 if variation is None else 1 / (1 + variation)


def tempo_confidence(clip: Clip) -> float:
    """``1 - min(variation of the inter-beat intervals, 1)``, 0.5 with two beats or fewer."""
    variation = beat_interval_variation(clip)
    return 0.5 if variation is None else 1 - min(variation, 1.0)


def tempo_stability(clip: Clip) -> float:
    """``1 / (1 + std / mean)`` of the local tempo over time; 0 where there is none."""
    local_bpm = np.asarray(clip.memo(local_tempo), dtype=np.float64)
    local_bpm = local_bpm[local_bpm > 0]  # 0: no periodic onsets within the window
    if not len(local_bpm):
        return 0.0
    return float(1 / (1 + local_bpm.std() / local_bpm.mean()))


def chroma_entropy(chroma_values: np.ndarray) -> float:
    """Mean natural-log entropy of chroma vectors scaled to sum 1; a silent frame counts as 0.

    Parameters
    ----------
    chroma_values : ndarray, shape (n_frames, 12)
    """
    weights = np.maximum(np.asarray(chroma_values, dtype=np.float64), 0.0)
    sums = weights.sum(axis=1)
    # With q = w / sum: -sum(q log q) = log(sum) - sum(w log w) / sum, one logarithm per bin and no division.
    logs = np.log(np.where(weights > 0, weights, 1.0))
    sounding = sums > 0
    safe = np.where(sounding, sums, 1.0)
    entropy = np.where(sounding, np.log(safe) - (weights * logs).sum(axis=1) / safe, 0.0)
    return float(entropy.mean())
