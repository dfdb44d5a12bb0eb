"""Does a column differ between zones? Rank tests with effect sizes, over tracks that are not independent.

Tracks of one group (artist) resemble each other, so each group enters once per zone, with the mean of its tracks.
The test is Kruskal-Wallis on ranks; its effect size is eta squared of H, (H - k + 1) / (n - k): 0 by chance, 1 if
the ranks are the zones' [1]_. P-values of many columns are corrected by Holm's method [2]_.

References
----------
.. [1] Tomczak, Tomczak. The need to report effect size estimates revisited. Trends in Sport Sciences 21(1), 2014.
.. [2] Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6, 1979.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.tasks.zones.analysis.drop_sweep import HIGH_ZONE, LOW_ZONE, separation

__all__ = ["group_means", "holm", "zone_differences"]

FloatArray = NDArray[np.float64]


def zone_differences(
    X: ArrayLike, columns: Sequence[str], y: ArrayLike, groups: ArrayLike, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """How much each column differs between zones, the largest effect first.

    Parameters
    ----------
    X : array, shape (n, d)
    columns : sequence of str, length d
    y : array of int, shape (n,)
        Zones, positions in `classes`.
    groups : array, shape (n,)
        Tracks of one group and zone count as one, with their mean.

    Returns
    -------
    list of dict
        ``feature``, the median of each zone, ``kruskal_h``, ``p``, ``p_holm``, ``effect_size`` (eta squared, 0 by
        chance) and ``auc``: the chance that PURPLE has more than YELLOW. A column without spread has H 0 and p 1.
    """
    zone, means = _means_by_zone(np.asarray(X, dtype=np.float64), np.asarray(y), np.asarray(groups))
    present = [k for k in range(len(classes)) if (zone == k).any()]
    ends = (zone == _position(classes, HIGH_ZONE)).astype(int) - (zone == _position(classes, LOW_ZONE))
    rows: list[dict[str, Any]] = []
    for name, values in zip(columns, means.T, strict=True):
        h, p = _kruskal([values[zone == k] for k in present])
        medians = {f"median_{classes[k]}": float(np.median(values[zone == k])) for k in present}
        freedom = len(zone) - len(present)
        effect = (h - len(present) + 1) / freedom if freedom > 0 else np.nan
        test = {"kruskal_h": h, "p": p, "effect_size": effect, "auc": float(separation(values, ends))}
        rows.append({"feature": name, **medians, **test})
    corrected = holm([row["p"] for row in rows])
    rows = [row | {"p_holm": float(p)} for row, p in zip(rows, corrected, strict=True)]
    return sorted(rows, key=lambda row: -row["kruskal_h"])


def holm(p: ArrayLike) -> FloatArray:
    """P-values corrected for their number: the chance of any false alarm among them stays below the level."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    raised = values[order] * np.arange(len(values), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(raised))
    return corrected


def group_means(X: ArrayLike, groups: ArrayLike) -> FloatArray:
    """Mean row of each group, in the order of their names, shape (n_groups, d)."""
    names, code = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((len(names), np.shape(X)[1]))
    np.add.at(sums, code, np.asarray(X, dtype=np.float64))
    return np.asarray(sums / np.bincount(code, minlength=len(names))[:, None])


def _means_by_zone(X: FloatArray, y: NDArray[Any], groups: NDArray[Any]) -> tuple[NDArray[Any], FloatArray]:
    """Zone and mean row of each group within each zone."""
    parts = [(k, group_means(X[y == k], groups[y == k])) for k in np.unique(y)]
    zone = np.concatenate([np.full(len(means), k) for k, means in parts])
    return zone, np.concatenate([means for _, means in parts])


def _kruskal(samples: Sequence[FloatArray]) -> tuple[float, float]:
    from scipy.stats import kruskal

    if len(samples) < 2 or np.ptp(np.concatenate(samples)) == 0:
        return 0.0, 1.0
    h, p = kruskal(*samples)
    return float(h), float(p)


def _position(classes: Sequence[str], name: str) -> int:
    return list(classes).index(name) if name in classes else -1
