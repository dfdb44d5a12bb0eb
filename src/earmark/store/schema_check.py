"""The checks of a `TableSchema`: each gives problems, none stops at the first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from earmark.store.schema import Column, Problem, TableSchema

if TYPE_CHECKING:
    import polars as pl

__all__ = ["problems"]


def problems(schema: TableSchema, table: pl.DataFrame, *, strict: bool) -> list[Problem]:
    """Everything that is wrong with `table`, presence first."""
    found = [
        *_presence(schema, table),
        *_dtypes(schema, table),
        *_nulls(schema, table),
        *_keys(schema, table),
    ]
    if strict:
        found += [*_unknown(schema, table), *_order(schema, table), *_ranges(schema, table)]
    return found


def _shared(schema: TableSchema, table: pl.DataFrame) -> list[Column]:
    return [column for column in schema.columns if column.name in table.columns]


def _presence(schema: TableSchema, table: pl.DataFrame) -> Iterator[Problem]:
    for column in schema.columns:
        if column.required and column.name not in table.columns:
            yield Problem("presence", column.name, f"`{column.name}` is missing")


def _unknown(schema: TableSchema, table: pl.DataFrame) -> Iterator[Problem]:
    for name in table.columns:
        if name not in schema.by_name:
            yield Problem("unknown", name, f"`{name}` is not part of the schema")


def _dtypes(schema: TableSchema, table: pl.DataFrame) -> Iterator[Problem]:
    for column in _shared(schema, table):
        found = table.schema[column.name]
        if found != column.polars_dtype:
            yield Problem("dtype", column.name, f"`{column.name}` is {found}, expected {column.dtype}")


def _nulls(schema: TableSchema, table: pl.DataFrame) -> Iterator[Problem]:
    import polars as pl

    shared = [column for column in _shared(schema, table) if not column.nullable]
    counts = table.select(
        pl.col(column.name).is_null().sum()
        + (pl.col(column.name).is_nan().sum() if table.schema[column.name].is_float() else 0)
        for column in shared
    )
    for column in shared:
        missing = counts[column.name].sum()
        if missing:
            yield Problem("null", column.name, f"`{column.name}` has {missing} nulls, expected none")


def _ranges(schema: TableSchema, table: pl.DataFrame) -> Iterator[Problem]:
    import polars as pl

    for column in _shared(schema, table):
        if not table.schema[column.name].is_numeric():
            continue
        values = pl.col(column.name)
        outside = values.is_infinite() if table.schema[column.name].is_float() else pl.lit(False)
        if column.low is not None:
            outside = outside | (values < column.low - _slack(column.low))
        if column.high is not None:
            outside = outside | (
                (values > column.high + _slack(column.high)) & _is_number(table, column.name)
            )
        count = table.select(outside.sum()).item() if table.height else 0
        if count:
            low, high = table.select(values.min(), values.max().alias("max")).row(0)
            text = f"`{column.name}` has {count} values outside {_interval(column)} (it spans {low:g} .. {high:g})"
            yield Problem("range", column.name, text)


def _slack(bound: float) -> float:
    """What rounding to float32 may add to a value at its bound."""
    return 1e-5 * max(1.0, abs(bound)) if bound else 1e-9


def _is_number(table: pl.DataFrame, name: str) -> pl.Expr:
    """NaN compares as the greatest value; it is a null here and counted as such."""
    import polars as pl

    return pl.col(name).is_not_nan() if table.schema[name].is_float() else pl.lit(True)


def _interval(column: Column) -> str:
    low = "-inf" if column.low is None else f"{column.low:g}"
    high = "inf" if column.high is None else f"{column.high:g}"
    return f"[{low}, {high}]"


def _order(schema: TableSchema, table: pl.DataFrame) -> Iterator[Problem]:
    expected = [name for name in schema.names if name in table.columns]
    found = [name for name in table.columns if name in schema.by_name]
    for there, wanted in zip(found, expected, strict=True):
        if there != wanted:
            yield Problem("order", there, f"`{there}` stands where `{wanted}` belongs")
            return


def _keys(schema: TableSchema, table: pl.DataFrame) -> Iterator[Problem]:
    import polars as pl

    if not table.height or any(name not in table.columns for name in schema.key):
        return
    duplicates = table.height - table.select(pl.struct(schema.key).n_unique()).item()
    if duplicates:
        yield Problem(
            "duplicate", schema.key[-1], f"{duplicates} rows repeat a key ({', '.join(schema.key)})"
        )
    time, entity = schema.key[-1], list(schema.key[:-1])
    back = pl.col(time).diff() < 0
    count = table.select((back.over(entity) if entity else back).sum()).item()
    if count:
        yield Problem("order", time, f"`{time}` goes back {count} times, expected ascending rows")
