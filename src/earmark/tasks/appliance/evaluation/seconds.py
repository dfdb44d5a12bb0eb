"""Probability and truth per second of a recording, for recordings in which devices switch.

Second k is ``[k, k + 1)``. Windows overlap: a second takes the mean of the windows that hold it whole, each weighted
by how near its middle is (a triangle that falls to zero at the edges of the window), since a window says most of its
middle. A second that no window holds is NaN.

A device is on in a second if it is on for half of it or more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError

__all__ = ["auroc_by", "latest_per_second", "probability_per_second", "truth_per_second"]

Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def probability_per_second(
    p: npt.ArrayLike, starts_s: npt.ArrayLike, ends_s: npt.ArrayLike, n_seconds: int
) -> Doubles:
    """Mean of the windows over each second.

    Parameters
    ----------
    p : array, shape (n_windows,)
        Probabilities of one device.
    starts_s, ends_s : array, shape (n_windows,)
    n_seconds : int

    Returns
    -------
    ndarray, float64, shape (n_seconds,)
    """
    values, starts, ends = (np.asarray(one, dtype=np.float64) for one in (p, starts_s, ends_s))
    if not values.shape == starts.shape == ends.shape or values.ndim != 1:
        raise UsageError(
            f"probabilities, starts and ends have the shapes {values.shape}, {starts.shape}, {ends.shape}; "
            "expected one value of each per window."
        )
    second = np.arange(n_seconds)[:, None]
    holds = (starts <= second) & (second + 1 <= ends)
    distance = np.abs(second + 0.5 - (starts + ends) / 2)
    weights = np.where(holds, 1 - distance / np.maximum((ends - starts) / 2, 1e-9), 0.0)
    total = weights.sum(axis=1)
    means: Doubles = np.divide(weights @ values, total, out=np.full(n_seconds, np.nan), where=total > 0)
    return means


def latest_per_second(p: npt.ArrayLike, ends_s: npt.ArrayLike, n_seconds: int) -> Doubles:
    """The last window that had ended when each second ended, as a stream has it.

    Parameters
    ----------
    p : array, shape (n_windows,)
    ends_s : array, shape (n_windows,)
        Ascending.
    n_seconds : int

    Returns
    -------
    ndarray, float64, shape (n_seconds,)
        Seconds before the end of the first window have its probability: a stream waits for it.
    """
    values, ends = np.asarray(p, dtype=np.float64), np.asarray(ends_s, dtype=np.float64)
    if not len(values):
        return np.full(n_seconds, np.nan)
    last = np.searchsorted(ends, np.arange(1, n_seconds + 1) + 1e-6, side="right") - 1
    return values[np.maximum(last, 0)]


def truth_per_second(on_spans_s: Sequence[tuple[float, float]], n_seconds: int) -> Bools:
    """Whether a device that is on in these spans is on in each second, shape (n_seconds,)."""
    edges = np.arange(n_seconds)
    heard = np.zeros(n_seconds)
    for on_s, off_s in on_spans_s:
        heard += np.clip(np.minimum(edges + 1, off_s) - np.maximum(edges, on_s), 0, None)
    is_on: Bools = heard >= 0.5
    return is_on


def auroc_by(truth: npt.ArrayLike, p: npt.ArrayLike, keys: Sequence[Any]) -> dict[str, Mapping[str, float]]:
    """AUROC over all seconds (``"all"``) and over those of each key, an SNR say.

    Parameters
    ----------
    truth : array of bool, shape (n,)
    p : array, shape (n,)
        NaN rows are left out, and counted as ``uncovered``.
    keys : sequence, length n

    Returns
    -------
    dict
        Name -> ``auroc`` (NaN where one class is missing), ``seconds``, ``uncovered``.
    """
    is_on, values = np.asarray(truth, dtype=bool), np.asarray(p, dtype=np.float64)
    names = np.asarray([str(key) for key in keys])
    parts = {"all": np.ones(len(values), dtype=bool)}
    parts |= {str(key): names == str(key) for key in sorted(set(keys))}
    return {name: _auroc(is_on[rows], values[rows]) for name, rows in parts.items()}


def _auroc(truth: Bools, p: Doubles) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    heard = ~np.isnan(p)
    y, values = truth[heard], p[heard]
    is_defined = bool(y.any() and not y.all())
    return {
        "auroc": float(roc_auc_score(y, values)) if is_defined else float("nan"),
        "seconds": len(values),
        "uncovered": int((~heard).sum()),
    }
