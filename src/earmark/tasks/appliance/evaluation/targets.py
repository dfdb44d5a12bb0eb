"""What a run is wanted to reach, beside what was measured.

In every fold better than the level rule, a device that another one masks right in `MASKED_ACCURACY` of the windows in
which it can be heard, one that masks others right in all; switches told in time, and nothing told of steady recordings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from earmark.tasks.appliance.evaluation.evaluate import ApplianceEvaluation
    from earmark.tasks.appliance.evaluation.timing import Timing

__all__ = ["target_rows"]

MASKED_ACCURACY = 0.90
DELAY_S = {"ac": 5.0, "fridge": 12.0}
"""Median delay that a decoder made for speed is to reach."""


def target_rows(found: ApplianceEvaluation) -> list[dict[str, Any]]:
    """``target``, ``fold``, ``wanted``, ``measured``, ``reached``: a row per target that these windows can answer."""
    rows = [row for fold in found.folds for row in _of_fold(fold, found)]
    if found.timings:
        rows += _of_time(found.timings[0])
    return rows


def _of_fold(fold: dict[str, Any], found: ApplianceEvaluation) -> list[dict[str, Any]]:
    devices, name = found.scored.devices, fold["fold"]
    hidden, hiding = ({pair[k] for pair in devices.masks} for k in (1, 0))
    rule = next((row for row in (found.level.rows if found.level else ()) if row["fold"] == name), {})
    rows = []
    for device in devices.names:
        heard = [of for key, of in fold["windows"].items() if key.startswith(f"{device} when ")]
        measured = (heard[0] if device in hidden and heard else fold["windows"][device])["accuracy"]
        if device in hiding:
            rows.append(_row(f"{device}: accuracy of windows", name, 1.0, measured))
        if device in hidden:
            rows.append(_row(f"{device}: accuracy where it can be heard", name, MASKED_ACCURACY, measured))
        if (rule.get(device) or {}).get("accuracy") is not None:
            rows.append(
                _better(f"{device}: better than the level rule", name, rule[device]["accuracy"], measured)
            )
    if "state_acc" in rule:
        rows += [
            _better(
                "state of windows: better than the level rule",
                name,
                rule["state_acc"],
                fold["state_accuracy"],
            ),
            _better(
                "state of files: no worse than the level rule",
                name,
                rule["file_state_acc"],
                fold["files"]["state_acc"],
                equal=True,
            ),
        ]
    return rows


def _of_time(own: Timing) -> list[dict[str, Any]]:
    rows = []
    for device, limit_s in DELAY_S.items():
        delays_s = own.switching.delays_s(device)
        if len(delays_s):
            measured = float(np.median(delays_s))
            rows.append(
                _row(
                    f"{device}: median delay, s, by {own.name}",
                    "",
                    limit_s,
                    measured,
                    reached=measured <= limit_s,
                )
            )
    if own.steady.hours:
        n = len(own.steady.false_events)
        rows.append(_row(f"events on steady recordings, by {own.name}", "", 0, n, reached=n == 0))
    return rows


def _better(target: str, fold: str, than: float, measured: float, *, equal: bool = False) -> dict[str, Any]:
    """What is right everywhere cannot be bettered."""
    reached = measured > than or (measured == than and (equal or than == 1.0))
    return _row(target, fold, than, measured, reached=reached)


def _row(
    target: str, fold: str, wanted: float, measured: float, *, reached: bool | None = None
) -> dict[str, Any]:
    return {
        "target": target,
        "fold": fold,
        "wanted": wanted,
        "measured": measured,
        "reached": bool(measured >= wanted) if reached is None else reached,
    }
