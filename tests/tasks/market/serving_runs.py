"""A project with stored samples, labels and a small trained run, for tests of what is done with a model."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from series_store import sample_rows, write_store

from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.train import train
from earmark.training.runs import Run

SYMBOLS = ("4USDT", "ETHUSDT")
LENGTH = 10


def trained_project(folder: Path, *, n: int = 1400, **settings: object) -> Run:
    """Two symbols of random rows, and a logistic regression on windows of ten rows, or what `settings` name."""
    rows = pl.concat([sample_rows(symbol, n, seed=seed) for seed, symbol in enumerate(SYMBOLS)])
    write_store(folder, rows)
    return train_run(folder, **settings)


def train_run(folder: Path, **settings: object) -> Run:
    """Another run in the same project."""
    asked = {
        "model_name": "logistic",
        "sequence_length": LENGTH,
        "label_set": "fixed-test",
        "export_onnx": False,
        "auto_promote": False,
    }
    return train(folder, train_config(asked | settings)).run
