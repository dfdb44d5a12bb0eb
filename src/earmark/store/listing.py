"""Lists of a table's files and commits: which files can hold certain rows, and what a commit did.

A list has a row per file: ``path``, ``size_bytes``, ``num_records``, ``date``, and ``min.*`` and ``max.*`` of both
columns of the key, (symbol, time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

__all__ = ["commit_row", "file_columns", "holding", "is_ordered"]


def file_columns(key: tuple[str, ...]) -> dict[str, Any]:
    """Columns and types of an empty list."""
    import polars as pl

    symbol, at = key
    return {
        "path": pl.String,
        "size_bytes": pl.Int64,
        "num_records": pl.Int64,
        f"min.{symbol}": pl.String,
        f"min.{at}": pl.Int64,
        f"max.{symbol}": pl.String,
        f"max.{at}": pl.Int64,
        "date": pl.String,
    }


def holding(
    files: pl.DataFrame,
    key: tuple[str, ...],
    first_ms: int | None,
    last_ms: int | None,
    symbols: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Those of `files` that can hold rows of a range, both ends included, and of these symbols."""
    import polars as pl

    symbol, at = key
    condition = pl.lit(True)
    if first_ms is not None:
        condition &= pl.col(f"max.{at}") >= first_ms
    if last_ms is not None:
        condition &= pl.col(f"min.{at}") <= last_ms
    files = files.filter(condition)
    if symbols is None:
        return files
    names = pl.Series(sorted(set(symbols)), dtype=pl.String)
    low, high = files[f"min.{symbol}"], files[f"max.{symbol}"]
    return files.filter(names.search_sorted(high, "right") > names.search_sorted(low, "left"))


def is_ordered(files: pl.DataFrame, key: tuple[str, ...]) -> bool:
    """Whether files, one after another as they are listed, give rows in the order of the key."""
    symbol, at = key
    one = (
        files[f"min.{symbol}"].n_unique() == 1 and (files[f"max.{symbol}"] == files[f"min.{symbol}"][0]).all()
    )
    return one and bool((files[f"min.{at}"].slice(1) > files[f"max.{at}"].slice(0, files.height - 1)).all())


def commit_row(entry: Mapping[str, Any]) -> dict[str, Any]:
    ours = entry.get("earmark") or {}
    files = ours.get("files", [])
    return {
        "version": entry["version"],
        "time_ms": entry["timestamp"],
        "operation": ours.get("note") or entry["operation"].lower(),
        "batch": ours.get("batch"),
        "rows": sum(file["rows"] for file in files),
        "files": files,
    }
