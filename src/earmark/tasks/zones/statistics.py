"""From a frame table to one vector per track: statistics of each column over time, and ratios of build-ups.

``agg8`` is mean, std, min, max, p10, p50, p90 and range of a column. The five 0/1 columns also have their
sum and rate (sum over frames). ``ndrop`` sets the build-up score in relation to the track's level, because
quiet tracks have the largest relative build-ups. Denominators are guarded by 1e-6.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = [
    "AGG8",
    "NDROP_COLUMNS",
    "agg8",
    "agg8_columns",
    "flag_count_columns",
    "flag_counts",
    "ndrop",
]

AGG8 = ("mean", "std", "min", "max", "p10", "p50", "p90", "range")
NDROP_COLUMNS = (
    "buildup_max_to_rms_mean",
    "buildup_mean_to_rms_mean",
    "buildup_peak_to_rms_std",
    "buildup_spread_to_rms_range",
    "dynamics_score",
)
EPSILON = 1e-6


def agg8_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of `agg8`: all statistics of the first column, then of the next."""
    return tuple(f"{column}_{statistic}" for column in columns for statistic in AGG8)


def agg8(frames: np.ndarray) -> np.ndarray:
    """Eight statistics of each column over the frames.

    Parameters
    ----------
    frames : ndarray, shape (n_frames, n_columns)
        At least one frame.

    Returns
    -------
    ndarray, shape (8 * n_columns,)
        In the order of `agg8_columns`.
    """
    low, high = frames.min(axis=0), frames.max(axis=0)
    p10, p50, p90 = np.percentile(frames, (10, 50, 90), axis=0)
    return np.column_stack(
        [frames.mean(axis=0), frames.std(axis=0), low, high, p10, p50, p90, high - low]
    ).ravel()


def flag_count_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of `flag_counts`."""
    return tuple(f"{column}_{kind}" for column in columns for kind in ("sum", "rate"))


def flag_counts(flags: np.ndarray) -> np.ndarray:
    """Sum and rate of each 0/1 column, shape (2 * n_columns,)."""
    return np.column_stack([flags.sum(axis=0), flags.mean(axis=0)]).ravel()


def ndrop(rms_energy: np.ndarray, buildup: np.ndarray, drop_candidate: np.ndarray) -> np.ndarray:
    """Build-up in relation to level; the five numbers of `NDROP_COLUMNS`.

    Parameters
    ----------
    rms_energy, buildup, drop_candidate : ndarray, shape (n_frames,)
        Columns ``rms_energy``, ``energy_buildup_score`` and ``drop_candidate`` of the frame table.
    """
    low, high = np.percentile(buildup, (10, 90))
    mean, spread = rms_energy.mean() + EPSILON, rms_energy.std()
    return np.array(
        [
            buildup.max() / mean,
            buildup.mean() / mean,
            (buildup.max() - buildup.mean()) / (spread + EPSILON),
            (high - low) / (np.ptp(rms_energy) + EPSILON),
            10 * drop_candidate.mean() + 5 * spread + buildup.std(),
        ]
    )
