"""What labels are made from and of: samples, the path of the price, and the outcome of each sample.

Conventions: one symbol at a time, times in ms since 1970 UTC and ascending, prices in quote currency, movements as
fractions (0.01 is one per cent). Directions are 0 down, 1 neutral, 2 up, and -1 where unknown: what is unknown has a
status that says why, and is never neutral.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.errors import InputError, UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "AMBIGUOUS",
    "BAD_PRICE",
    "DOWN",
    "GAP",
    "NEUTRAL",
    "NOT_REACHED",
    "OK",
    "STATUSES",
    "UNKNOWN",
    "UP",
    "Horizon",
    "Outcome",
    "PricePath",
    "Samples",
    "direction_of",
]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Int8 = npt.NDArray[np.int8]

DOWN, NEUTRAL, UP, UNKNOWN = 0, 1, 2, -1
STATUSES = ("ok", "gap", "horizon_not_reached", "bad_price", "ambiguous")
OK, GAP, NOT_REACHED, BAD_PRICE, AMBIGUOUS = range(len(STATUSES))


@dataclass(frozen=True, order=True)
class Horizon:
    """How far ahead: a number of seconds (``60s``), or of rows where a rule counts states (``60n``)."""

    length: int
    unit: str = "s"

    def __post_init__(self) -> None:
        if self.length < 1 or self.unit not in ("s", "n"):
            raise UsageError(
                f"A horizon of `{self.length}{self.unit}`; expected at least 1, in s or n (rows)."
            )

    def __str__(self) -> str:
        return f"{self.length}{self.unit}"

    @property
    def ms(self) -> int:
        """Length in milliseconds; only of a horizon in seconds."""
        if self.unit != "s":
            raise UsageError(f"The horizon {self} counts rows; it has no length in time.")
        return self.length * 1000


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of one symbol.

    Parameters
    ----------
    symbol : str
    time_ms : ndarray of int64, shape (n,)
        Strictly ascending.
    price : ndarray of float64, shape (n,)
        Mid price at the sample; not above zero where there is none.
    spread : ndarray of float64, shape (n,), optional
        Ask less bid, in quote currency.
    atr : ndarray of float64, shape (n,), optional
        Average true range of the last 14 closed candles (feature 102); NaN where unknown.
    sigma : ndarray of float64, shape (n,), optional
        Standard deviation of the last 20 candle returns (feature 64); NaN where unknown.
    """

    symbol: str
    time_ms: Int64
    price: Float64
    spread: Float64 | None = None
    atr: Float64 | None = None
    sigma: Float64 | None = None

    def __post_init__(self) -> None:
        _check_times(self.symbol, self.time_ms, strictly=True)

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def has_price(self) -> npt.NDArray[np.bool_]:
        """Where the price is a number above zero, shape (n,)."""
        return np.isfinite(self.price) & (self.price > 0)


@dataclass(frozen=True, eq=False)
class PricePath:
    """The price of one symbol through time, as far as it is on record.

    Parameters
    ----------
    symbol : str
    time_ms : ndarray of int64, shape (m,)
        Ascending; of equal times the last counts.
    price : ndarray of float64, shape (m,)
        At that time, and until the next row.
    max_gap_ms : int
        Two rows further apart have a gap between them: what the price did there is not known.
    high, low : ndarray of float64, shape (m,), optional
        Extremes between `opened_ms` and `time_ms`, where a row is a candle.
    opened_ms : ndarray of int64, shape (m,), optional
        Start of a row's own span, where a row is a candle.
    end_ms : int, optional
        Until when there is a record, where `time_ms` is only a part of it (default: its last row).
    """

    symbol: str
    time_ms: Int64
    price: Float64
    max_gap_ms: int
    high: Float64 | None = None
    low: Float64 | None = None
    opened_ms: Int64 | None = None
    end_ms: int | None = None

    def __post_init__(self) -> None:
        _check_times(self.symbol, self.time_ms, strictly=False)

    def __len__(self) -> int:
        return len(self.time_ms)

    @property
    def last_ms(self) -> int:
        """Until when the price is on record; the beginning of time where there is no row."""
        own = int(self.time_ms[-1]) if len(self) else np.iinfo(np.int64).min
        return own if self.end_ms is None else max(own, self.end_ms)


def _check_times(symbol: str, time_ms: Int64, *, strictly: bool) -> None:
    steps = np.diff(time_ms)
    wrong = np.flatnonzero(steps <= 0 if strictly else steps < 0)
    if len(wrong):
        raise InputError(
            f"{symbol}: the row at {time_ms[wrong[0] + 1]} ms follows one at {time_ms[wrong[0]]} ms; expected "
            "ascending times. Sort the rows, each once."
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of each sample within one horizon; all arrays have shape (n,).

    Parameters
    ----------
    direction : ndarray of int8
        Class, -1 where `status` is not ok.
    movement : ndarray of float64
        Relative change of the price, NaN where `status` is not ok.
    status : ndarray of int8
        Position in `STATUSES`.
    lag_ms : ndarray of int64
        Wanted instant less the time of the price that was used; negative where that came later, 0 where unknown.
    end_ms : ndarray of int64
        When the label was decided: data from then on are needed to know it. 0 where unknown.
    extra : mapping of str to ndarray
        Further columns, by name without the horizon.
    """

    direction: Int8
    movement: Float64
    status: Int8
    lag_ms: Int64
    end_ms: Int64
    extra: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)

    def columns(self, horizon: Horizon) -> dict[str, pl.Series]:
        """Columns of a label set, null where unknown: ``future_direction_60s`` and so on."""
        import polars as pl

        table = pl.DataFrame(
            {
                "future_direction": pl.Series(self.direction, dtype=pl.Int8),
                "future_movement": pl.Series(self.movement, dtype=pl.Float64),
                "label_lag_ms": pl.Series(self.lag_ms, dtype=pl.Int64),
                "label_end_ms": pl.Series(self.end_ms, dtype=pl.Int64),
                **{name: pl.Series(array) for name, array in self.extra.items()},
            }
        )
        status = pl.Series(self.status).replace_strict(
            list(range(len(STATUSES))), list(STATUSES), return_dtype=pl.String
        )
        known = table.select(
            pl.when(pl.lit(status == STATUSES[OK])).then(pl.all()).name.suffix(f"_{horizon}")
        )
        return {**known.to_dict(), f"label_status_{horizon}": status}


def direction_of(movement: Float64, threshold: float | Float64) -> Int8:
    """Class of each movement: up or down where it is larger than `threshold`, else neutral; -1 for NaN.

    Examples
    --------
    >>> direction_of(np.array([0.002, 0.001, -0.002, np.nan]), 0.001)
    array([ 2,  1,  0, -1], dtype=int8)
    """
    direction = np.full(movement.shape, NEUTRAL, np.int8)
    direction[movement > threshold] = UP
    direction[movement < -np.asarray(threshold)] = DOWN
    direction[np.isnan(movement) | np.isnan(threshold)] = UNKNOWN
    return direction
