"""Rows of the raw book, symbol by symbol: prices and quantities of levels, as models of order books read them.

They come from one of two records, named like a group of the feature store:

``book_steps``
    The feature book of the raw store, at each tick of 3 s or at every k-th. Ticks without a healthy mid are left out,
    and a row behind a mark of a gap starts anew: no window reaches over either.
``raw_lob``
    The states below ``data/raw_lob``, at the distance that the collection was set to.

Columns are those of `earmark.models.sequence.levels`; a missing level is 0. The price of a row is its own mid.

Conventions: times are exchange milliseconds since 1970 UTC, ranges include both ends; prices are raw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from earmark.errors import SchemaError, UsageError
from earmark.models.sequence.levels import level_columns
from earmark.orderbook.state import FEATURE_LEVELS, STEP_MS
from earmark.store.times import DAY_MS
from earmark.tasks.market.collect.raw_lob_files import symbols_of, window_files
from earmark.tasks.market.labels.label import BOOK_STEPS, RAW_LOB
from earmark.tasks.market.labels.sources import healthy_mid

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.raw import RawStore

__all__ = ["LEVELS_VIEW", "LEVEL_SOURCES", "LevelRows", "check_level_options", "level_rows"]

LEVELS_VIEW = "levels"
"""Name of the view."""

LEVEL_SOURCES = (BOOK_STEPS, RAW_LOB)

_SIDES = {
    "bid_price": "bid_price",
    "bid_volume": "bid_quantity",
    "ask_price": "ask_price",
    "ask_volume": "ask_quantity",
}
"""Field of a level -> list of the raw store."""


class LevelRecord(Protocol):
    """One of the records: its symbols, and the states of one of them."""

    def symbols(self) -> list[str]:
        """All that it has."""

    def span_of(self, symbol: str) -> tuple[int, int] | None:
        """First and last time."""

    def states(self, symbol: str, start_ms: int | None, end_ms: int | None) -> pl.LazyFrame:
        """Key, ``current_mid_price``, ``starts_anew`` and levels, in order of time."""


def check_level_options(group: str, levels: int, every: int) -> None:
    """Refuse what a record does not have.

    Raises
    ------
    UsageError
    """
    if group not in LEVEL_SOURCES:
        raise UsageError(
            f"The view {LEVELS_VIEW} was asked for of the group `{group}`; levels are in "
            f"{' and '.join(LEVEL_SOURCES)}. Leave --feature-group out, or name one of these."
        )
    if not 1 <= levels <= FEATURE_LEVELS or every < 1:
        raise UsageError(
            f"{levels} levels and every {every}. step were asked for; expected 1 .. {FEATURE_LEVELS} levels and 1 or "
            "more steps. Correct --levels or --every."
        )
    if group == RAW_LOB and every != 1:
        raise UsageError(
            f"--every {every} counts steps of 3 s, and states of `{RAW_LOB}` lie apart as market.min_interval_ms says. "
            f"Leave it out, or use {BOOK_STEPS}."
        )


def level_rows(data: Path, group: str, symbols: tuple[str, ...], levels: int, every: int) -> LevelRows:
    """The rows of a data folder; parameters as in `LevelRows`, `group` one of `LEVEL_SOURCES`."""
    from earmark.store.raw import RawStore

    check_level_options(group, levels, every)
    names = level_columns(levels)
    if group == RAW_LOB:
        return LevelRows(_StateFiles(data / RAW_LOB, names), symbols)
    return LevelRows(_BookSteps(RawStore(data / "raw"), names, every), symbols)


class LevelRows:
    """States of the symbols of a record.

    Parameters
    ----------
    record : LevelRecord
    symbols : tuple of str
        Empty: all.
    """

    def __init__(self, record: LevelRecord, symbols: tuple[str, ...]) -> None:
        self.record = record
        there = record.symbols()
        self.symbols = [symbol for symbol in there if symbol in symbols] if symbols else there

    def span(self) -> tuple[int, int] | None:
        """First and last time; None without rows."""
        spans = [span for symbol in self.symbols if (span := self.record.span_of(symbol)) is not None]
        return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else None

    def counts(self, start_ms: int | None, end_ms: int) -> dict[str, int]:
        """Rows of each symbol that has any, by name."""
        import polars as pl

        found = {
            symbol: int(self.record.states(symbol, start_ms, end_ms).select(pl.len()).collect().item())
            for symbol in self.symbols
        }
        return {symbol: rows for symbol, rows in found.items() if rows}

    def portions(
        self, symbol: str, start_ms: int | None, end_ms: int, columns: Sequence[str]
    ) -> Iterator[pl.DataFrame]:
        """Rows of a symbol in order of time, a UTC day at once: key, `columns`, mid price and ``starts_anew``."""
        span = self.record.span_of(symbol)
        if span is None:
            return
        first, last = max(span[0], start_ms or span[0]), min(span[1], end_ms)
        for day in range(first // DAY_MS, last // DAY_MS + 1):
            bounds = max(first, day * DAY_MS), min(last, (day + 1) * DAY_MS - 1)
            states = self.record.states(symbol, *bounds)
            yield states.select("symbol", "timestamp", "current_mid_price", "starts_anew", *columns).collect()


class _BookSteps:
    """Every k-th tick of the raw store, counted from 1970 so that any range has the same ones."""

    def __init__(self, raw: RawStore, columns: Sequence[str], every: int) -> None:
        self._raw, self._columns, self._distance_ms = raw, tuple(columns), every * STEP_MS

    def symbols(self) -> list[str]:
        return [symbol for symbol in self._raw.symbols() if self._raw.dates(BOOK_STEPS, symbol)]

    def span_of(self, symbol: str) -> tuple[int, int] | None:
        return _span(self._raw.scan(BOOK_STEPS, symbol).select(timestamp="time_ms"))

    def states(self, symbol: str, start_ms: int | None, end_ms: int | None) -> pl.LazyFrame:
        """Marks of gaps at ticks that are left out count for the next one that is not."""
        import polars as pl

        # One distance more, so that the first row of a range knows what lies between it and the one before.
        begin = None if start_ms is None else start_ms - self._distance_ms
        gaps = pl.col("follows_gap").cast(pl.Int64).cum_sum()
        kept = (
            self._raw.scan(BOOK_STEPS, symbol, begin, end_ms)
            .with_columns(current_mid_price=healthy_mid(), gaps=gaps)
            .filter(pl.col("current_mid_price").is_not_nan() & (pl.col("time_ms") % self._distance_ms == 0))
        )
        states = kept.select(
            "symbol",
            "current_mid_price",
            *map(_level, self._columns),
            timestamp="time_ms",
            starts_anew=pl.col("gaps").diff().fill_null(0) > 0,
        )
        return states if start_ms is None else states.filter(pl.col("timestamp") >= start_ms)


class _StateFiles:
    """The states of ``data/raw_lob``."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        self._folder, self._columns = folder, tuple(columns)

    def symbols(self) -> list[str]:
        return symbols_of(self._folder)

    def span_of(self, symbol: str) -> tuple[int, int] | None:
        import polars as pl

        files = window_files(self._folder, symbol)
        return (
            _span(pl.scan_parquet(files, hive_partitioning=False, extra_columns="ignore")) if files else None
        )

    def states(self, symbol: str, start_ms: int | None, end_ms: int | None) -> pl.LazyFrame:
        import polars as pl

        names = ("symbol", "timestamp", "mid_price", *self._columns)
        files = window_files(self._folder, symbol, start_ms, end_ms)
        for path in files:
            self._require(path, names)
        if not files:
            types = {"symbol": pl.String, "timestamp": pl.Int64, "starts_anew": pl.Boolean}
            levels = dict.fromkeys(self._columns, pl.Float32)
            return pl.LazyFrame(schema={**types, "current_mid_price": pl.Float64, **levels})
        at, mid = pl.col("timestamp"), pl.col("mid_price")
        rows = pl.scan_parquet(files, hive_partitioning=False, extra_columns="ignore").select(names)
        rows = rows if start_ms is None else rows.filter(at >= start_ms)
        rows = rows if end_ms is None else rows.filter(at <= end_ms)
        return (
            rows.filter(mid.is_finite() & (mid > 0))
            .unique("timestamp", keep="last", maintain_order=True)
            .sort("timestamp")
            .with_columns(pl.col(self._columns).cast(pl.Float32), starts_anew=pl.lit(False))
            .rename({"mid_price": "current_mid_price"})
        )

    def _require(self, path: Path, names: Sequence[str]) -> None:
        import polars as pl

        there = pl.read_parquet_schema(path)
        missing = [name for name in names if name not in there]
        if missing:
            raise SchemaError(
                f"`{path}` lacks {len(missing)} columns of the raw book, first {missing[0]}; it was collected with "
                f"{sum(name.startswith('bid_price_') for name in there)} levels. Ask for so many by --levels."
            )


def _level(name: str) -> pl.Expr:
    """A column of a level out of the lists of the raw store."""
    import polars as pl

    field, _, level = name.rpartition("_")
    values = pl.col(_SIDES[field]).list.get(int(level), null_on_oob=True)
    return values.fill_null(0.0).cast(pl.Float32).alias(name)


def _span(rows: pl.LazyFrame) -> tuple[int, int] | None:
    import polars as pl

    first, last = rows.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).collect().row(0)
    return None if first is None else (int(first), int(last))
