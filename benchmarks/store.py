"""Tables by date against what they are made of: plain Parquet files, and Delta Lake as it writes by itself.

One run prints, for the same rows, times and ratios of

* a micro-batch: one row of one symbol, appended, after the first and after many commits;
* one symbol-day read out of all rows;
* all rows of two columns of one symbol.

Rows are float32 features of `--columns` columns, 30 s apart, over `--symbols` symbols. Plain Parquet is one file per
symbol and day without key, log or check: what no table can be faster than.

    python benchmarks/store.py
    python benchmarks/store.py --rows 10000000 --symbols 50 --columns 8
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from deltalake import DeltaTable, write_deltalake

from earmark.store.keyed import KeyedTable

START_MS = 1_735_689_600_000
DAY_MS = 86_400_000


def rows_of(symbol: str, n: int, start_ms: int, columns: int) -> pl.DataFrame:
    """Seeded rows, 30 s apart."""
    rng = np.random.default_rng(start_ms // 1000)
    at = start_ms + 30_000 * np.arange(n, dtype=np.int64)
    values = {f"x{i}": rng.standard_normal(n, dtype=np.float32) for i in range(columns)}
    return pl.DataFrame({"symbol": [symbol] * n, "timestamp": at, **values})


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Median of some runs."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def dated(rows: pl.DataFrame) -> pl.DataFrame:
    """With the partition as a column, as Delta Lake's writer needs it."""
    return rows.with_columns(pl.from_epoch("timestamp", "ms").dt.strftime("%Y-%m-%d").alias("date"))


def fill(folder: Path, n_rows: int, symbols: list[str], columns: int) -> tuple[KeyedTable, Path, str]:
    """The three tables with the same rows, a day of all symbols at a time; the middle day is asked for."""
    table, plain, delta = KeyedTable(folder / "keyed"), folder / "plain", str(folder / "delta")
    per_day = 2880
    n_days = max(1, n_rows // (per_day * len(symbols)))
    spent = dict.fromkeys(("keyed", "plain", "delta"), 0.0)
    for day in range(n_days):
        rows = pl.concat([rows_of(s, per_day, START_MS + day * DAY_MS, columns) for s in symbols])
        partition = plain / f"date={day:05d}"
        partition.mkdir(parents=True)
        begin = time.perf_counter()
        for (symbol,), part in rows.group_by("symbol"):
            part.write_parquet(partition / f"{symbol}.parquet")
        spent["plain"] += time.perf_counter() - begin
        begin = time.perf_counter()
        write_deltalake(delta, dated(rows), mode="append", partition_by=["date"])
        spent["delta"] += time.perf_counter() - begin
        begin = time.perf_counter()
        table.append(rows)
        spent["keyed"] += time.perf_counter() - begin
    total = n_days * per_day * len(symbols)
    print(f"{total} rows, {len(symbols)} symbols, {n_days} days, {columns} columns")
    report("append a day of all symbols", {name: value / n_days for name, value in spent.items()})
    return table, plain, delta


def report(what: str, times: dict[str, float]) -> None:
    """One line: milliseconds of each, and the ratios of ours to the others."""
    shown = ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in times.items())
    ratios = ", ".join(
        f"{times['keyed'] / value:.2f} x {name}" for name, value in times.items() if name != "keyed"
    )
    print(f"{what}: {shown} ({ratios})")


def read(table: KeyedTable, plain: Path, delta: str, symbol: str, day: int) -> None:
    """Read one symbol-day, and two columns of a symbol."""
    low, high = START_MS + day * DAY_MS, START_MS + (day + 1) * DAY_MS - 1
    mine = pl.col("symbol") == symbol
    path = str(table.uri)
    report(
        "read one symbol-day",
        {
            "keyed": seconds(lambda: KeyedTable(path).scan(low, high, symbol).collect()),
            "plain": seconds(lambda: pl.read_parquet(plain / f"date={day:05d}" / f"{symbol}.parquet")),
            "delta": seconds(
                lambda: (
                    pl.scan_delta(delta).filter(mine & pl.col("timestamp").is_between(low, high)).collect()
                )
            ),
        },
    )
    columns = ["timestamp", "x0"]
    report(
        "read two columns of one symbol",
        {
            "keyed": seconds(lambda: KeyedTable(path).scan(symbols=symbol, columns=columns).collect()),
            "plain": seconds(
                lambda: pl.read_parquet(str(plain / "*" / f"{symbol}.parquet"), columns=columns)
            ),
            "delta": seconds(lambda: pl.scan_delta(delta).filter(mine).select(columns).collect()),
        },
    )


def micro_batches(folder: Path, commits: int, columns: int) -> None:
    """Append one row at a time: the first ten commits, and the last ten of many."""
    table, delta, plain = KeyedTable(folder / "micro"), str(folder / "micro-delta"), folder / "micro-plain"
    plain.mkdir()
    times: dict[str, list[float]] = {"keyed": [], "plain": [], "delta": []}
    for number in range(commits):
        row = rows_of("S0", 1, START_MS + 30_000 * number, columns)
        writers: dict[str, Callable[[], object]] = {
            "keyed": lambda row=row: table.append(row),  # type: ignore[misc]
            "plain": lambda row=row, n=number: row.write_parquet(plain / f"{n}.parquet"),  # type: ignore[misc]
            "delta": lambda row=row: write_deltalake(  # type: ignore[misc]
                delta, dated(row), mode="append", partition_by=["date"]
            ),
        }
        for name, writer in writers.items():
            times[name].append(seconds(writer, repeats=1))
    for what, chosen in (("first", slice(1, 11)), ("last", slice(-10, None))):
        report(
            f"micro-batch, {what} 10 of {commits}", {n: float(np.median(t[chosen])) for n, t in times.items()}
        )
    files = len(DeltaTable(delta).file_uris())
    print(f"files after {commits} micro-batches: keyed {table.files().height}, delta {files}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--symbols", type=int, default=10)
    parser.add_argument("--columns", type=int, default=112)
    parser.add_argument("--commits", type=int, default=300, help="Micro-batches; 0 leaves them out.")
    parser.add_argument(
        "--folder", type=Path, help="Where the tables are made (default: a temporary folder)."
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="store-", dir=options.folder))
    try:
        symbols = [f"S{i}" for i in range(options.symbols)]
        table, plain, delta = fill(folder, options.rows, symbols, options.columns)
        days = table.files()["date"].n_unique()
        read(table, plain, delta, symbols[len(symbols) // 2], days // 2)
        if options.commits:
            micro_batches(folder, options.commits, options.columns)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
