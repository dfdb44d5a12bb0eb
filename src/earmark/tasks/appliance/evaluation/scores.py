"""Scores of window probabilities: of files, of windows per device, and of their calibration.

Three views of the same probabilities:

* **files**: the median over a recording's windows, compared with a threshold per device; F1 per device (0 without a
  true positive) and the share of files whose public state is right;
* **windows**: AUROC, average precision, accuracy and F1 per device; for a device that another one masks also *among the
  windows with the masking device off*, the only ones that can be heard;
* **calibration**: Brier score, and ECE over `ECE_BINS` bins of equal width.

Beside them the margin of a device: the lowest file median with it on minus the highest with it off.

Conventions: ``y`` is 0 or 1 and ``p`` a probability of on, both shape (n, n_devices); a probability equal to its
threshold is on. A score that needs both classes is NaN where one is missing, and its reason is kept beside it. Windows
of a recording overlap, and so does what they say: intervals belong to recordings, never to windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from earmark.tasks.appliance.schema import Devices

__all__ = [
    "ECE_BINS",
    "FileScores",
    "Medians",
    "file_medians",
    "file_scores",
    "positive_f1",
    "window_scores",
]

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ECE_BINS = 15


@dataclass(frozen=True, eq=False)
class Medians:
    """One row per recording: its ``name``, truth ``y`` and the median ``p`` of its windows."""

    names: tuple[str, ...]
    y: npt.NDArray[np.int64]
    p: Doubles


@dataclass(frozen=True)
class FileScores:
    """Of recordings at given thresholds: F1 and margin per device, share of right public states."""

    f1: Mapping[str, float]
    margin: Mapping[str, float]
    state_acc: float
    n_files: int
    rows: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


def file_medians(recordings: Sequence[str], y: npt.ArrayLike, p: npt.ArrayLike) -> Medians:
    """Median over the windows of each recording, in the order of their first windows."""
    names, truth, values = (
        np.asarray(recordings),
        np.asarray(y, dtype=np.int64),
        np.asarray(p, dtype=np.float64),
    )
    order = list(dict.fromkeys(names.tolist()))
    rows = [names == name for name in order]
    return Medians(
        tuple(order),
        np.array([truth[row][0] for row in rows], dtype=np.int64).reshape(len(order), -1),
        np.array([np.median(values[row], axis=0) for row in rows]).reshape(len(order), -1),
    )


def file_scores(medians: Medians, thresholds: Mapping[str, float], devices: Devices) -> FileScores:
    """Score recordings; every device needs its threshold."""
    from earmark.tasks.appliance.schema import state_of

    limits = np.array([thresholds[name] for name in devices.names])
    on = medians.p >= limits
    pairs = zip(medians.names, medians.y, on, medians.p, strict=True)
    rows = [
        {
            "recording_id": name,
            "state": state_of(dict(zip(devices.names, map(bool, truth), strict=True)), devices),
            "answer": state_of(dict(zip(devices.names, map(bool, said), strict=True)), devices),
            **{f"p_{device}": float(p) for device, p in zip(devices.names, values, strict=True)},
        }
        for name, truth, said, values in pairs
    ]
    columns = [
        (name, medians.y[:, k] == 1, on[:, k], medians.p[:, k]) for k, name in enumerate(devices.names)
    ]
    return FileScores(
        f1={name: positive_f1(truth, said) for name, truth, said, _ in columns},
        margin={name: _margin(truth, p) for name, truth, _, p in columns},
        state_acc=float(np.mean([row["state"] == row["answer"] for row in rows])) if rows else math.nan,
        n_files=len(rows),
        rows=tuple(rows),
    )


def window_scores(
    y: npt.ArrayLike,
    p: npt.ArrayLike,
    devices: Devices,
    thresholds: Mapping[str, float],
    *,
    answers: npt.ArrayLike | None = None,
) -> dict[str, dict[str, Any]]:
    """Device -> scores of windows; a masked device has them also under ``<device> when <by> is off``.

    Parameters
    ----------
    y, p : array, shape (n, n_devices)
    answers : array, shape (n, n_devices), optional
        What is compared with the thresholds, where these are for probabilities of another calibration than `p`.
    """
    truth, values = np.asarray(y) == 1, np.asarray(p, dtype=np.float64)
    index = {name: k for k, name in enumerate(devices.names)}
    limits = np.array([thresholds[name] for name in devices.names])
    said = (values if answers is None else np.asarray(answers)) >= limits
    found = {name: _of_device(truth[:, k], values[:, k], said[:, k]) for name, k in index.items()}
    for by, hidden in devices.masks:
        rows, k = ~truth[:, index[by]], index[hidden]
        found[f"{hidden} when {by} is off"] = _of_device(truth[rows, k], values[rows, k], said[rows, k])
    return found


def positive_f1(truth: npt.ArrayLike, said: npt.ArrayLike) -> float:
    """F1 of on; 0 without a true positive."""
    y, answer = np.asarray(truth, dtype=bool), np.asarray(said, dtype=bool)
    hits = int((y & answer).sum())
    return 2 * hits / int(y.sum() + answer.sum()) if hits else 0.0


def _of_device(truth: Bools, p: Doubles, said: Bools) -> dict[str, Any]:
    scores: dict[str, Any] = {
        "n": len(truth),
        "accuracy": float(np.mean(said == truth)) if len(truth) else math.nan,
        "f1": positive_f1(truth, said),
        "brier": float(np.mean((p - truth) ** 2)) if len(truth) else math.nan,
        "ece": _ece(truth, p),
    }
    if truth.all() or not truth.any():
        missing = (
            "no window at all"
            if not len(truth)
            else "every window is on"
            if truth.any()
            else "no window is on"
        )
        return scores | {"auroc": math.nan, "auprc": math.nan, "undefined": missing}
    from sklearn.metrics import average_precision_score, roc_auc_score

    return scores | {
        "auroc": float(roc_auc_score(truth, p)),
        "auprc": float(average_precision_score(truth, p)),
    }


def _ece(truth: Bools, p: Doubles) -> float:
    """Mean distance of the mean probability from the share of on, over bins of equal width."""
    if not len(p):
        return math.nan
    bins = np.minimum((p * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = np.bincount(bins, p - truth, ECE_BINS)
    return float(np.abs(gap).sum() / len(p))


def _margin(truth: Bools, p: Doubles) -> float:
    """NaN where one of the two kinds is missing."""
    return float(p[truth].min() - p[~truth].max()) if truth.any() and not truth.all() else math.nan
