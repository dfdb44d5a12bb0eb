"""What a training says of itself: scores of windows that no fold had seen, of all windows, trimmed ones too.

The public state of a window has a probability for each state, the product of the devices' by priority: the sources are
independent. So runs are compared, ranked and promoted like those of any other task.

``state_acc`` and ``f1_<device>`` are of files at a threshold of 0.5; `earmark thresholds appliance` chooses better
ones. The same at the earlier system's 0.75 and 0.70 is logged beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.evaluation.metrics import METRICS
from earmark.tasks.appliance.evaluation.scores import file_medians, file_scores, window_scores
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.thresholds_file import DEFAULT_T, OTHER_T
from earmark.tasks.appliance.training.folds import OutOfFold
from earmark.tasks.appliance.training.rows import Rows

__all__ = ["PLAIN_THRESHOLD", "RANK_BY", "metrics_of", "state_index", "state_probabilities", "summary_of"]

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

RANK_BY = "balanced_accuracy"
PLAIN_THRESHOLD = 0.5
_STATE_METRICS = ("balanced_accuracy", "accuracy", "log_loss")


def state_probabilities(p: npt.ArrayLike, devices: Devices) -> Doubles:
    """Probability of each public state in the order of `states`, shape (n, n_devices + 1); rows sum to 1."""
    values = np.asarray(p, dtype=np.float64)
    ordered = values[:, [devices.names.index(name) for name in devices.priority]]
    none_before = np.cumprod(np.column_stack([np.ones(len(values)), 1 - ordered]), axis=1)
    return np.column_stack([ordered * none_before[:, :-1], none_before[:, -1]])


def state_index(y: npt.ArrayLike, devices: Devices) -> Ints:
    """Position of the public state of each row in `states`, shape (n,)."""
    facts = (np.asarray(y) == 1)[:, [devices.names.index(name) for name in devices.priority]]
    return np.where(facts.any(axis=1), facts.argmax(axis=1), len(devices)).astype(np.int64)


def metrics_of(rows: Rows, out: OutOfFold, *, trimmed: bool = False) -> dict[str, dict[str, Any]]:
    """Metric -> ``value``, ``direction`` and ``folds``, of the windows whose truth is known.

    `trimmed` leaves out the windows that were set aside as too loud, as training does; headlines keep them.
    """
    known = rows.is_known[out.positions]
    if trimmed:
        known = known & ~rows.outlier[out.positions]
    parts = [known] + [known & (out.fold == number) for number in range(len(out.results))]
    scored = [_scores(rows, out.positions[part], out.p[part]) for part in parts]
    return {
        name: {
            "value": _finite(scored[0][name]),
            "direction": "lower" if name == "log_loss" else "higher",
            "folds": [_finite(fold.get(name, math.nan)) for fold in scored[1:]],
        }
        for name in scored[0]
    }


def summary_of(rows: Rows, out: OutOfFold) -> dict[str, Any]:
    """Per fold its files, one by one, and its windows per device; what a report shows."""
    devices, found = rows.devices, []
    plain = dict.fromkeys(devices.names, PLAIN_THRESHOLD)
    for result in out.results:
        known = rows.is_known[result.fold.score]
        positions, p = result.fold.score[known], result.p[known]
        medians = file_medians(rows.recordings[positions].tolist(), rows.y[positions], p)
        files = file_scores(medians, plain, devices)
        logged = file_scores(medians, _earlier(devices), devices)
        found.append(
            {
                "fold": result.fold.name,
                "note": result.fold.note,
                "state_acc": files.state_acc,
                "f1": dict(files.f1),
                "margin": {name: _finite(value) for name, value in files.margin.items()},
                "at_earlier_thresholds": {"f1": dict(logged.f1), "state_acc": logged.state_acc},
                "files": [dict(row) for row in files.rows],
                "windows": _plain(window_scores(rows.y[positions], p, devices, plain)),
            }
        )
    return {"folds": found}


def _scores(rows: Rows, positions: Ints, p: npt.NDArray[np.float32]) -> dict[str, float]:
    devices, y = rows.devices, rows.y[positions]
    plain = dict.fromkeys(devices.names, PLAIN_THRESHOLD)
    truth, states = state_index(y, devices), state_probabilities(p, devices)
    found = {name: float(METRICS[name].function(truth, states)) for name in _STATE_METRICS}
    medians = file_medians(rows.recordings[positions].tolist(), y, p)
    files = file_scores(medians, plain, devices)
    found["state_acc"] = files.state_acc
    for device, scores in window_scores(y, p, devices, plain).items():
        word = device.replace(" ", "_")
        if device in devices.names:
            found[f"f1_{word}"] = files.f1[device]
        found |= {f"accuracy_{word}": scores["accuracy"], f"auroc_{word}": scores["auroc"]}
    return found


def _earlier(devices: Devices) -> dict[str, float]:
    return {name: DEFAULT_T.get(name, OTHER_T) for name in devices.names}


def _finite(value: float) -> float | None:
    """Undefined scores become null, which JSON has."""
    return float(value) if math.isfinite(value) else None


def _plain(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        device: {name: _finite(value) if isinstance(value, float) else value for name, value in of.items()}
        for device, of in scores.items()
    }
