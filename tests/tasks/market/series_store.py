"""A small feature store with labels, for tests of datasets."""

import numpy as np
import polars as pl

from earmark.orderbook.catalog import FEATURE_NAMES, V2_NAMES
from earmark.store.label_sets import LabelSets
from earmark.store.offline import FeatureStore

START_MS = 1_750_000_000_000 // 30_000 * 30_000
INTERVAL_MS = 30_000
HOUR_MS = 3_600_000


def sample_rows(symbol, n, *, seed=0, origin="live", start_ms=START_MS):
    """Rows of a random walk; feature 1 is the row's number, the others noise."""
    rng = np.random.default_rng(seed)
    values = rng.exponential(size=(n, len(FEATURE_NAMES))).astype(np.float32)
    values[:, 0] = np.arange(n)
    mid = 100 * np.exp(np.cumsum(rng.standard_normal(n)) * 1e-3)
    return pl.DataFrame(
        {
            "symbol": [symbol] * n,
            "timestamp": start_ms + np.arange(n) * INTERVAL_MS,
            **{name: values[:, j] for j, name in enumerate(FEATURE_NAMES)},
            "current_mid_price": mid,
            "origin": [origin] * n,
        }
    )


def label_rows(rows, horizon_s=60):
    """Labels of rows from the rows themselves, a status for the tail."""
    ahead = horizon_s * 1000 // INTERVAL_MS
    mid = rows["current_mid_price"].to_numpy()
    movement = np.full(len(mid), np.nan)
    movement[:-ahead] = mid[ahead:] / mid[:-ahead] - 1
    known = np.isfinite(movement)
    direction = np.where(movement > 1e-3, 2, np.where(movement < -1e-3, 0, 1))
    return pl.DataFrame(
        {
            "symbol": rows["symbol"],
            "timestamp": rows["timestamp"],
            f"future_direction_{horizon_s}s": pl.Series(direction, dtype=pl.Int8),
            f"future_movement_{horizon_s}s": movement,
            f"label_status_{horizon_s}s": np.where(known, "ok", "horizon_not_reached"),
            f"label_lag_ms_{horizon_s}s": np.zeros(len(mid), np.int64),
            f"label_end_ms_{horizon_s}s": rows["timestamp"] + horizon_s * 1000,
        }
    ).with_columns(
        pl.when(pl.lit(pl.Series(known)))
        .then(pl.col(f"future_{name}_{horizon_s}s"))
        .alias(f"future_{name}_{horizon_s}s")
        for name in ("direction", "movement")
    )


def write_store(project, rows, *, labels=None, set_id="fixed-test"):
    """Write rows, the same rows as v2, and labels into the store of a project."""
    root = project / "data" / "feature_store"
    store = FeatureStore(root)
    store.write_offline_features("training_features", rows)
    noise = np.zeros((len(rows), len(V2_NAMES)), np.float32)
    v2 = pl.concat(
        [
            rows.select("symbol", "timestamp", "current_mid_price", "origin"),
            pl.from_numpy(noise, schema=list(V2_NAMES)),
        ],
        how="horizontal",
    )
    store.write_offline_features("training_features_v2", v2)
    if labels is None:
        labels = pl.concat([label_rows(part) for part in rows.partition_by("symbol", maintain_order=True)])
    LabelSets(root).write(set_id, labels, {"name": "fixed"})
