"""What tells one epoch from another on the validation windows; larger is better.

Conventions: probabilities and labels are (n, n_devices); labels are 0 or 1, NaN where unknown. A file is a recording of
one state: its answer for a device is the median over its windows. A device whose labels are all alike on the validation
windows is left out; NaN if no device is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["THRESHOLDS", "auroc", "file_f1", "margin", "measures", "recording_weights"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Names = npt.NDArray[np.str_]

THRESHOLDS = {"ac": 0.75}
OTHER_THRESHOLD = 0.70
"""Thresholds of the logged F1; those that answer are chosen later."""


def measures(p: Floats, y: Floats, recordings: Names, devices: Sequence[str]) -> dict[str, float]:
    """``auroc``, ``margin``, ``mean_f1`` and ``f1_<device>``, by device and their means."""
    scores = {"auroc": _mean(auroc(p[:, k], y[:, k]) for k in range(len(devices)))}
    margins, found = [], {}
    for k, device in enumerate(devices):
        medians, on = _file_medians(p[:, k], y[:, k], recordings)
        margins.append(margin(medians, on))
        found[f"f1_{device}"] = file_f1(medians, on, THRESHOLDS.get(device, OTHER_THRESHOLD))
    return scores | {"margin": _least(margins), "mean_f1": _mean(found.values())} | found


def auroc(p: Floats, y: Floats) -> float:
    """Probability that a window with the machine on scores above one with it off, ties half; NaN without both."""
    from scipy.stats import rankdata

    known = np.isfinite(y)
    on = y[known] == 1
    n_on, n_off = int(on.sum()), int((~on).sum())
    if not n_on or not n_off:
        return float("nan")
    ranks = rankdata(p[known])
    return float((ranks[on].sum() - n_on * (n_on + 1) / 2) / (n_on * n_off))


def margin(medians: Doubles, on: npt.NDArray[np.bool_]) -> float:
    """Lowest median of a file with the machine on less the highest of one without; NaN without both."""
    if on.all() or not on.any():
        return float("nan")
    return float(medians[on].min() - medians[~on].max())


def file_f1(medians: Doubles, on: npt.NDArray[np.bool_], threshold: float) -> float:
    """F1 of medians at or above a threshold; 0 without a true positive, NaN if no file has the machine on."""
    if not on.any():
        return float("nan")
    said = medians >= threshold
    return float(2 * (said & on).sum() / (said.sum() + on.sum()))


def recording_weights(recordings: Names) -> Doubles:
    """Weights of windows, mean 1, with which each recording counts the same, shape (n,)."""
    _, recording, counts = np.unique(recordings, return_inverse=True, return_counts=True)
    return np.asarray(len(recordings) / (len(counts) * counts[recording]), dtype=np.float64)


def _file_medians(p: Floats, y: Floats, recordings: Names) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Median of each file in which the label is known, and whether the machine is on in most of it."""
    known = np.isfinite(y)
    names = np.unique(recordings[known])
    rows = [known & (recordings == name) for name in names]
    medians = np.array([np.median(p[row].astype(np.float64)) for row in rows], dtype=np.float64)
    return medians, np.array([y[row].mean() > 0.5 for row in rows], dtype=bool)


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")


def _least(values: Sequence[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return min(finite) if finite else float("nan")
