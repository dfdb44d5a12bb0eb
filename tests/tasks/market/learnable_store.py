"""A feature store in which one column tells the direction, for tests of training."""

import numpy as np
import polars as pl
from series_store import START_MS, label_rows, sample_rows, write_store

from earmark.orderbook.catalog import FEATURE_NAMES

SIGNAL = FEATURE_NAMES[20]


def learnable_project(folder, n=1200, symbols=("ETHUSDT", "4USDT"), *, start_ms=START_MS):
    """Write rows whose column `SIGNAL` is -1, 0 or 1 as the label is down, neutral or up."""
    rows = pl.concat([signalled(symbol, n, seed, start_ms) for seed, symbol in enumerate(symbols)])
    write_store(folder, rows)
    return folder


def signalled(symbol, n, seed, start_ms=START_MS):
    """Rows of a symbol with the signal; where the label is not known yet it is 0."""
    rows = sample_rows(symbol, n, seed=seed, start_ms=start_ms)
    direction = label_rows(rows)["future_direction_60s"].fill_null(1).to_numpy()
    noise = 0.1 * np.random.default_rng(seed).standard_normal(n)
    return rows.with_columns(pl.Series(SIGNAL, (direction - 1 + noise).astype(np.float32)))


QUICK = {
    "preset": "quick_experiment",
    "model_name": "hybrid_cnn_lstm",
    "epochs": 3,
    "batch_size": 32,
    "sequence_length": 10,
    "dropout": 0.1,
    "trainer_config": {"accumulation": 1},
    "data_config": {"stride": 2},
    "export_onnx": False,
}
"""Settings of a training that takes a second or two."""
