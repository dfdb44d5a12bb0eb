"""A fit that another process kills: python fit_sequence.py CHECKPOINT, a line per epoch."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sequence_settings import make
from window_tables import windows

SETTINGS = {
    "epochs": 8,
    "dropout": 0.2,
    "noise": 0.05,
    "mixup_probability": 0.5,
    "accumulation": 2,
    "schedule": "cosine_warm_restarts",
    "restart_epochs": 3,
    "balance": "oversample",
    "loss": "focal_smoothing",
    "checkpoint_every": 2,
}
"""Everything that draws random numbers is on."""


def fit(checkpoint: Path | None, on_epoch=None):
    found = windows(n=50)
    early = found.table.time_ms[found.ends] < found.table.time_ms[35]
    model = make("hybrid_cnn_lstm", **SETTINGS)
    return model.fit(found.take(early), found.take(~early), checkpoint=checkpoint, on_epoch=on_epoch)


def slowly(entry) -> None:
    print(int(entry["epoch"]), flush=True)
    time.sleep(0.3)


if __name__ == "__main__":
    fit(Path(sys.argv[1]), slowly)
