"""What keeps a table fast: files put together, and those that no version needs deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark.store import delta_log

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable

__all__ = ["compact", "vacuum"]


def compact(table: KeyedTable, first_ms: int | None, last_ms: int | None, *, min_files: int = 2) -> int:
    """Put the files of each symbol and day together where there are at least `min_files`.

    A day is one commit, so that memory holds the rows of one symbol and day, and writers wait for no more than one.

    Returns
    -------
    int
        Files replaced.
    """
    import polars as pl

    files = table.select_files(first_ms, last_ms)
    symbol = f"min.{table.key[0]}"
    many = files.filter(pl.len().over("date", symbol) >= max(2, min_files))
    for date in many["date"].unique(maintain_order=True):
        table._retrying(lambda date=date: _compact_day(table, str(date), max(2, min_files)))  # type: ignore[misc]
    return many.height


def _compact_day(table: KeyedTable, date: str, min_files: int) -> None:
    import polars as pl

    symbol = f"min.{table.key[0]}"
    files = table._readable(table.files().filter(pl.col("date") == date))
    files = files.filter(pl.len().over(symbol) >= min_files)
    if not files.height:
        return
    opened = table._writable()
    parts = [_merged(table, group, date) for _, group in files.group_by(symbol, maintain_order=True)]
    kept = {part.path for part in parts}
    table.storage.sync({f"date={date}"})
    removed = [(path, date) for path in files["path"] if path not in kept]
    delta_log.commit(opened, parts, removed=removed, rearranged=True, note="compact")


def _merged(table: KeyedTable, files: pl.DataFrame, date: str) -> delta_log.AddedFile:
    rows = table._lazy(files).unique(table.key, keep="last").sort(table.key).collect()
    return table._write_part(rows, date)


def vacuum(table: KeyedTable, *, retention_hours: float, dry_run: bool) -> list[str]:
    """Paths that were deleted, or would be.

    Files of somebody else that were not taken in are kept: while there are any, only files that were once part of the
    table go.
    """
    opened = table._writable()
    foreign = table.adopt()
    opened.update_incremental()
    deleted: list[str] = opened.vacuum(
        retention_hours=int(retention_hours),
        dry_run=dry_run,
        enforce_retention_duration=retention_hours >= 168,
        full=not foreign,
    )
    return deleted
