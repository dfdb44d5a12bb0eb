"""What a store tells without being read: counts, spans, coverage of labels and gaps, from statistics of its files.

A page is looked at again and again, and a store of months is not read for it. The log of a table has rows and first
and last time of each file; the footers of label files have the number of unknown labels of each horizon. Files never
change, so what was once read of one is kept. `earmark.tasks.market.validation.checks` reads the rows themselves.

Times are ms since 1970 UTC, horizons seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from earmark.orderbook.state import MAX_GAP
from earmark.tasks.market.validation.readiness import Requirement, judge

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable
    from earmark.store.offline import FeatureStore

__all__ = ["Glance", "Strip", "coverage_strip", "gap_rows", "glance", "store_of", "symbol_rows"]

HOUR_MS = 3_600_000
N_LOOKED_INTO = 50
"""Newest files of which the times are read because rows are missing in them."""

_DIRECTION = "future_direction_"


@dataclass(frozen=True)
class Glance:
    """A group of the feature store, and whether it looks like enough to train on.

    Attributes
    ----------
    rows, n_files, n_bytes : int
    symbols : tuple of str
    days : int
    first_ms, last_ms : int or None
    version : int or None
        Of the table; None where nothing was written.
    label_set : str or None
    coverage : dict
        Horizon in s -> share of the rows whose label is known.
    schema_message : str
        What is wrong with the columns; empty where nothing is.
    requirements : tuple of Requirement
        Empty without rows.
    messages : tuple of str
        What is missing, each with the command that helps.
    """

    group: str
    rows: int
    symbols: tuple[str, ...]
    days: int
    n_files: int
    n_bytes: int
    first_ms: int | None
    last_ms: int | None
    version: int | None
    label_set: str | None
    coverage: dict[int, float]
    schema_message: str
    requirements: tuple[Requirement, ...]
    messages: tuple[str, ...]

    @property
    def has_minimum(self) -> bool:
        """Whether every minimum is reached as far as statistics tell."""
        return bool(self.requirements) and not self.messages


@dataclass(frozen=True)
class Strip:
    """Shares of known labels: a row per horizon, a value per day; None where the file does not say."""

    days: tuple[str, ...]
    shares: dict[int, tuple[float | None, ...]]


@lru_cache(maxsize=16)
def store_of(root: Path) -> FeatureStore:
    """The feature store of a folder, kept open: a newer version costs the commits since the last look."""
    from earmark.store.offline import FeatureStore
    from earmark.tasks.market.schema import market_store_schemas

    return FeatureStore(root, schemas=market_store_schemas())


def glance(store: FeatureStore, group: str, *, horizon_s: int = 60) -> Glance:
    """What statistics tell of a group.

    Parameters
    ----------
    store : FeatureStore
    group : str
        It need not exist.
    horizon_s : int
        The horizon that is trained on.
    """
    table = store.table(group)
    files = table.files()
    record = _label_record(store)
    rows = int(files["num_records"].sum())
    symbols = tuple(files[f"min.{table.key[0]}"].unique().sort()) if rows else ()
    first, last = _span(table, files)
    coverage = {} if record is None or not rows else _coverage(record, rows)
    schema_message = _schema_message(store, table) if rows else ""
    requirements, missing = _judged(table, rows, symbols, first, last, coverage, horizon_s)
    return Glance(
        group=group,
        rows=rows,
        symbols=symbols,
        days=files["date"].n_unique(),
        n_files=files.height,
        n_bytes=int(files["size_bytes"].sum()),
        first_ms=first,
        last_ms=last,
        version=table.version,
        label_set=None if record is None else str(record["id"]),
        coverage=coverage,
        schema_message=schema_message,
        requirements=requirements,
        messages=(*_absent(store, group, rows), *missing, *([schema_message] if schema_message else [])),
    )


def coverage_strip(store: FeatureStore, *, n_days: int = 90) -> Strip:
    """Coverage of the newest label set by day and horizon, the newest `n_days` days."""
    record = _label_record(store)
    if record is None:
        return Strip((), {})
    folder = store.label_sets.folder / str(record["id"])
    files = dict(sorted(record["versions"][-1]["files"].items())[-n_days:])
    known = {day: _known_shares(folder / entry["path"]) for day, entry in files.items()}
    horizons = sorted({horizon for shares in known.values() for horizon in shares})
    return Strip(
        tuple(known),
        {horizon: tuple(shares.get(horizon) for shares in known.values()) for horizon in horizons},
    )


def gap_rows(store: FeatureStore, group: str, *, limit: int = 100) -> list[dict[str, Any]]:
    """Gaps of a group, the newest first: ``symbol``, ``first_ms``, ``last_ms`` of the rows around it, ``seconds``.

    Files whose count says that rows are missing are looked into, the newest `N_LOOKED_INTO` of them.
    """
    table = store.table(group)
    files = table.files()
    usual = _usual_interval_ms(table, files)
    if usual is None:
        return []
    found = [*_between(table, files, usual), *_within(table, files, usual)]
    newest = sorted(found, key=lambda gap: (-gap[2], gap[0]))[:limit]
    return [
        {"symbol": symbol, "first_ms": first, "last_ms": last, "seconds": (last - first) / 1000}
        for symbol, first, last in newest
    ]


def symbol_rows(store: FeatureStore, group: str) -> list[dict[str, Any]]:
    """A row per symbol: ``symbol``, ``rows``, ``days``, ``first_ms``, ``last_ms``, ``bytes``, and ``complete``, the
    share of the rows that its span asks for (None where the interval of the rows is not known).
    """
    import polars as pl

    table = store.table(group)
    files, at = table.files(), table.time_column
    usual = _usual_interval_ms(table, files)
    found = files.group_by(pl.col(f"min.{table.key[0]}").alias("symbol")).agg(
        pl.col("num_records").sum().alias("rows"),
        pl.col("date").n_unique().alias("days"),
        pl.col(f"min.{at}").min().alias("first_ms"),
        pl.col(f"max.{at}").max().alias("last_ms"),
        pl.col("size_bytes").sum().alias("bytes"),
    )
    rows = found.sort("symbol").to_dicts()
    for row in rows:
        expected = None if usual is None else (row["last_ms"] - row["first_ms"]) / usual + 1
        row["complete"] = None if expected is None else min(1.0, row["rows"] / expected)
    return rows


def _label_record(store: FeatureStore) -> dict[str, Any] | None:
    """Record of the label set that is the default of training; None where nothing is labelled."""
    sets = store.label_sets
    if not any(sets.folder.glob("*/set.json")):
        return None
    return sets.record(sets.find("default"))


def _coverage(record: Mapping[str, Any], rows: int) -> dict[int, float]:
    """Of the rows of the group, those whose label is known; horizons that are counted in rows are left out."""
    known: dict[int, int] = {}
    for one in record["coverage"]:
        if one["horizon"].endswith("s"):
            horizon = int(one["horizon"].removesuffix("s"))
            known[horizon] = known.get(horizon, 0) + one["ok"]
    return {horizon: min(1.0, count / rows) for horizon, count in sorted(known.items())}


def _span(table: KeyedTable, files: pl.DataFrame) -> tuple[int | None, int | None]:
    if files.is_empty():
        return None, None
    at = table.time_column
    first: Any = files[f"min.{at}"].min()
    last: Any = files[f"max.{at}"].max()
    return int(first), int(last)


def _judged(
    table: KeyedTable,
    rows: int,
    symbols: Sequence[str],
    first: int | None,
    last: int | None,
    coverage: Mapping[int, float],
    horizon_s: int,
) -> tuple[tuple[Requirement, ...], tuple[str, ...]]:
    from earmark.tasks.market.schema import SCHEMA

    if first is None or last is None:
        return (), ()
    values = {
        "samples": rows,
        "features": len(set(SCHEMA.inputs) & set(table.columns)),
        "symbols": len(symbols),
        "period_h": round((last - first) / HOUR_MS, 2),
        "labels": coverage.get(horizon_s, 0.0),
    }
    return judge(values, horizon_s)


def _absent(store: FeatureStore, group: str, rows: int) -> tuple[str, ...]:
    if rows:
        return ()
    where = (
        f"the store `{store.root}` has no row in the group {group}"
        if store.root.is_dir()
        else f"the folder `{store.root}` does not exist"
    )
    return (f"No training data available: {where}. Run: earmark collect market",)


@lru_cache(maxsize=64)
def _schema_message(store: FeatureStore, table: KeyedTable) -> str:
    """Columns and types, which never change, against the schema; what is in the columns is not looked at."""
    import polars as pl

    from earmark.tasks.market.schema import GROUP

    schema = store.schemas.get(table.uri.rpartition("/")[2], store.schemas[GROUP])
    wrong = [one for one in schema.problems(pl.DataFrame(schema=table.dtypes)) if one.kind != "order"]
    if not wrong:
        return ""
    named = "; ".join(one.message for one in wrong)
    return f"Schema validation failed: {named}. Run: earmark migrate market columns"


@lru_cache(maxsize=4096)
def _known_shares(path: Path) -> dict[int, float | None]:
    """Horizon -> share of known labels of a file, from its footer."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    names = {metadata.schema.column(at).name: at for at in range(metadata.num_columns)}
    return {
        int(name.removeprefix(_DIRECTION).removesuffix("s")): _share(metadata, at)
        for name, at in names.items()
        if name.startswith(_DIRECTION) and name.endswith("s")
    }


def _share(metadata: Any, column: int) -> float | None:
    groups = [metadata.row_group(at).column(column).statistics for at in range(metadata.num_row_groups)]
    if any(one is None or not one.has_null_count for one in groups) or not metadata.num_rows:
        return None
    n_unknown = sum(int(one.null_count) for one in groups)
    return 1 - n_unknown / int(metadata.num_rows)


def _usual_interval_ms(table: KeyedTable, files: pl.DataFrame) -> float | None:
    """The median distance of the rows of the newest file that has some."""
    import polars as pl

    at = table.time_column
    newest = files.filter(pl.col("num_records") > 2).sort(f"max.{at}").tail(1)
    for one in newest.iter_rows(named=True):
        return _median_distance_ms(_times(table, one))
    return None


def _between(table: KeyedTable, files: pl.DataFrame, usual: float) -> Iterator[tuple[str, int, int]]:
    """Gaps from the last row of a file to the first of the next of its symbol."""
    import polars as pl

    name, at = (table.key[0], table.time_column)
    ordered = files.sort(f"min.{name}", f"min.{at}").select(
        pl.col(f"min.{name}").alias("symbol"),
        pl.col(f"max.{at}").shift(1).over(f"min.{name}").alias("before"),
        pl.col(f"min.{at}").alias("after"),
    )
    far = ordered.filter(pl.col("after") - pl.col("before") > MAX_GAP * usual)
    yield from far.iter_rows()


def _within(table: KeyedTable, files: pl.DataFrame, usual: float) -> Iterator[tuple[str, int, int]]:
    """Gaps inside files that have fewer rows than their span asks for."""
    import polars as pl

    at = table.time_column
    expected = ((pl.col(f"max.{at}") - pl.col(f"min.{at}")) / usual).round() + 1
    lacking = files.filter(expected - pl.col("num_records") >= 1).sort(f"max.{at}").tail(N_LOOKED_INTO)
    for one in lacking.iter_rows(named=True):
        times = _times(table, one)
        # A file of another time may have been collected at another interval: its own is what counts in it.
        reach = MAX_GAP * (_median_distance_ms(times) or usual)
        for first, last in pairwise(times):
            if last - first > reach:
                yield one[f"min.{table.key[0]}"], first, last


def _median_distance_ms(times: Sequence[int]) -> float | None:
    return median(last - first for first, last in pairwise(times)) if len(times) > 1 else None


def _times(table: KeyedTable, file: Mapping[str, Any]) -> tuple[int, ...]:
    """Times of the rows of a file."""
    at = table.time_column
    return _read_times(table, file["path"], file[f"min.{table.key[0]}"], file[f"min.{at}"], file[f"max.{at}"])


@lru_cache(maxsize=256)
def _read_times(table: KeyedTable, path: str, symbol: str, first_ms: int, last_ms: int) -> tuple[int, ...]:
    """Times of the rows of a symbol in a range; `path` stands for the content, which never changes."""
    rows = table.scan(first_ms, last_ms, [symbol], [table.time_column]).collect()
    return tuple(rows[table.time_column].unique().sort())
