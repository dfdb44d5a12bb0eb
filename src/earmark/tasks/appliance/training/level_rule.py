"""The printed baseline: a threshold on the level of a window, the best on one part, applied to another.

The threshold is the midpoint between two neighbouring levels with the best accuracy on the fitted windows, the first
among equals. A device that another one masks is fitted, and scored, among the windows with the masking device off: the
level of the others says nothing of it. It is a yardstick beside each model and never answers for one.

Conventions: levels are linear RMS of full scale, shape (n,); ``y`` is 0 or 1, shape (n, n_devices).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.tasks.appliance.evaluation.scores import file_medians, positive_f1

if TYPE_CHECKING:
    from earmark.tasks.appliance.schema import Devices

__all__ = ["LevelRule", "best_threshold", "level_baseline"]

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class LevelRule:
    """A device is on where the level is above ``threshold``; ``fitted_accuracy`` on the windows that chose it."""

    threshold: float
    fitted_accuracy: float


def best_threshold(level: npt.ArrayLike, on: npt.ArrayLike) -> LevelRule:
    """The midpoint of neighbouring levels with the best accuracy of ``level > threshold``, the first among equals.

    Raises
    ------
    ValueError
        Fewer than two different levels: there is no midpoint.
    """
    x, y = np.asarray(level, dtype=np.float64), np.asarray(on, dtype=bool)
    values, position = np.unique(x, return_inverse=True)
    if len(values) < 2:
        raise ValueError(f"{len(values)} different levels; expected at least 2 to put a threshold between.")
    n_on = np.bincount(position, y, len(values))
    n_off = np.bincount(position, ~y, len(values))
    right = np.cumsum(n_off)[:-1] + n_on.sum() - np.cumsum(n_on)[:-1]
    best = int(right.argmax())
    return LevelRule(float((values[best] + values[best + 1]) / 2), float(right[best] / len(x)))


def level_baseline(
    level: Doubles, y: Ints, recordings: Sequence[str], fit: Ints, score: Ints, devices: Devices
) -> dict[str, Any]:
    """Fit on the rows `fit`, score on the rows `score`.

    Returns
    -------
    dict
        Per device ``threshold``, ``fitted_accuracy``, ``accuracy`` and ``f1`` among windows that are not masked,
        ``auroc`` among these and ``auroc_all``, ``file_f1``; ``state_acc`` of windows and of files.
    """
    names = np.asarray(recordings)
    medians = file_medians(names[score].tolist(), y[score], np.repeat(level[score, None], y.shape[1], axis=1))
    found: dict[str, Any] = {}
    said, said_files = [], []
    for k, device in enumerate(devices.names):
        heard = _unmasked(y, device, devices)
        rows, rule = score[heard[score]], best_threshold(level[fit[heard[fit]]], y[fit[heard[fit]], k])
        on = level > rule.threshold
        said.append(on[score])
        said_files.append(medians.p[:, k] > rule.threshold)
        found[device] = {
            "threshold": rule.threshold,
            "fitted_accuracy": rule.fitted_accuracy,
            "accuracy": float(np.mean(on[rows] == (y[rows, k] == 1))) if len(rows) else None,
            "f1": positive_f1(y[rows, k], on[rows]),
            "auroc": _auroc(y[rows, k], level[rows]),
            "auroc_all": _auroc(y[score, k], level[score]),
            "file_f1": positive_f1(medians.y[:, k], said_files[-1]),
        }
    return found | {
        "state_acc": _state_accuracy(y[score], np.column_stack(said), devices),
        "file_state_acc": _state_accuracy(medians.y, np.column_stack(said_files), devices),
    }


def _unmasked(y: Ints, device: str, devices: Devices) -> npt.NDArray[np.bool_]:
    """Windows in which nothing hides the device."""
    index = {name: k for k, name in enumerate(devices.names)}
    hiding = [index[by] for by, hidden in devices.masks if hidden == device]
    return np.asarray(~(y[:, hiding] == 1).any(axis=1))


def _state_accuracy(y: npt.ArrayLike, said: npt.ArrayLike, devices: Devices) -> float:
    return float(np.mean(first_on(y, devices) == first_on(said, devices)))


def first_on(facts: npt.ArrayLike, devices: Devices) -> Ints:
    """Position in ``devices.priority`` of the first device that is on, -1 where none is, shape (n,)."""
    index = {name: k for k, name in enumerate(devices.names)}
    ordered = np.asarray(facts, dtype=bool)[:, [index[name] for name in devices.priority]]
    return np.where(ordered.any(axis=1), ordered.argmax(axis=1), -1).astype(np.int64)


def _auroc(y: npt.ArrayLike, level: Doubles) -> float | None:
    """None where a class is missing."""
    from sklearn.metrics import roc_auc_score

    truth = np.asarray(y) == 1
    return float(roc_auc_score(truth, level)) if truth.any() and not truth.all() else None
