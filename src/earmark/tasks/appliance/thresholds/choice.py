"""Two ways to choose where a device counts as on, of probabilities alone.

``f1``: every t of a grid is scored by the F1 of on over recordings (a probability equal to t is on). Neighbours of the
best score are a plateau; the middle of the widest one is taken, the first of equally wide ones, as far from a wrong
answer on either side as the grid can say. ``first`` takes the first best t, as an earlier system did.

``percentile``: ``t_off`` is a high percentile of windows with the device off, ``t_on`` a low one of windows with it on,
so that few windows pass the wrong limit. Where the two are closer than the gap, or overlap, both are moved apart by
`WIDEN`, then ``t_on`` is lifted as far as needed, at most to 1; that hides classes which cannot be told apart, so it is
said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.tasks.appliance.evaluation.scores import positive_f1
from earmark.tasks.appliance.stretches import stretches

__all__ = ["WIDEN", "Percentiles", "Plateau", "Tie", "best_threshold", "grid_of", "percentile_limits"]

Doubles = npt.NDArray[np.float64]
Tie = Literal["middle", "first"]

WIDEN = 0.05
"""How far each limit is moved before one is lifted; probability."""

DECIMALS = 4
"""Of a threshold, as the file keeps it."""


@dataclass(frozen=True)
class Plateau:
    """A chosen threshold, its F1, and the grid values from `low` to `high` that score as well."""

    t: float
    f1: float
    low: float
    high: float


@dataclass(frozen=True)
class Percentiles:
    """Limits of one device; `absent` and `present` are the percentiles as measured, `warning` why they were moved."""

    t_on: float
    t_off: float
    absent: float
    present: float
    warning: str | None = None


def grid_of(low: float = 0.50, high: float = 0.95, step: float = 0.05) -> Doubles:
    """Thresholds from `low` to `high`, both included.

    Examples
    --------
    >>> len(grid_of())
    10
    """
    if not (0 <= low <= high <= 1 and 0 < step <= 1):
        raise UsageError(
            f"the grid goes from {low:g} to {high:g} by {step:g}; expected 0 <= min <= max <= 1 and a step above 0. "
            "Correct --grid-min, --grid-max or --grid-step."
        )
    n = int(np.floor((high - low) / step + 1e-9)) + 1
    values: Doubles = np.round(low + step * np.arange(n), DECIMALS)
    return values


def best_threshold(y: npt.ArrayLike, p: npt.ArrayLike, grid: npt.ArrayLike, tie: Tie = "middle") -> Plateau:
    """The threshold of the best F1 on a grid.

    Parameters
    ----------
    y : array, shape (n,)
        Whether the device is on in each recording.
    p : array, shape (n,)
        Its medians.
    grid : array, shape (n_grid,), ascending
    tie : "middle" or "first"

    Returns
    -------
    Plateau
        Where no threshold finds a device that is on, F1 is 0 and all of the grid is the plateau.
    """
    truth, medians = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    values = np.asarray(grid, dtype=np.float64)
    scores = [positive_f1(truth, medians >= t) for t in values]
    best = max(scores)
    runs = stretches(np.asarray(scores) == best)
    first, last = runs[0] if tie == "first" else max(runs, key=lambda run: run[1] - run[0])
    low, high = float(values[first]), float(values[last])
    t = low if tie == "first" else round((low + high) / 2, DECIMALS)
    if positive_f1(truth, medians >= t) < best:  # between two values of the grid two medians may lie
        t = float(values[(first + last) // 2])
    return Plateau(t, best, low, high)


def percentile_limits(
    absent: npt.ArrayLike,
    present: npt.ArrayLike,
    *,
    p_off: float = 96.0,
    p_on: float = 12.0,
    min_gap: float = 0.10,
) -> Percentiles:
    """Limits of the probabilities of windows without and with the device.

    Parameters
    ----------
    absent, present : array, shape (n,)
        At least one window each.
    p_off, p_on : float
        Percentiles, 0 to 100.
    min_gap : float
        Least ``t_on - t_off``, above 0 and at most 1.
    """
    if not (0 <= p_off <= 100 and 0 <= p_on <= 100 and 0 < min_gap <= 1):
        raise UsageError(
            f"the percentiles are {p_off:g} and {p_on:g} and the gap {min_gap:g}; expected 0 to 100, and a gap above 0 "
            "and at most 1. Correct --p-off, --p-on or --min-gap."
        )
    measured_off = round(float(np.percentile(np.asarray(absent, dtype=np.float64), p_off)), DECIMALS)
    measured_on = round(float(np.percentile(np.asarray(present, dtype=np.float64), p_on)), DECIMALS)
    t_off, t_on = measured_off, min(1.0, measured_on)
    if _gap(t_off, t_on) >= min_gap:
        return Percentiles(t_on, t_off, measured_off, measured_on)
    t_off, t_on = max(0.0, t_off - WIDEN), min(1.0, t_on + WIDEN)
    is_lifted = _gap(t_off, t_on) < min_gap
    if is_lifted:
        t_on = min(1.0, t_off + min_gap)
        t_off = min(t_off, t_on - min_gap)  # at the top the other limit makes room
    words = "overlap" if measured_on <= measured_off else f"are closer than {min_gap:g}"
    warning = (
        f"windows with and without it {words} (percentile {p_off:g} of off is {measured_off:.4f}, "
        f"percentile {p_on:g} of on {measured_on:.4f}): limits moved apart"
        f"{', and the upper one lifted' if is_lifted else ''} to {t_off:.4f} and {t_on:.4f}"
    )
    return Percentiles(round(t_on, DECIMALS), round(t_off, DECIMALS), measured_off, measured_on, warning)


def _gap(low: float, high: float) -> float:
    return round(high - low, DECIMALS)
