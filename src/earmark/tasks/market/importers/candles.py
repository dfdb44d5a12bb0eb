"""One-minute candles of a source's own trades, or of its mids where it has no trades.

Bars are tables with the columns `time_ms` (start of the bar, milliseconds since 1970 UTC), `open`, `high`, `low`,
`close`, `volume`, `turnover`; a single trade is a bar of one price.
"""

from __future__ import annotations

import numpy as np
import polars as pl

__all__ = ["MAX_FILL_MINUTES", "MINUTE_MS", "minute_candles", "price_bars"]

MINUTE_MS = 60_000

MAX_FILL_MINUTES = 60
"""A venue writes a flat candle for a minute without trade; after so long a silence the market is taken as closed."""


def price_bars(time_ms: pl.Series, price: pl.Series, quantity: pl.Series | None = None) -> pl.DataFrame:
    """Bars of single prices; without quantities, as for mids, volume and turnover are 0."""
    size = pl.lit(0.0) if quantity is None else pl.col("quantity")
    columns = [time_ms.alias("time_ms"), price.alias("price")]
    table = pl.DataFrame(columns if quantity is None else [*columns, quantity.alias("quantity")])
    prices = [pl.col("price").alias(name) for name in ("open", "high", "low", "close")]
    return table.select("time_ms", *prices, size.alias("volume"), (size * pl.col("price")).alias("turnover"))


def minute_candles(bars: pl.DataFrame, end_ms: int) -> pl.DataFrame:
    """Closed candles of one symbol, ascending, with flat ones for minutes without trade.

    What comes later changes no candle: those up to any moment are the same if the source ends there.

    Parameters
    ----------
    bars : DataFrame
        In order of time; none longer than a minute or across its border.
    end_ms : int
        Up to where the source tells anything: a minute that ends later is not closed and left out.

    Returns
    -------
    DataFrame
        `start_ms`, `open`, `high`, `low`, `close`, `volume`, `turnover`.
    """
    minute = (pl.col("time_ms") // MINUTE_MS * MINUTE_MS).alias("start_ms")
    closed = bars.filter(minute + MINUTE_MS <= end_ms)
    candles = closed.group_by(minute, maintain_order=True).agg(
        pl.col("open").first(),
        pl.col("high").max(),
        pl.col("low").min(),
        pl.col("close").last(),
        pl.col("volume", "turnover").sum(),
    )
    return _with_flat_minutes(candles, end_ms // MINUTE_MS) if candles.height else candles


def _with_flat_minutes(candles: pl.DataFrame, end: int) -> pl.DataFrame:
    """Repeat each close in the minutes after it, up to the next candle or the minute `end`."""
    known = candles["start_ms"].to_numpy() // MINUTE_MS
    minutes = np.arange(known[0], end)
    before = np.searchsorted(known, minutes, side="right") - 1
    silence = minutes - known[before]
    kept = silence <= MAX_FILL_MINUTES
    filled: pl.DataFrame = candles[before[kept]].with_columns(
        pl.Series("start_ms", minutes[kept] * MINUTE_MS), pl.Series("is_flat", silence[kept] > 0)
    )
    prices = [
        pl.when("is_flat").then("close").otherwise(name).alias(name) for name in ("open", "high", "low")
    ]
    amounts = [pl.when("is_flat").then(0.0).otherwise(name).alias(name) for name in ("volume", "turnover")]
    return filled.with_columns(*prices, *amounts).drop("is_flat")
