"""Up against down of recorded equities, from their files to scores on a day that nothing was chosen on.

    python benchmarks/market_moves.py SOURCE [--symbols SPY,AIG] [--data FOLDER] [--json FILE]

SOURCE holds second bars of quotes and trades in the layout of LEAN (`earmark migrate market recording`). They pass
the collector's pipeline into a project folder (`--data`; default a temporary one), whose raw store and feature store
are read again here.

* Samples are the ticks of the feature clock, every 3 s of the regular hours (9:30 to 16:00 New York). Each day is a
  series of its own. Training on the set `quotes` uses every second.
* A move is any change of the mid between the tick and the horizon, on the price track; half a tick is the least there
  is. Scores are over moves: AUC of up against down, and macro-F1 of the two at even odds. `apart` is the AUC over
  ticks so far apart that no two labels overlap.
* `beyond 0.1 %` is the AUC over the moves that the default labels call up or down, where there are 30 of each.
* Intervals: 95 %, blocks of 60 steps (3 minutes) drawn with replacement.
* What a model learns, the sign at 3 or 10 s or that of the mean mid over the next 30 s, and whether the logistic
  regression learns from one symbol or both, is chosen per symbol and horizon by the mean AUC over two folds of the
  training days: the first day's last part by its first, and the second day by the first. Rows within 120 s before
  what they are scored on are left out. `chosen` is the best of all by these folds. Tables: the last day by the days
  before; and, to compare with figures of one day, the last 30 % of each day by its first 70 %, choosing within these.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from earmark.evaluation.block_bootstrap import time_blocks
from earmark.evaluation.domain_shift import source_auc
from earmark.evaluation.intervals import bootstrap_interval
from earmark.evaluation.metrics import macro_f1
from earmark.models.registry import make
from earmark.orderbook.catalog import FEATURE_NAMES, V2_NAMES
from earmark.orderbook.quote_features import QUOTE_NAMES, quote_features, quotes_at
from earmark.orderbook.state import GRACE_MS, STEP_MS
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.importers.sources import read_source
from earmark.tasks.market.importers.to_store import import_recordings
from earmark.tasks.market.labels.movement import on_track
from earmark.tasks.market.labels.series import PricePath, Samples
from earmark.tasks.market.labels.sources import read_track, recorded_until

HORIZONS_S = (10, 30, 60)
MEAN_S = 30
TARGETS = ("3", "10", "mean")
PURGE_MS = 120_000
MAX_STALENESS_MS = 1_000
MAX_QUOTE_AGE_S = 10
N_REPLICATES = 400
LARGE_MOVE = 0.001
LEAST_LARGE = 30
REFERENCE = {"SPY": (0.62, 0.57, 0.54), "AIG": (0.66, 0.59, 0.56)}
"""A random forest on a dozen plain features, on another division of these data."""

MODELS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: make("logistic", strength=0.01, max_iterations=200),
    "gbm": lambda: make(
        "xgboost",
        max_depth=2,
        min_child_weight=100.0,
        learning_rate=0.05,
        n_trees=120,
        subsample=0.5,
        colsample=0.5,
        n_threads=1,
    ),
}

Mask = np.ndarray


@dataclass(frozen=True, eq=False)
class Market:
    """Rows of one symbol, a second apart within each day; all arrays have n rows.

    `sets` are features by name, `movement` what the price did by target, `is_tick` where a sample was taken.
    """

    symbol: str
    time_ms: np.ndarray
    day: np.ndarray
    is_tick: np.ndarray
    sets: dict[str, np.ndarray]
    movement: dict[str, np.ndarray]

    @property
    def days(self) -> np.ndarray:
        """Days since 1970, ascending."""
        return np.unique(self.day)


@dataclass(frozen=True)
class Task:
    """Fit on some times, score on others, and choose within the former; each a predicate of a market."""

    name: str
    train: Callable[[Market], Mask]
    test: Callable[[Market], Mask]
    folds: tuple[tuple[Callable[[Market], Mask], Callable[[Market], Mask]], ...]


def main() -> int:
    """Import, learn, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--symbols", default="SPY,AIG")
    parser.add_argument("--data", type=Path, help="folder of the stores; filled if it is empty")
    parser.add_argument("--json", type=Path, help="write all rows there")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    arguments = parser.parse_args()
    symbols = arguments.symbols.split(",")
    with tempfile.TemporaryDirectory() as scratch:
        data = arguments.data or Path(scratch)
        if not (data / "raw").is_dir():
            import_recordings(read_source(arguments.source), data, symbols=symbols, interval=1)
        MARKETS.extend(read_market(data, symbol) for symbol in symbols)
    jobs = list(product(range(1 + len(MARKETS[0].days)), range(len(symbols))))
    with ProcessPoolExecutor(arguments.workers, get_context("fork")) as pool:
        rows = [row for found in pool.map(_scores_of, jobs) for row in found]
    large = [row for market in MARKETS for row in large_moves(market)]
    print_table(rows, large)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"scores": rows, "large_moves": large}, indent=2) + "\n", "utf-8"
        )
    return 0


MARKETS: list[Market] = []
"""Read once; the worker processes are forked with them."""


def _scores_of(job: tuple[int, int]) -> list[dict[str, Any]]:
    task, symbol = job
    return list(scores(list(tasks(MARKETS[0].days))[task], MARKETS, symbol))


def read_market(data: Path, symbol: str) -> Market:
    """All days of a symbol, from the stores."""
    raw, store = RawStore(data / "raw"), FeatureStore(data / "feature_store")
    quotes = raw.scan("bbo", symbol).unique("time_ms", keep="last", maintain_order=True).collect()
    trades = raw.scan("trades", symbol).collect()
    samples = [
        store.read_offline_features(group, symbols=[symbol], labels=None).with_columns(
            tick_ms=pl.col("recv_ns") // 10**6 - GRACE_MS
        )
        for group in ("training_features", "training_features_v2")
    ]
    parts = []
    ticks_ms = samples[0]["tick_ms"].to_numpy()
    track = read_track(
        raw,
        symbol,
        int(ticks_ms.min()) - STEP_MS,
        int(ticks_ms.max()) + PURGE_MS,
        max_gap_ms=MAX_STALENESS_MS,
        recorded_ms=recorded_until(raw, "bbo", symbol),
    )
    for day in np.unique(ticks_ms // 86_400_000):
        of_day = ticks_ms[ticks_ms // 86_400_000 == day]
        parts.append(
            _read_day(
                symbol, quotes, trades, samples, track, np.arange(of_day.min(), of_day.max() + 1, 1_000)
            )
        )
    joined = {
        name: {
            key: np.concatenate([getattr(part, name)[key] for part in parts])
            for key in getattr(parts[0], name)
        }
        for name in ("sets", "movement")
    }
    plain = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("time_ms", "day", "is_tick")
    }
    return Market(symbol, **plain, **joined)


def _read_day(
    symbol: str,
    quotes: pl.DataFrame,
    trades: pl.DataFrame,
    samples: list[pl.DataFrame],
    track: PricePath,
    seconds: np.ndarray,
) -> Market:
    columns = ["bid", "bid_quantity", "ask", "ask_quantity"]
    series = quotes_at(
        seconds,
        quotes["time_ms"].to_numpy(),
        quotes.select(columns).to_numpy(),
        trades["time_ms"].to_numpy(),
        trades["price"].to_numpy(),
    )
    tick = float(np.round(series.ask - series.bid, 6).min())  # of the market, the same every day
    quote_set = quote_features(series, tick=tick)
    quote_set[series.quote_age_s > MAX_QUOTE_AGE_S] = np.nan
    sets = {"quotes": quote_set, "imbalance": quote_set[:, :1]}
    grid = pl.DataFrame({"tick_ms": seconds})
    for name, table, names in zip(("v1", "v2"), samples, (FEATURE_NAMES, V2_NAMES), strict=True):
        rows = grid.join(table.unique("tick_ms"), on="tick_ms", how="left", maintain_order="left")
        sets[name] = rows.select(pl.col(names).cast(pl.Float32).fill_null(float("nan"))).to_numpy()
    at = Samples(symbol, seconds, series.mid)
    movement = {str(s): on_track(at, track, 1_000 * s).movement for s in (3, *HORIZONS_S)}
    movement["mean"] = _mean_ahead(series.mid) / series.mid - 1
    is_tick = np.isin(seconds, samples[0]["tick_ms"].to_numpy()) & np.isfinite(quote_set).all(axis=1)
    return Market(
        symbol, seconds, seconds // 86_400_000, is_tick, sets, {k: _moves(v) for k, v in movement.items()}
    )


def _mean_ahead(mid: np.ndarray) -> np.ndarray:
    total = np.concatenate([[0.0], np.cumsum(mid)])
    ahead = np.full(len(mid), np.nan)
    ahead[:-MEAN_S] = (total[MEAN_S + 1 :] - total[1:-MEAN_S]) / MEAN_S
    return ahead


def _moves(movement: np.ndarray) -> np.ndarray:
    """NaN where the mid stands where it stood, up to rounding: half a tick of any price here is above 1e-5."""
    return np.where(np.abs(movement) > 1e-9, movement, np.nan)


def tasks(days: np.ndarray) -> Iterator[Task]:
    """The last day by those before; then each day by itself."""
    *early, last = days.tolist()
    folds = [(_share(early[0], 0, 0.7, purged=True), _share(early[0], 0.7, 1))]
    folds += [(_days(early[:i]), _days([early[i]])) for i in range(1, len(early))]
    yield Task("last day", _days(early), _days([last]), tuple(folds))
    for day in days.tolist():
        fold = (_share(day, 0, 0.49, purged=True), _share(day, 0.49, 0.7, purged=True))
        yield Task(
            f"within {np.datetime64(day, 'D')}",
            _share(day, 0, 0.7, purged=True),
            _share(day, 0.7, 1),
            (fold,),
        )


def _days(days: list[int]) -> Callable[[Market], Mask]:
    return lambda market: np.isin(market.day, days)


def _share(day: int, start: float, end: float, *, purged: bool = False) -> Callable[[Market], Mask]:
    """A part of a day; with `purged` less what lies just before its end."""

    def mask(market: Market) -> Mask:
        times = market.time_ms[market.day == day]
        first, last = np.quantile(times, [start, end])
        stop = last - PURGE_MS if purged else last + (end == 1)
        return (market.day == day) & (market.time_ms >= first) & (market.time_ms < stop)

    return mask


def scores(task: Task, markets: list[Market], symbol: int) -> Iterator[dict[str, Any]]:
    """Rows of one task and symbol: at every horizon the baselines, every model, and the chosen one."""
    fits = [*task.folds, (task.train, task.test)]

    market = markets[symbol]

    @cache
    def asked(kind: str, target: str, pooled: bool, fit: int) -> np.ndarray:
        """Log odds of up at the rows that this fit is scored on."""
        return _asked(kind, target, fits[fit], markets if pooled else [market], market)

    def blended(kind: str, *rest: Any) -> np.ndarray:
        if not kind.startswith("blend"):
            return asked(kind, *rest)
        return (asked("logistic quotes", *rest) + asked("gbm quotes", *rest)) / 2

    kinds = ["logistic quotes", "gbm quotes", "blend quotes"]
    views = ["logistic v1", "logistic v2", "gbm v2"] if len(task.folds) > 1 else []
    options = [(kind, target, False) for kind in [*kinds, *views] for target in TARGETS]
    options += [("logistic quotes", target, True) for target in TARGETS if views]
    for horizon_s in HORIZONS_S:
        known = {key: _folds_auc(market, task, horizon_s, partial(blended, *key)) for key in options}
        best = {
            kind: max((k for k in known if k[0] == kind), key=known.__getitem__) for kind in [*kinds, *views]
        }
        yield from _baselines(task, market, horizon_s)
        for name, key in [*best.items(), ("chosen", max(known, key=known.__getitem__))]:
            shown = f"chosen: {key[0]}" if name == "chosen" else name
            what = {"target": key[1], "pooled": key[2], "folds": round(known[key], 3)}
            yield _row(task, market, horizon_s, shown, blended(*key, len(fits) - 1)) | what


def _asked(
    kind: str, target: str, fit: tuple[Any, Any], teachers: Iterable[Market], market: Market
) -> np.ndarray:
    model, name = kind.split()
    X, y = [], []
    for teacher in teachers:
        features, move = teacher.sets[name], teacher.movement[target]
        taken = fit[0](teacher) & np.isfinite(move)
        taken &= np.isfinite(features).all(axis=1) if name == "quotes" else teacher.is_tick
        X.append(features[taken])
        y.append(move[taken] > 0)
    scale = Scale.of(np.concatenate(X))
    fitted = MODELS[model]().fit(scale(np.concatenate(X)), np.concatenate(y).astype(np.int64), n_classes=2)
    asked = fitted.predict_proba(scale(market.sets[name][_scored(fit[1], market)]))
    return np.log(np.maximum(asked[:, 1], 1e-9)) - np.log(np.maximum(asked[:, 0], 1e-9))


@dataclass(frozen=True, eq=False)
class Scale:
    """Columns less their median, by their spread, of training rows alone; missing values stand at the median."""

    middle: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, X: np.ndarray) -> Scale:
        """Columns without a value or without spread become 0."""
        known = np.isfinite(X).any(axis=0)
        middle, spread = np.zeros(X.shape[1]), np.zeros(X.shape[1])
        middle[known] = np.nanmedian(X[:, known], axis=0)
        spread[known] = np.nanstd(X[:, known].astype(np.float64), axis=0)
        return cls(middle, spread)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        scaled = np.divide(X - self.middle, self.spread, out=np.zeros(X.shape), where=self.spread > 1e-12)
        return np.clip(np.nan_to_num(scaled), -5, 5).astype(np.float32)


def _scored(mask: Callable[[Market], Mask], market: Market) -> Mask:
    return mask(market) & market.is_tick


def _folds_auc(market: Market, task: Task, horizon_s: int, odds: Callable[[int], np.ndarray]) -> float:
    areas = []
    for fit, (_, scored) in enumerate(task.folds):
        move = market.movement[str(horizon_s)][_scored(scored, market)]
        is_move = np.isfinite(move)
        areas.append(float(source_auc((move[is_move] > 0).astype(np.int64), _two(odds(fit)[is_move]))))
    return float(np.mean(areas))


def _two(odds: np.ndarray) -> np.ndarray:
    up = 1 / (1 + np.exp(-odds))
    return np.stack([1 - up, up], axis=1)


def _baselines(task: Task, market: Market, horizon_s: int) -> Iterator[dict[str, Any]]:
    learned = market.movement[str(horizon_s)][task.train(market) & market.is_tick]
    ups = float(np.mean(learned[np.isfinite(learned)] > 0))
    rows = _scored(task.test, market)
    last = market.sets["quotes"][rows, QUOTE_NAMES.index("last_direction")]
    constant = np.ones(rows.sum())
    yield _row(task, market, horizon_s, "majority", constant * np.sign(ups - 0.5))
    yield _row(task, market, horizon_s, "prior", constant * np.log(ups / (1 - ups)))
    yield _row(task, market, horizon_s, "last direction", last)
    yield _row(task, market, horizon_s, "imbalance alone", market.sets["imbalance"][rows, 0])


def _row(task: Task, market: Market, horizon_s: int, name: str, odds: np.ndarray) -> dict[str, Any]:
    rows = _scored(task.test, market)
    move, times = market.movement[str(horizon_s)][rows], market.time_ms[rows]
    kept = np.isfinite(move)
    y, p, groups = (move[kept] > 0).astype(np.int64), _two(odds[kept]), time_blocks(times[kept], STEP_MS)
    apart = times[kept] % (-(-1_000 * horizon_s // STEP_MS) * STEP_MS) == 0
    area = bootstrap_interval(source_auc, y, p, groups, n_replicates=N_REPLICATES)
    f1 = bootstrap_interval(macro_f1, y, p, groups, n_replicates=N_REPLICATES)
    return {
        "task": task.name,
        "symbol": market.symbol,
        "horizon_s": horizon_s,
        "model": name,
        "moves": int(kept.sum()),
        "auc": [round(x, 3) for x in (area.value, area.low, area.high)],
        "apart": round(float(source_auc(y[apart], p[apart])), 3),
        "large": _large_auc(y, p, move[kept]),
        "macro_f1": [round(x, 3) for x in (f1.value, f1.low, f1.high)],
    }


def _large_auc(y: np.ndarray, p: np.ndarray, move: np.ndarray) -> float | None:
    """AUC over moves beyond 0.1 %; None where there are fewer than 30 up or down."""
    is_large = np.abs(move) > LARGE_MOVE
    fewest = np.bincount(y[is_large], minlength=2).min()
    return round(float(source_auc(y[is_large], p[is_large])), 3) if fewest >= LEAST_LARGE else None


def large_moves(market: Market) -> Iterator[dict[str, Any]]:
    """How many moves of the last day go beyond 0.1 %."""
    rows = _scored(_days([int(market.days[-1])]), market)
    for horizon_s in HORIZONS_S:
        move = market.movement[str(horizon_s)][rows]
        up, down = int((move > LARGE_MOVE).sum()), int((move < -LARGE_MOVE).sum())
        yield {
            "symbol": market.symbol,
            "horizon_s": horizon_s,
            "ticks": int(rows.sum()),
            "up": up,
            "down": down,
        }


def print_table(rows: list[dict[str, Any]], large: list[dict[str, Any]]) -> None:
    """Tables in markdown, one per task."""
    names = (
        "symbol",
        "s",
        "model",
        "learns",
        "moves",
        "AUC",
        "apart",
        "beyond 0.1 %",
        "macro-F1",
        "reference",
    )
    for task in dict.fromkeys(row["task"] for row in rows):
        _print_one(task, names, (_cells(row) for row in rows if row["task"] == task))
    names = ("symbol", "s", "ticks", "up", "down")
    _print_one("moves beyond 0.1 % on the last day", names, (row.values() for row in large))


def _print_one(title: str, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    print(f"\n### {title}\n")
    print("| " + " | ".join(names) + " |\n" + "|---" * len(tuple(names)) + "|")
    for row in rows:
        print("| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |")


def _cells(row: dict[str, Any]) -> Iterator[Any]:
    yield from (row["symbol"], row["horizon_s"], row["model"])
    yield f"{row['target']}{', both' if row['pooled'] else ''}" if "target" in row else None
    yield row["moves"]
    yield "{:.3f} [{:.3f}, {:.3f}]".format(*row["auc"])
    yield from (row["apart"], row["large"])
    yield "{:.3f} [{:.3f}, {:.3f}]".format(*row["macro_f1"])
    known = REFERENCE.get(row["symbol"])
    yield None if known is None else known[HORIZONS_S.index(row["horizon_s"])]


if __name__ == "__main__":
    raise SystemExit(main())
