"""What predictions would have earned, as a score of models; not a strategy and not advice.

A prediction UP (2) is a position of +1 from the row to the end of its horizon, DOWN (0) of -1, NEUTRAL (1) or an
abstention (-1) none. Its return is position x movement less `cost` of getting in and out again; prices are mid prices.
Predictions of one symbol whose horizons overlap are not held together: the first is held to its end and what comes
meanwhile is passed over. Symbols are weighted equally and their returns summed over each hour or day, empty ones
included, and the Sharpe ratio is that of these sums.

Conventions: movements and costs are fractions (0.001 is 0.1 %), times milliseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import UsageError
from earmark.evaluation.overfitting import sharpe_ratio

__all__ = ["ANNUALISATION", "Annualisation", "Trading", "non_overlapping", "positions", "score_positions"]

FloatArray = NDArray[np.float64]
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class Annualisation:
    """Over what returns are summed, and how many such periods make a year."""

    period_ms: int
    periods_per_year: int

    @property
    def factor(self) -> float:
        """By which a Sharpe ratio per period becomes one per year."""
        return float(np.sqrt(self.periods_per_year))


ANNUALISATION: Mapping[str, Annualisation] = MappingProxyType(
    {
        "hours_252": Annualisation(HOUR_MS, 252 * 24),
        "days_252": Annualisation(DAY_MS, 252),
        "hours_365": Annualisation(HOUR_MS, 365 * 24),
        "days_365": Annualisation(DAY_MS, 365),
    }
)
"""Years of 252 trading days, or of a market that never closes."""


@dataclass(frozen=True, eq=False)
class Trading:
    """What positions earned.

    Attributes
    ----------
    returns : ndarray, shape (n_periods,)
        Sum per hour or day, mean over symbols.
    sharpe : float
        Annualised; ``nan`` with fewer than two periods.
    total_return : float
        Sum of `returns`: positions of constant size, not compounded.
    n_positions : int
    hit_rate : float
        Share of positions with a return above 0 after cost; ``nan`` without positions.
    cost : float
        Of one position, in and out.
    annualisation : str
    """

    returns: FloatArray
    sharpe: float
    total_return: float
    n_positions: int
    hit_rate: float
    cost: float
    annualisation: str


def positions(classes: ArrayLike) -> NDArray[np.int64]:
    """+1 for UP, -1 for DOWN, 0 for NEUTRAL and for abstentions (-1), shape (n,)."""
    predicted = np.asarray(classes, dtype=np.int64)
    if predicted.size and (predicted.min() < -1 or predicted.max() > 2):
        raise UsageError(
            f"Predicted classes run from {predicted.min()} to {predicted.max()}; expected 0, 1 and 2, and -1 for an "
            "abstention. Convert the coding -1/0/1 first."
        )
    return np.where(predicted < 0, 0, predicted - 1)


def non_overlapping(
    time_ms: ArrayLike, end_ms: ArrayLike, symbol: ArrayLike, wanted: ArrayLike
) -> NDArray[np.bool_]:
    """Which of the `wanted` rows can be held one after the other, per symbol; the first always.

    Parameters
    ----------
    time_ms, end_ms : array of int, shape (n,)
        Where a position begins and ends.
    symbol : array, shape (n,)
    wanted : array of bool, shape (n,)
        Rows with a position.
    """
    times, ends, names = np.asarray(time_ms), np.asarray(end_ms), np.asarray(symbol)
    kept = np.zeros(len(times), dtype=bool)
    rows = np.flatnonzero(wanted)
    order = rows[np.lexsort((times[rows], names[rows]))]
    free_from: dict[object, int] = {}
    for row in order.tolist():
        if times[row] >= free_from.get(names[row], times[row]):
            kept[row] = True
            free_from[names[row]] = ends[row]
    return kept


def score_positions(
    classes: ArrayLike,
    movement: ArrayLike,
    time_ms: ArrayLike,
    end_ms: ArrayLike,
    symbol: ArrayLike,
    *,
    cost: float = 0.0,
    annualisation: str = "hours_365",
) -> Trading:
    """Score predictions by what they would have earned.

    Parameters
    ----------
    classes : array of int, shape (n,)
        Predictions; -1 is an abstention.
    movement : array, shape (n,)
        Change of the price over the horizon; finite where there is a position.
    time_ms, end_ms : array of int, shape (n,)
        The row and the end of its horizon.
    symbol : array, shape (n,)
    cost : float
        Of one position, in and out: two fees and the spread, say.
    annualisation : str
        A name of `ANNUALISATION`.
    """
    if annualisation not in ANNUALISATION:
        raise UsageError(
            f"`{annualisation}` is no annualisation; expected one of {', '.join(ANNUALISATION)}."
        )
    if cost < 0:
        raise UsageError(f"cost is {cost}; expected a fraction of 0 or more, such as 0.0011.")
    side = positions(classes)
    held = non_overlapping(time_ms, end_ms, symbol, side != 0)
    earned: FloatArray = side[held] * np.asarray(movement, dtype=np.float64)[held] - cost
    if not np.isfinite(earned).all():
        raise UsageError(
            f"{int((~np.isfinite(earned)).sum())} positions have an unknown movement; score only labelled rows."
        )
    year = ANNUALISATION[annualisation]
    returns = _summed(earned, np.asarray(time_ms), held, year.period_ms) / max(len(np.unique(symbol)), 1)
    hits = float(np.mean(earned > 0)) if len(earned) else float("nan")
    return Trading(
        returns,
        sharpe_ratio(returns) * year.factor,
        float(returns.sum()),
        len(earned),
        hits,
        cost,
        annualisation,
    )


def _summed(
    earned: FloatArray, times: NDArray[np.int64], held: NDArray[np.bool_], period_ms: int
) -> FloatArray:
    """Sum of what was earned in each period from the first row to the last, shape (n_periods,)."""
    if not len(times):
        return np.zeros(0)
    period = times // period_ms
    first = int(period.min())
    n_periods = int(period.max()) - first + 1
    return np.bincount(period[held] - first, weights=earned, minlength=n_periods).astype(np.float64)
