"""Rows that `earmark store list` and `store show` print: groups, label sets, raw streams, files, versions, features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import InputError

if TYPE_CHECKING:
    from earmark.store.keyed import KeyedTable
    from earmark.store.offline import FeatureStore
    from earmark.store.times import Instant

__all__ = ["existing_table", "feature_rows", "file_rows", "list_store", "newest_rows", "version_rows"]

Row = dict[str, Any]


def list_store(store: FeatureStore, raw: Path) -> list[Row]:
    """A row for each group, label set and raw stream: kind, name, rows, symbols, days, first, last, version, bytes.

    Raises
    ------
    InputError
        There is nothing at all.
    """
    rows = [*_groups(store), *_label_sets(store), *_streams(raw)]
    if not rows:
        raise InputError(
            f"No training data available: `{store.root}` holds no group and `{raw}` no stream. Expected some. Run: "
            "earmark collect market"
        )
    return rows


def existing_table(store: FeatureStore, group: str) -> KeyedTable:
    """The table of a group that has been written.

    Raises
    ------
    InputError
    """
    table = store.table(group)
    table.adopt()
    if not table.exists:
        known = ", ".join(store.groups()) or "none"
        raise InputError(
            f"No training data available: the store `{store.root}` has no group {group}. Known: {known}. Run: "
            "earmark collect market"
        )
    return table


def feature_rows(store: FeatureStore) -> list[Row]:
    """The newest record of each feature."""
    wanted = ("name", "version", "type", "count", "min", "max", "mean", "std", "active", "description")
    found = [
        {name: getattr(record, name) for name in wanted}
        for record in store.registry.list_features(active_only=False)
    ]
    if not found:
        raise InputError(
            f"The registry of features in `{store.root / 'metadata'}` is empty. Expected what `collect` registers. "
            "Run: earmark collect market"
        )
    return found


def file_rows(
    store: FeatureStore, group: str, start: Instant | None, end: Instant | None, symbols: Sequence[str] | None
) -> list[Row]:
    """The files of a group that can hold rows of a range."""
    from earmark.store.times import range_ms

    table = existing_table(store, group)
    files = table.select_files(*range_ms(start, end), symbols)
    names = {
        "path": "path",
        "date": "date",
        "symbol": f"min.{table.key[0]}",
        "first": f"min.{table.time_column}",
        "last": f"max.{table.time_column}",
        "rows": "num_records",
        "bytes": "size_bytes",
    }
    return files.select(**names).to_dicts()


def version_rows(store: FeatureStore, group: str, limit: int) -> list[Row]:
    """The newest versions of a group."""
    versions = existing_table(store, group).versions(limit)
    return [{**row, "files": len(row["files"])} for row in versions]


def newest_rows(
    store: FeatureStore,
    group: str,
    start: Instant | None,
    end: Instant | None,
    symbols: Sequence[str] | None,
    columns: Sequence[str] | None,
    label_set: str,
    limit: int,
) -> list[Row]:
    """The last rows by time, of the joined view."""
    existing_table(store, group)
    found = store.read_offline_features(group, start, end, symbols=symbols, labels=label_set, as_="lazy")
    rows = found.sort("timestamp", "symbol").tail(limit)
    names = found.collect_schema().names() if columns is None else columns
    unknown = [name for name in names if name not in found.collect_schema().names()]
    if unknown:
        raise InputError(
            f"The group {group} has no column {', '.join(unknown)}. Expected names of its columns."
        )
    listed: list[Row] = rows.select(names).collect().to_dicts()
    return listed


def _groups(store: FeatureStore) -> Iterator[Row]:
    import polars as pl

    for name in store.groups():
        table = store.table(name)
        table.adopt()
        files = table.files()
        symbol, at = (f"{end}.{column}" for end, column in zip(("min", "min"), table.key, strict=True))
        last = files.select(pl.col(f"max.{table.time_column}").max()).item() if files.height else None
        yield _row(
            "features",
            name,
            rows=int(files["num_records"].sum()),
            symbols=files[symbol].n_unique(),
            days=files["date"].n_unique(),
            first=_iso(files[at].min()),
            last=_iso(last),
            version=table.version,
            size=int(files["size_bytes"].sum()),
        )


def _label_sets(store: FeatureStore) -> Iterator[Row]:
    import polars as pl

    for record in store.label_sets.list():
        name = record["id"]
        keys = store.label_sets.scan(name).select(
            pl.len().alias("rows"),
            pl.col("symbol").n_unique().alias("symbols"),
            (pl.col("timestamp") // 86_400_000).n_unique().alias("days"),
            pl.col("timestamp").min().alias("first"),
            pl.col("timestamp").max().alias("last"),
        )
        found = keys.collect().row(0, named=True)
        found |= {"first": _iso(found["first"]), "last": _iso(found["last"])}
        size = _bytes(store.root / "labels" / name)
        yield _row("labels", name, **found, version=len(record["versions"]), size=size)


def _streams(raw: Path) -> Iterator[Row]:
    from earmark.store.raw import STREAMS, RawStore

    store = RawStore(raw)
    for stream in STREAMS:
        dates = {symbol: store.dates(stream, symbol) for symbol in store.symbols()}
        dates = {symbol: days for symbol, days in dates.items() if days}
        if dates:
            days = sorted(set().union(*dates.values()))
            size = sum(_bytes(raw / symbol / stream) for symbol in dates)
            yield _row(
                "raw", stream, symbols=len(dates), days=len(days), first=days[0], last=days[-1], size=size
            )


def _row(
    kind: str,
    name: str,
    *,
    symbols: int,
    days: int,
    first: str | None,
    last: str | None,
    size: int,
    rows: int | None = None,
    version: int | None = None,
) -> Row:
    counts = {"rows": rows, "symbols": symbols, "days": days, "first": first, "last": last}
    return {"kind": kind, "name": name, **counts, "version": version, "bytes": size}


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def _iso(ms: Any) -> str | None:
    from datetime import UTC, datetime

    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
