"""A project with stored samples, labels and a small trained run, for tests of what is done with a model.

It is trained once per session, whichever module and worker of a parallel run asks first; every module has a copy of its
own, which it may change.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import polars as pl
from series_store import sample_rows, write_store

from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.train import train
from earmark.training.runs import Run

SYMBOLS = ("4USDT", "ETHUSDT")
LENGTH = 3
N_ROWS = 1000


def trained_project(factory, name: str) -> Path:
    """A copy of the project: two symbols of random rows, and a logistic regression on windows of three rows.

    Parameters
    ----------
    factory : pytest.TempPathFactory
    name : str
        Of the folder of the copy.
    """
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    whole = shared / "trained-market"
    with (shared / "trained-market.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.is_dir():
            partial = shared / "trained-market.partial"
            shutil.rmtree(partial, ignore_errors=True)
            _train(partial)
            partial.rename(whole)
    copy = factory.mktemp(name)
    return Path(shutil.copytree(whole, copy, dirs_exist_ok=True))


def _train(folder: Path) -> None:
    write_store(
        folder, pl.concat([sample_rows(symbol, N_ROWS, seed=seed) for seed, symbol in enumerate(SYMBOLS)])
    )
    train_run(folder)


def train_run(folder: Path, **settings: object) -> Run:
    """A run in the project, or what `settings` make of it."""
    asked = {
        "model_name": "logistic",
        "sequence_length": LENGTH,
        "label_set": "fixed-test",
        "export_onnx": False,
        "auto_promote": False,
    }
    return train(folder, train_config(asked | settings)).run
