"""A labelled dataset with groups and folds, and metrics with both directions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from earmark.data.dataset import Dataset
from earmark.training.folds import balanced_folds

CLASSES = ("YELLOW", "GREEN", "PURPLE")


def make_dataset(
    n: int = 60, d: int = 6, *, shift: float = 1.5, seed: int = 0, n_folds: int = 4, **changes: Any
) -> Dataset:
    """Rows in pairs of one group; classes differ by `shift` in the first two columns."""
    generator = np.random.default_rng(seed)
    y = (np.arange(n) // 2) % 3
    X = generator.normal(size=(n, d)).astype(np.float32)
    X[:, :2] += shift * y[:, None]
    groups = np.array([f"artist-{i // 2}" for i in range(n)])
    values: dict[str, Any] = {
        "ids": tuple(f"track-{i:03d}" for i in range(n)),
        "columns": tuple(f"zones.column_{i}" for i in range(d)),
        "X": X,
        "y": y,
        "classes": CLASSES,
        "groups": groups,
        "folds": balanced_folds(y, groups, n_folds, seed=1),
    }
    return Dataset(**(values | changes))


class Scored(NamedTuple):
    """A metric and its direction, as the evaluation room declares them."""

    function: Any
    direction: Any


def accuracy(y: np.ndarray, p: np.ndarray) -> float:
    return float(np.mean(p.argmax(axis=1) == y))


def log_loss(y: np.ndarray, p: np.ndarray) -> float:
    return float(-np.mean(np.log(np.maximum(p[np.arange(len(y)), y], 1e-9))))


METRICS = {"accuracy": Scored(accuracy, "higher"), "log_loss": Scored(log_loss, "lower")}

QUICK_NEURAL = {"layers": [16, 8], "epochs": 40, "early_stopping_epochs": 40}


def main(root: str, algorithm: str, pause_s: str) -> None:
    """Train in this process, slowly: what the kill tests start and kill."""
    import time

    from earmark.training.recipe import Recipe
    from earmark.training.train import train

    def slowly(event: dict[str, Any]) -> None:
        print(event["event"], event.get("stage", ""), event.get("epoch", ""), flush=True)
        time.sleep(float(pause_s) if event["event"] in ("epoch", "fold") else 0)

    params = QUICK_NEURAL if algorithm == "neural_network" else {"n_trees": 20}
    train(
        Recipe(algorithm, params=params), make_dataset(), root=Path(root), task="zones", metrics=METRICS,
        rank_by="accuracy", on_event=slowly,
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
