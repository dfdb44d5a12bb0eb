"""Rows on their way into a table: times in ms, the table's columns and types, each key once, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark.errors import SchemaError, UsageError
from earmark.store.part_files import check_symbol
from earmark.store.times import EARLIEST_MS, milliseconds

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable

__all__ = ["DAY", "REPEATED", "prepared"]

DAY = "_day"
"""Added column: the UTC day of a row."""
REPEATED = "_repeated"
"""Added column: how many rows repeated a key, the same in every row."""


def prepared(table: KeyedTable, rows: pl.DataFrame, *, earliest_ms: int = EARLIEST_MS) -> pl.DataFrame:
    """`rows` as `table` stores them, with `DAY` and `REPEATED`; of rows with one key the last.

    Raises
    ------
    SchemaError, UsageError
    """
    import polars as pl

    at = table.time_column
    _check_keys(table, rows)
    rows = _fitted(table, rows.with_columns(milliseconds(rows[at], earliest_ms=earliest_ms).alias(at)))
    unique = rows.unique(table.key, keep="last", maintain_order=True).sort(table.key)
    if table.schema is not None:
        table.schema.validate_dataframe(unique, strict=False)
    day = pl.from_epoch(at, "ms").dt.strftime("%Y-%m-%d").alias(DAY)
    return unique.with_columns(day, pl.lit(rows.height - unique.height).alias(REPEATED))


def _check_keys(table: KeyedTable, rows: pl.DataFrame) -> None:
    for name in table.key:
        if name not in rows.columns:
            raise SchemaError(
                f"Schema validation failed: rows lack the key column `{name}`; expected {', '.join(table.key)}. Add it."
            )
    symbols = rows[table.key[0]].unique()
    if symbols.null_count():
        raise UsageError(f"`{table.key[0]}` is missing in a row; expected a name in each. Correct the rows.")
    for symbol in symbols:
        check_symbol(str(symbol))


def _fitted(table: KeyedTable, rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of the table in its order; those that may be missing are filled with nulls."""
    import polars as pl

    known = pl.selectors.float().fill_nan(None)  # what is missing is null, whoever wrote it
    expected = table.dtypes
    if not expected:
        return rows.with_columns(known)
    _check_columns(table, rows)
    try:
        return rows.select(
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in expected.items()
        ).with_columns(known)
    except pl.exceptions.PolarsError as error:
        raise SchemaError(
            f"Schema validation failed: {error}. Expected the types of the table at `{table.uri}`. Convert the rows."
        ) from error


def _check_columns(table: KeyedTable, rows: pl.DataFrame) -> None:
    expected = table.dtypes
    declared = () if table.schema is None else table.schema.columns
    optional = {column.name for column in declared if column.nullable or not column.required}
    unknown = [name for name in rows.columns if name not in expected]
    missing = [name for name in expected if name not in rows.columns and name not in optional]
    if unknown or missing:
        raise SchemaError(
            f"Schema validation failed: rows for `{table.uri}` lack {_listed(missing)} and have {_listed(unknown)} "
            f"beyond its {len(expected)} columns. Give them the columns of the table, or rename those named by "
            "index or prefix: earmark migrate market columns"
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return (", ".join(f"`{name}`" for name in names[:8]) or "nothing") + more
