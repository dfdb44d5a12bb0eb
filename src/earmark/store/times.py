"""Times as users give them, as the store keeps them: int64 milliseconds since 1970 UTC.

A number above 1e10 counts milliseconds, one below seconds: 1e10 s is the year 2286, 1e10 ms is April 1970. Zero, NaN
and whatever is before 2020 is refused, because no venue that the store knows has such data and all of them are
mistakes. Recorded markets may be older: whoever imports one says so (`RECORDED_SINCE_MS`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, TypeAlias

from earmark.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DAY_MS", "EARLIEST_MS", "RECORDED_SINCE_MS", "Instant", "milliseconds", "range_ms", "utc_date"]

DAY_MS = 86_400_000
EARLIEST_MS = 1_577_836_800_000
"""2020-01-01T00:00:00Z."""

RECORDED_SINCE_MS = 315_532_800_000
"""1980-01-01T00:00:00Z: before it no market was recorded electronically; zero and its neighbours stay refused."""

_MILLISECONDS_ABOVE = 1e10

Instant: TypeAlias = date | datetime | str | int | float
"""A date (the whole UTC day), a datetime, ISO text of either, or a number by the rule above."""


def milliseconds(times: pl.Series, *, earliest_ms: int = EARLIEST_MS) -> pl.Series:
    """The times of a column in milliseconds, int64.

    Parameters
    ----------
    times : polars.Series
        Integers or floats by the rule of the module, or datetimes; those without a zone are UTC.
    earliest_ms : int
        What is before it is refused.

    Raises
    ------
    UsageError
        A value is missing, NaN, zero or too early; the first such row is named.
    """
    import polars as pl

    if times.dtype == pl.Datetime:
        ms = times.dt.epoch("ms")
    elif times.dtype.is_numeric():
        values = times.cast(pl.Float64)
        ms = (
            pl.select(pl.when(values > _MILLISECONDS_ABOVE).then(times).otherwise(values * 1000))
            .to_series()
            .cast(pl.Int64, strict=False)
        )
    else:
        raise UsageError(
            f"The column `{times.name}` holds {times.dtype}; expected times as numbers (s or ms since 1970 UTC) or "
            "datetimes. Convert it first."
        )
    wrong = (ms < earliest_ms).fill_null(True)
    if wrong.any():
        row = int(wrong.arg_max() or 0)
        raise UsageError(
            f"Row {row} of `{times.name}` is {times[row]!r}, which is no time since {utc_date(earliest_ms)} "
            f"({int(wrong.sum())} such rows). Expected s or ms since 1970 UTC. Correct or remove these rows."
        )
    return ms.alias(times.name)


def range_ms(start: Instant | None, end: Instant | None) -> tuple[int | None, int | None]:
    """First and last millisecond of an inclusive range; a date without a time is the whole UTC day."""
    first = None if start is None else _bounds(start)[0]
    last = None if end is None else _bounds(end)[1]
    if first is not None and last is not None and first > last:
        raise UsageError(
            f"The range starts at {start} and ends at {end}; expected the start first. Swap them."
        )
    return first, last


def utc_date(ms: int) -> str:
    """``YYYY-MM-DD`` of the UTC day that holds `ms`."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def _bounds(instant: Instant) -> tuple[int, int]:
    """First and last millisecond that `instant` stands for."""
    if isinstance(instant, str):
        instant = _parsed(instant)
    if isinstance(instant, datetime):
        aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
        at = round(aware.timestamp() * 1000)
        return at, at
    if isinstance(instant, date):
        at = round(datetime.combine(instant, time(), UTC).timestamp() * 1000)
        return at, at + DAY_MS - 1
    at = int(instant if instant > _MILLISECONDS_ABOVE else instant * 1000)
    return at, at


def _parsed(text: str) -> date | datetime:
    try:
        return date.fromisoformat(text) if len(text) <= len("YYYY-MM-DD") else datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"`{text}` is no date. Expected YYYY-MM-DD or an ISO time such as 2025-01-31T12:00:00Z, in UTC."
        ) from None
