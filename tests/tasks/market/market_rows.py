"""Rows of the schema `market/1` for tests, with labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from earmark.store.label_sets import LabelSets
from earmark.store.offline import FeatureStore
from earmark.tasks.market.schema import GROUP, SCHEMA, market_store_schemas

START_MS = 1_735_689_600_000


def market_rows(symbol: str, n: int, *, seed: int = 0, start_ms: int = START_MS) -> pl.DataFrame:
    """`n` rows, 30 s apart; every value lies in the range of its column."""
    rng = np.random.default_rng(seed)
    at = start_ms + 30_000 * np.arange(n, dtype=np.int64)
    columns: dict[str, object] = {"symbol": [symbol] * n, "timestamp": at}
    for name in SCHEMA.inputs:
        column = SCHEMA.by_name[name]
        low = 0.0 if column.low is None else column.low
        high = low + 1 if column.high is None else column.high
        columns[name] = rng.uniform(low, high, n).astype(np.float32)
    extra = {
        "current_mid_price": rng.uniform(1, 2, n),
        "recv_ns": (at + 40) * 1_000_000,
        "origin": ["live"] * n,
    }
    return pl.DataFrame({**columns, **extra})


def labels_of(rows: pl.DataFrame, *, known: float = 1.0, seed: int = 0) -> pl.DataFrame:
    """Directions that follow `imbalance_5`, so that one feature tells of them; the share `known` of them is known."""
    rng = np.random.default_rng(seed)
    values = np.digitize(rows["imbalance_5"].to_numpy(), [-1 / 3, 1 / 3]).astype(np.int8)
    there = pl.Series(rng.random(rows.height) < known)
    return rows.select("symbol", "timestamp").with_columns(
        pl.when(there).then(pl.lit("ok")).otherwise(pl.lit("gap")).alias("label_status_60s"),
        pl.when(there).then(pl.Series(values)).otherwise(None).alias("future_direction_60s"),
        pl.when(there).then(pl.Series((values - 1.0) / 100)).otherwise(None).alias("future_movement_60s"),
    )


def market_store(root: Path, rows: pl.DataFrame, labels: pl.DataFrame | None = None) -> FeatureStore:
    """A store with these rows, in the place where a project has it."""
    store = FeatureStore(root / "data" / "feature_store", schemas=market_store_schemas())
    store.write_offline_features(GROUP, rows)
    if labels is not None:
        LabelSets(store.root).write("fixed-1", labels, {"name": "fixed"})
    return store
