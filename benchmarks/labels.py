"""What looking up future prices costs, in one run: against polars, and pandas and DuckDB where they are installed.

    python benchmarks/labels.py [--samples N] [--repeat N] [--json]

Samples of 3 symbols every 30 s, a price track of one row a second, 3 horizons. Each side is given its own kind of
table, in memory, sorted; times are the least of the rounds, and the sides take turns within a round. All results are
compared with each other before anything is printed. `labels` is the whole rule: movements, directions and statuses.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from earmark.tasks.market.labels.asof import last_at_or_before
from earmark.tasks.market.labels.barriers import first_barrier
from earmark.tasks.market.labels.rules import Fixed, TripleBarrier, label_samples
from earmark.tasks.market.labels.series import Horizon, PricePath, Samples

SYMBOLS = ("4USDT", "BTCUSDT", "ETHUSDT")
HORIZONS = (10, 30, 60)
STEP_MS = 30_000
TRACK_MS = 1_000
DAY_MS = 86_400_000


def main() -> int:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000, help="samples of all symbols")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    data = _data(arguments.samples)
    sides = _sides(data)
    found = {name: _in_order(side()) for name, side in sides.items()}  # warms up: compilation, page cache
    for name, prices in found.items():
        assert np.array_equal(prices, found["sorted look-up"]), f"{name} gives other prices"
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(arguments.repeat):
        for name, side in sides.items():
            best[name] = min(best[name], _seconds(side))
    rows = [
        {"side": name, "seconds": round(s, 3), "ratio": round(s / best["sorted look-up"], 2)}
        for name, s in best.items()
    ]
    rows += [
        {"side": name, "seconds": round(_seconds(job), 3), "ratio": None}
        for name, job in (
            ("labels, 3 horizons", lambda: _labels(data)),
            ("triple barrier, 24 min", lambda: _barriers(data)),
        )
    ]
    print(json.dumps(rows, indent=2) if arguments.json else pl.DataFrame(rows))
    return 0


def _data(n: int) -> list[tuple[Samples, PricePath]]:
    rng = np.random.default_rng(0)
    per_symbol = n // len(SYMBOLS)
    found = []
    for symbol in SYMBOLS:
        stamps = np.arange(per_symbol, dtype=np.int64) * STEP_MS + rng.integers(0, 500, per_symbol)
        times = np.arange(per_symbol * STEP_MS // TRACK_MS, dtype=np.int64) * TRACK_MS
        price = 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, len(times))))
        track = PricePath(symbol, times, price, 2 * TRACK_MS)
        own = price[last_at_or_before(times, stamps)]
        found.append((Samples(symbol, stamps, own, atr=np.full(per_symbol, 0.05)), track))
    return found


def _sides(data: list[tuple[Samples, PricePath]]) -> dict[str, Callable[[], Any]]:
    sides = {"sorted look-up": lambda: _look_up(data), "numpy searchsorted": lambda: _searchsorted(data)}
    queries = pl.concat(
        [
            pl.DataFrame({"symbol": s.symbol, "time_ms": s.time_ms + 1000 * horizon})
            for horizon in HORIZONS
            for s, _ in data
        ]
    )
    tracks = pl.concat(
        [pl.DataFrame({"symbol": p.symbol, "time_ms": p.time_ms, "price": p.price}) for _, p in data]
    )
    per_horizon = [
        queries.slice(i * len(queries) // 3, len(queries) // 3).sort("time_ms", maintain_order=True)
        for i in range(len(HORIZONS))
    ]
    by_time = tracks.sort("time_ms", maintain_order=True)
    sides["polars join_asof"] = lambda: _polars(per_horizon, by_time)
    sides |= _pandas_side(per_horizon, by_time) | _duckdb_side(per_horizon, by_time)
    return sides


def _look_up(data: list[tuple[Samples, PricePath]]) -> np.ndarray:
    return np.concatenate(
        [p.price[last_at_or_before(p.time_ms, s.time_ms + 1000 * h)] for h in HORIZONS for s, p in data]
    )


def _searchsorted(data: list[tuple[Samples, PricePath]]) -> np.ndarray:
    return np.concatenate(
        [
            p.price[np.searchsorted(p.time_ms, s.time_ms + 1000 * h, side="right") - 1]
            for h in HORIZONS
            for s, p in data
        ]
    )


def _polars(queries: list[pl.DataFrame], tracks: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        q.join_asof(tracks, on="time_ms", by="symbol", strategy="backward", check_sortedness=False)
        for q in queries
    ]


def _pandas_side(queries: list[pl.DataFrame], tracks: pl.DataFrame) -> dict[str, Callable[[], Any]]:
    try:
        import pandas as pd
    except ModuleNotFoundError:
        return {}
    left, right = [q.to_pandas() for q in queries], tracks.to_pandas()
    return {"pandas merge_asof": lambda: [pd.merge_asof(q, right, on="time_ms", by="symbol") for q in left]}


def _duckdb_side(queries: list[pl.DataFrame], tracks: pl.DataFrame) -> dict[str, Callable[[], Any]]:
    try:
        import duckdb
    except ModuleNotFoundError:
        return {}
    connection = duckdb.connect()
    connection.register("tracks", tracks.to_arrow())

    def join() -> list[pl.DataFrame]:
        joined = []
        for query in queries:
            connection.register("query", query.to_arrow())
            sql = "select q.symbol, q.time_ms, price from query q asof join tracks t on q.symbol = t.symbol"
            joined.append(connection.sql(f"{sql} and q.time_ms >= t.time_ms").pl())
        return joined

    return {"DuckDB asof join": join}


def _in_order(result: Any) -> np.ndarray:
    """Prices by horizon, symbol and time, of whatever kind a side gave."""
    if isinstance(result, np.ndarray):
        return result
    tables = [one if isinstance(one, pl.DataFrame) else pl.DataFrame(dict(one)) for one in result]
    return np.concatenate([one.sort("symbol", "time_ms")["price"].to_numpy() for one in tables])


def _labels(data: list[tuple[Samples, PricePath]]) -> Any:
    return [label_samples(Fixed(), s, Horizon(h), p) for s, p in data for h in HORIZONS]


def _barriers(data: list[tuple[Samples, PricePath]]) -> Any:
    """Day by day, as the command does."""
    rule, horizon = TripleBarrier(), Horizon(1440)
    for samples, path in data:
        for first in range(0, int(samples.time_ms[-1]), DAY_MS):
            rows = slice(*np.searchsorted(samples.time_ms, [first, first + DAY_MS]))
            near = slice(*np.searchsorted(path.time_ms, [first - 2_000, first + DAY_MS + horizon.ms]))
            day = Samples(samples.symbol, samples.time_ms[rows], samples.price[rows], atr=samples.atr[rows])
            part = PricePath(path.symbol, path.time_ms[near], path.price[near], path.max_gap_ms)
            first_barrier(day, part, rule.barriers(day, horizon))


def _seconds(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
