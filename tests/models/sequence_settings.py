"""Models small enough to be fitted in a test, and windows that each of them reads."""

from __future__ import annotations

from typing import Any

from window_tables import book_windows, windows

from earmark.data.windows import Windows
from earmark.models.sequence import registry
from earmark.models.sequence.base import SequenceEstimator

PLAIN = {
    "epochs": 12,
    "batch_size": 32,
    "accumulation": 1,
    "learning_rate": 5e-3,
    "dropout": 0.0,
    "noise": 0.0,
    "mixup_probability": 0.0,
    "loss": "ce",
    "schedule": "constant",
    "early_stopping_epochs": 0,
    "device": "cpu",
}
"""A trainer without anything that holds back: it should overfit."""

SIZES: dict[str, dict[str, Any]] = {
    "majority": {},
    "last_direction": {},
    "logistic": {"strength": 100.0},
    "gbm": {"n_trees": 40, "n_threads": 1},
    "hybrid_cnn_lstm": {"channels": (8, 16), "lstm_width": 8, "lstm_layers": 1, "n_heads": 2},
    "mpd": {"width": 32, "layers": 1, "n_heads": 2, "skip": 0.0},
    "tlob": {"levels": 4, "width": 32, "layers": 1, "n_heads": 2, "skip": 0.0},
    "deeplob": {"levels": 4, "channels": 8, "lstm_width": 8},
}

NETWORKS = ("hybrid_cnn_lstm", "mpd", "tlob", "deeplob")
LEARNING = ("logistic", "gbm", *NETWORKS)


def make(name: str, **params: Any) -> SequenceEstimator:
    trainer = PLAIN if name in NETWORKS else {}
    return registry.make(name, **(SIZES[name] | trainer | params))


def windows_for(name: str, **changes: Any) -> Windows:
    return book_windows(**changes) if registry.model_class(name).reads_levels else windows(**changes)
