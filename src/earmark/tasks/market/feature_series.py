"""Rows of a group of the feature store, symbol by symbol: the columns of a view, raw as they are stored.

Conventions: times are milliseconds since 1970 UTC, ranges include both ends.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from earmark.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable
    from earmark.store.schema import TableSchema

__all__ = ["FeatureRows"]

DERIVED_VIEW = "v1_187"


class FeatureRows:
    """Samples of a group.

    Parameters
    ----------
    table : KeyedTable
        The stored rows; those of `v2` lie in a group beside.
    view : str
    symbols : tuple of str
        Empty: all.
    interval_ms : int
    allow_mixed_origin : bool
        Whether rows that were recorded and rows that were migrated may stand in one series.
    """

    def __init__(
        self,
        table: KeyedTable,
        view: str,
        symbols: tuple[str, ...],
        interval_ms: int,
        *,
        allow_mixed_origin: bool,
    ) -> None:
        self.table, self.view, self.symbols, self.interval_ms = table, view, symbols, interval_ms
        self.allow_mixed_origin = allow_mixed_origin

    def span(self) -> tuple[int, int] | None:
        """First and last time; None without rows."""
        import polars as pl

        if not self.table.exists:
            return None
        rows = self.table.scan(symbols=self.symbols or None, columns=("timestamp",))
        first, last = rows.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).collect().row(0)
        return None if first is None else (int(first), int(last))

    def counts(self, start_ms: int | None, end_ms: int) -> dict[str, int]:
        """Rows of each symbol, by name; rows of one origin, unless more are allowed.

        Raises
        ------
        UsageError
            The rows are of different origins.
        """
        import polars as pl

        columns = ("symbol", "timestamp", "origin")
        rows = self.table.scan(start_ms, end_ms, symbols=self.symbols or None, columns=columns)
        counted = rows.group_by("symbol", "origin").len("rows").collect()
        origins = counted.group_by("origin").agg(pl.sum("rows")).sort("origin").rows()
        if len(origins) > 1 and not self.allow_mixed_origin:
            found = ", ".join(f"{rows} {origin or 'of unknown origin'}" for origin, rows in origins)
            raise UsageError(
                f"`{self.table.uri}` mixes rows of different origins ({found}); expected one. Features of earlier "
                "programs are not those of today: train on one origin, or pass --allow-mixed-origin."
            )
        return dict(counted.group_by("symbol").agg(pl.sum("rows")).sort("symbol").iter_rows())

    def portions(
        self, symbol: str, start_ms: int | None, end_ms: int, columns: Sequence[str]
    ) -> Iterator[pl.DataFrame]:
        """Rows of a symbol in order of time: key, `columns` and ``current_mid_price``.

        Raises
        ------
        SchemaError
            The rows are not those of the schema: the message names the columns.
        """
        stored = _stored_columns(self.view, columns)
        names = ("symbol", "timestamp", *stored, "current_mid_price")
        there = [name for name in names if name in self.table.dtypes]
        rows = self.table.scan(start_ms, end_ms, symbols=symbol, columns=there).collect()
        _schema(self.view, names).validate_dataframe(rows, strict=False)
        yield _with_derived(rows, self.interval_ms, columns) if self.view == DERIVED_VIEW else rows


def _schema(view: str, names: Sequence[str]) -> TableSchema:
    """The schema of the columns that are read, all of which have to be there."""
    from earmark.tasks.market.schema import SCHEMA, V2_SCHEMA

    whole = V2_SCHEMA if view == "v2" else SCHEMA
    columns = tuple(replace(whole.by_name[name], required=True) for name in names)
    return replace(whole, columns=columns, inputs=())


def _stored_columns(view: str, columns: Sequence[str]) -> tuple[str, ...]:
    """What is read of the store for `columns`: derived columns need the features that they are made of."""
    from earmark.orderbook.catalog import FEATURE_NAMES

    return FEATURE_NAMES if view == DERIVED_VIEW else tuple(columns)


def _with_derived(rows: pl.DataFrame, interval_ms: int, columns: Sequence[str]) -> pl.DataFrame:
    """Rows of one symbol with lags and derived columns, computed from rows of the range alone."""
    import polars as pl

    from earmark.orderbook.catalog import FEATURE_NAMES
    from earmark.orderbook.lagged import lagged_and_derived
    from earmark.orderbook.views import VIEWS

    features, one_symbol = rows.select(FEATURE_NAMES).to_numpy(order="c"), np.zeros(len(rows), np.int32)
    values = lagged_and_derived(features, one_symbol, rows["timestamp"].to_numpy(), interval_ms=interval_ms)
    names = VIEWS[DERIVED_VIEW][len(FEATURE_NAMES) :]
    derived = pl.from_numpy(values, schema=dict.fromkeys(names, pl.Float32))
    joined = pl.concat([rows, derived], how="horizontal")
    return joined.select("symbol", "timestamp", "current_mid_price", *columns)
