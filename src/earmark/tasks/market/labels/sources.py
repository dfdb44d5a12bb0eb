"""Samples and paths of the price, read from the stores one symbol at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.orderbook.state import MAX_BOOK_AGE_MS
from earmark.store.raw import RawStore
from earmark.tasks.market.collect.raw_lob_files import window_files
from earmark.tasks.market.labels.series import PricePath, Samples

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable

__all__ = [
    "healthy_mid",
    "read_book_steps",
    "read_candles",
    "read_raw_lob",
    "read_samples",
    "read_track",
    "recorded_until",
    "samples_of",
]

CANDLE_MS = 60_000

OPTIONAL = {"spread": "spread", "atr": "atr_14", "sigma": "realized_volatility"}
"""Field of `Samples` -> column of the group, where the group has it."""


def read_samples(table: KeyedTable, symbol: str, start_ms: int | None, end_ms: int | None) -> Samples:
    """The samples of one symbol within a range, both ends included."""
    there = [name for name in OPTIONAL.values() if name in table.columns]
    columns = ["timestamp", "current_mid_price", *there]
    return samples_of(symbol, table.scan(start_ms, end_ms, [symbol], columns).collect())


def healthy_mid() -> pl.Expr:
    """Mid price of a row of ``book_steps``; NaN where a side is missing, the sides cross, or the book was stale."""
    import polars as pl

    bid, ask = pl.col("bid_price").list.first(), pl.col("ask_price").list.first()
    age_ms = pl.col("time_ms") - pl.col("event_ms")
    return pl.when((bid < ask) & (age_ms <= MAX_BOOK_AGE_MS)).then((bid + ask) / 2).otherwise(float("nan"))


def read_book_steps(raw: RawStore, symbol: str, start_ms: int | None, end_ms: int | None) -> Samples:
    """The ticks of the raw store as samples: time, mid price and spread; the price is NaN at an unhealthy book."""
    import polars as pl

    bid, ask = pl.col("bid_price").list.first(), pl.col("ask_price").list.first()
    ticks = raw.scan("book_steps", symbol, start_ms, end_ms)
    columns = ticks.select(timestamp="time_ms", current_mid_price=healthy_mid(), spread=ask - bid)
    return samples_of(symbol, columns.collect())


def read_raw_lob(folder: Path, symbol: str, start_ms: int | None, end_ms: int | None) -> Samples:
    """The states of ``raw_lob/<symbol>/date=.../*.parquet`` as samples: time, mid price and spread."""
    import polars as pl

    files = window_files(folder, symbol, start_ms, end_ms)
    names = ["timestamp", "mid_price", "spread"]
    if not files:
        return Samples(symbol, np.empty(0, np.int64), np.empty(0), spread=np.empty(0))
    frame = pl.scan_parquet(files, hive_partitioning=False, extra_columns="ignore").select(names)
    low = -(2**63) if start_ms is None else start_ms
    high = 2**63 - 1 if end_ms is None else end_ms
    frame = frame.filter(pl.col("timestamp").is_between(low, high)).unique("timestamp", keep="last")
    return samples_of(symbol, frame.sort("timestamp").rename({"mid_price": "current_mid_price"}).collect())


def samples_of(symbol: str, frame: pl.DataFrame) -> Samples:
    """Samples of a table with ``timestamp``, ``current_mid_price`` and what else a rule may need."""
    import polars as pl

    def column(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    optional = {field: column(name) for field, name in OPTIONAL.items() if name in frame.columns}
    return Samples(symbol, frame["timestamp"].to_numpy(), column("current_mid_price"), **optional)


def read_track(
    raw: RawStore, symbol: str, start_ms: int, end_ms: int, *, max_gap_ms: int, recorded_ms: int | None
) -> PricePath:
    """Mid prices of the price track; NaN where it has no two sides.

    Parameters
    ----------
    raw : RawStore
    symbol : str
    start_ms, end_ms : int
    max_gap_ms : int
        The track has a row at least this often while the book is healthy.
    recorded_ms : int or None
        Until when there is a track at all; see `recorded_until`.
    """
    import polars as pl

    is_quoted = (pl.col("bid") > 0) & (pl.col("ask") >= pl.col("bid"))
    mid = pl.when(is_quoted).then((pl.col("bid") + pl.col("ask")) / 2).otherwise(float("nan"))
    frame = raw.scan("bbo", symbol, start_ms, end_ms).select("time_ms", mid=mid).collect()
    return PricePath(
        symbol, frame["time_ms"].to_numpy(), frame["mid"].to_numpy(), max_gap_ms, end_ms=recorded_ms
    )


def read_candles(
    raw: RawStore, symbol: str, start_ms: int, end_ms: int, *, recorded_ms: int | None
) -> PricePath:
    """Closed one-minute candles as a path: extremes, and the close at the end of the minute."""

    frame = (
        raw.scan("candles", symbol, start_ms - CANDLE_MS, end_ms)
        .filter("is_closed")
        .unique("start_ms", keep="last", maintain_order=True)
        .sort("start_ms")
        .select("start_ms", "high", "low", "close")
        .collect()
    )
    opened = frame["start_ms"].to_numpy()
    return PricePath(
        symbol,
        opened + CANDLE_MS,
        frame["close"].to_numpy(),
        CANDLE_MS,
        high=frame["high"].to_numpy(),
        low=frame["low"].to_numpy(),
        opened_ms=opened,
        end_ms=None if recorded_ms is None else recorded_ms,
    )


def recorded_until(raw: RawStore, stream: str, symbol: str) -> int | None:
    """Time of the last row of ``bbo``, or end of the last closed candle; None where there is none."""
    import polars as pl

    name = "time_ms" if stream == "bbo" else "start_ms"
    for date in reversed(raw.dates(stream, symbol)):
        first = int(np.datetime64(date, "ms").astype(np.int64))
        rows = raw.scan(stream, symbol, first)
        rows = rows if stream == "bbo" else rows.filter("is_closed")
        last = rows.select(pl.col(name).max()).collect().item()
        if last is not None:
            return int(last) + (0 if stream == "bbo" else CANDLE_MS)
    return None
