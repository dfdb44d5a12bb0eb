"""From a frame table to one vector per track: statistics of each column over time, and ratios of build-ups.

``agg8`` is mean, std, min, max, p10, p50, p90 and range of a column. The five 0/1 columns also have their
sum and rate (sum over frames). ``ndrop`` sets the build-up score in relation to the track's level, because
quiet tracks have the largest relative build-ups. ``ndrop2`` does the same for the course of level, timbre and
onsets. ``agg14`` is a longer list of statistics, of which ``agg10`` are the first ten; it also holds how a
track starts and ends. Denominators are guarded by 1e-6, standard deviations divide by n.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = [
    "AGG8",
    "AGG10",
    "AGG14",
    "NDROP2_COLUMNS",
    "NDROP_COLUMNS",
    "agg8",
    "agg8_columns",
    "agg10_columns",
    "agg14",
    "agg14_columns",
    "first_difference",
    "flag_count_columns",
    "flag_counts",
    "ndrop",
    "ndrop2",
]

AGG8 = ("mean", "std", "min", "max", "p10", "p50", "p90", "range")
AGG10 = ("mean", "std", "min", "max", "range", "p10", "p25", "p50", "p75", "p90")
AGG14 = (*AGG10, "start", "end", "trajectory", "step_std")
EDGE_SHARE = 10  # a tenth of the frames, at least one, is the start of a track, and its end
NDROP_COLUMNS = (
    "buildup_max_to_rms_mean",
    "buildup_mean_to_rms_mean",
    "buildup_peak_to_rms_std",
    "buildup_spread_to_rms_range",
    "dynamics_score",
)
NDROP2_COLUMNS = (
    "rms_step_std_to_mean",
    "rms_curvature",
    "rms_step_std_to_size",
    "mfcc_step_std",
    "brightness_step_std_to_mean",
    "flux_std_to_mean",
    "peak_density",
    "valley_density",
    "peaks_to_valleys",
    "onset_std_to_mean",
    "change_score",
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


def agg10_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of the first ten statistics of `agg14`, column after column."""
    return tuple(f"{column}_{statistic}" for column in columns for statistic in AGG10)


def agg14_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Names of `agg14`: all statistics of the first column, then of the next."""
    return tuple(f"{column}_{statistic}" for column in columns for statistic in AGG14)


def agg14(frames: np.ndarray) -> np.ndarray:
    """Fourteen statistics of each column over the frames.

    Mean, std, min, max, range and five percentiles; ``start`` and ``end``, the means of the first and last
    tenth of the frames; ``trajectory``, end - start; ``step_std``, the standard deviation of the differences
    from frame to frame.

    Parameters
    ----------
    frames : ndarray, shape (n_frames, n_columns)
        At least one frame; a single one has no steps, and their deviation is 0.

    Returns
    -------
    ndarray, shape (14 * n_columns,)
        In the order of `agg14_columns`.
    """
    low, high = frames.min(axis=0), frames.max(axis=0)
    n_edge = max(1, len(frames) // EDGE_SHARE)
    start, end = frames[:n_edge].mean(axis=0), frames[-n_edge:].mean(axis=0)
    steps = np.diff(frames, axis=0) if len(frames) > 1 else np.zeros_like(frames)
    parts = [
        *(frames.mean(axis=0), frames.std(axis=0), low, high, high - low),
        *np.percentile(frames, (10, 25, 50, 75, 90), axis=0),
        *(start, end, end - start, steps.std(axis=0)),
    ]
    return np.column_stack(parts).ravel()


def first_difference(values: np.ndarray) -> np.ndarray:
    """Difference to the frame before along the first axis, 0 in the first frame; the same shape."""
    return np.diff(values, axis=0, prepend=values[:1])


def ndrop2(column: Mapping[str, np.ndarray]) -> np.ndarray:
    """How a track moves in relation to what it is; the eleven numbers of `NDROP2_COLUMNS`.

    ===========================  ==================================================================
    name                         definition; a step is the difference to the frame before
    ===========================  ==================================================================
    rms_step_std_to_mean         std of the steps of the level / mean level
    rms_curvature                absolute mean of the second differences of the level
    rms_step_std_to_size         std of the steps of the level / mean absolute step
    mfcc_step_std                mean over the coefficients of the std of their steps
    brightness_step_std_to_mean  std of the steps of brightness / mean brightness
    flux_std_to_mean             std / mean of the spectral flux
    peak_density                 share of frames that are peaks
    valley_density               share of frames that are valleys
    peaks_to_valleys             number of peaks / (number of valleys + 1)
    onset_std_to_mean            std / mean of the onset strength
    change_score                 mean of 2 x std of the level, std of the steps of brightness, std of flux
    ===========================  ==================================================================

    Parameters
    ----------
    column : mapping of name to ndarray, shape (n_frames,)
        Columns of a frame table by their bare names; all ``mfcc_<k>_delta`` in it count.
    """
    level, step = column["rms_energy"], column["rms_energy_delta"]
    brightness_step, flux, onset = (
        column[name] for name in ("brightness_delta", "spectral_flux", "onset_strength")
    )
    peaks, valleys = column["energy_peak"], column["energy_valley"]
    timbre_steps = [column[name] for name in column if name.startswith("mfcc_") and name.endswith("_delta")]
    return np.array(
        [
            step.std() / (level.mean() + EPSILON),
            abs(column["rms_energy_delta2"].mean()),
            step.std() / (np.abs(step).mean() + EPSILON),
            np.std(timbre_steps, axis=1).mean(),
            brightness_step.std() / (column["brightness"].mean() + EPSILON),
            flux.std() / (flux.mean() + EPSILON),
            peaks.mean(),
            valleys.mean(),
            peaks.sum() / (valleys.sum() + 1),
            onset.std() / (onset.mean() + EPSILON),
            (2 * level.std() + brightness_step.std() + flux.std()) / 3,
        ]
    )
