"""The 75 columns that the view v1_187 adds to sample rows: 60 lags and 15 derived ones.

All look back only: a row never changes when later rows come or go. A lag of k reaches k sample intervals back and is
missing (NaN) where no unbroken run of samples reaches so far; so are the derived columns that need earlier samples.
Arithmetic is float64 on the stored float32, the result float32; a division by zero gives 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.orderbook.compiled import compiled
from earmark.orderbook.state import MAX_GAP
from earmark.orderbook.views import DERIVED_NAMES, LAGGED_FEATURES, LAGS

__all__ = ["RANKED", "lagged_and_derived", "trailing_ranks"]

Vector = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

RANKED = 500
"""Samples of the symbol, gaps notwithstanding, among which a value is ranked."""

MIN_RANKED = 20
"""With fewer samples a rank says nothing and is missing."""

REGIME = 20
"""Samples of the mean volatility."""

TINY = 1e-10


def lagged_and_derived(
    X: npt.NDArray[np.float32],
    symbol: npt.NDArray[np.integer],
    time_ms: Integers,
    *,
    interval_ms: int,
) -> npt.NDArray[np.float32]:
    """Lags and derived columns of sample rows.

    Parameters
    ----------
    X : ndarray of float32, shape (n, 112)
        The features in the order of the catalogue.
    symbol : ndarray of integers, shape (n,)
        Which symbol a row is of.
    time_ms : ndarray of int64, shape (n,)
        Rows are sorted by (symbol, time), each once.
    interval_ms : int
        Nominal distance of two samples.

    Returns
    -------
    ndarray of float32, shape (n, 75)
        In the order of ``VIEWS["v1_187"][112:]``.

    Raises
    ------
    UsageError
        Rows have another width, or are not in order.
    """
    require_samples(X, symbol, time_ms)
    same = np.diff(symbol) == 0
    series = run_position(~same, len(X))
    run = run_position(~same | (np.diff(time_ms) > MAX_GAP * interval_ms), len(X))
    columns = {name: X[:, i].astype(np.float64) for i, name in enumerate(FEATURE_NAMES)}
    lags = [lagged(columns[name], lag, run) for name in LAGGED_FEATURES for lag in LAGS]
    added = np.column_stack((*lags, *derived(columns, run, series)))
    return added.astype(np.float32)


def require_samples(X: npt.NDArray[np.float32], symbol: npt.NDArray[np.integer], time_ms: Integers) -> None:
    """Check width and order."""
    if X.ndim != 2 or X.shape[1] != len(FEATURE_NAMES) or not len(X) == len(symbol) == len(time_ms):
        raise UsageError(
            f"Samples of shape {X.shape} with {len(symbol)} symbols and {len(time_ms)} times were given; expected "
            f"{len(FEATURE_NAMES)} features and as many symbols and times as rows. Fill absent columns with NaN."
        )
    later = (np.diff(symbol) > 0) | ((np.diff(symbol) == 0) & (np.diff(time_ms) > 0))
    if not later.all():
        raise UsageError(
            f"Sample {int(np.argmin(later)) + 1} is not later than the one before; expected rows sorted by symbol "
            "and time, each once. Sort and deduplicate them."
        )


def run_position(breaks: npt.NDArray[np.bool_], n: int) -> Integers:
    """How many rows of its run precede each row; `breaks`, shape (n - 1,), are True where a run ends."""
    first = np.concatenate(([True], breaks))[:n]
    index = np.arange(n, dtype=np.int64)
    return index - np.maximum.accumulate(np.where(first, index, 0))


def lagged(x: Vector, lag: int, run: Integers) -> Vector:
    """The value `lag` samples before, NaN where the run does not reach."""
    out = np.full(len(x), np.nan)
    reaches = np.flatnonzero(run >= lag)
    out[reaches] = x[reaches - lag]
    return out


def quotient(numerator: Vector, denominator: Vector) -> Vector:
    """The quotient, 0 where it is undefined, NaN where a part is missing."""
    zero = denominator == 0
    return np.where(zero & ~np.isnan(numerator), 0.0, numerator / np.where(zero, 1.0, denominator))


def derived(columns: dict[str, Vector], run: Integers, series: Integers) -> list[Vector]:
    """The 15 derived columns, in order."""
    imbalance, spread = columns["imbalance_5"], columns["bid_ask_spread_rel"]
    volatility, smart = columns["orderbook_volatility"], columns["smart_money_index"]
    rsi = columns["rsi_14"]
    change = imbalance - lagged(imbalance, 1, run)
    smart_change = smart - lagged(smart, 1, run)
    values = {
        "imbalance_5_change": change,
        "imbalance_5_change_pct": quotient(change, lagged(imbalance, 1, run)),
        "imbalance_5_momentum": imbalance - lagged(imbalance, 4, run),
        "imbalance_ratio_5_10": quotient(imbalance, columns["imbalance_10"] + TINY),
        "imbalance_vol_adjusted": imbalance / (volatility + TINY),
        "imbalance_volume_weighted": imbalance * np.log1p(columns["volume"]),
        "spread_change": spread - lagged(spread, 1, run),
        "spread_momentum": (spread - lagged(spread, 4, run)) / 4,  # the mean of four changes in a row
        "rsi_diff": rsi - columns["rsi_28"],
        "rsi_14_momentum": rsi - lagged(rsi, 4, run),
        "composite_signal": composite_signal(columns, series),
        "smart_money_momentum": smart_change,
        "smart_money_acceleration": smart_change - lagged(smart_change, 1, run),
        "trade_quote_ratio": columns["trade_arrival_rate"] / (columns["quote_intensity"] + TINY),
        "volatility_regime": quotient(volatility, trailing_mean(volatility, run, REGIME)),
    }
    return [values[name] for name in DERIVED_NAMES]


def composite_signal(columns: dict[str, Vector], series: Integers) -> Vector:
    """Weighted trailing ranks of three pressures, 0..1."""
    weights = {"imbalance_5": 0.4, "depth_imbalance_ratio": 0.4, "volume_delta_5": 0.2}
    ranks = [
        weight * trailing_ranks(columns[name], series, RANKED, MIN_RANKED) for name, weight in weights.items()
    ]
    return ranks[0] + ranks[1] + ranks[2]


@compiled
def trailing_mean(x: Vector, run: Integers, n: int) -> Vector:
    """Mean of the last n values, NaN where the run does not reach. Summed anew per row: no drift along the series."""
    out = np.full(len(x), np.nan)
    for i in range(len(x)):
        if run[i] >= n - 1:
            out[i] = x[i - n + 1 : i + 1].mean()
    return out


@compiled
def trailing_ranks(x: Vector, series: Integers, n: int, least: int) -> Vector:
    """Percentile rank of each value among the last n of its series, itself included.

    Parameters
    ----------
    x : ndarray, shape (m,)
    series : ndarray of int64, shape (m,)
        How many rows of its series precede a row.
    n : int
        Rows to look back on.
    least : int
        Known values below which the rank is NaN.

    Returns
    -------
    ndarray, shape (m,)
        In (0, 1]; equal values share the mean of their ranks.
    """
    out = np.full(len(x), np.nan)
    for i in range(len(x)):
        less = equal = known = 0
        for j in range(i - min(series[i], n - 1), i + 1):
            known += x[j] == x[j]
            less += x[j] < x[i]
            equal += x[j] == x[i]
        if known >= least and equal > 0:
            out[i] = (less + (equal + 1) / 2) / known
    return out
