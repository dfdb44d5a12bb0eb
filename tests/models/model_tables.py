"""Small labelled tables on which every estimator can be fitted in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np

QUICK: dict[str, dict[str, Any]] = {
    "xgboost": {"n_trees": 12, "max_depth": 3},
    "neural_network": {"layers": [16, 8], "epochs": 12, "learning_rate": 0.01},
    "ensemble": {
        "xgboost__n_trees": 12,
        "neural_network__layers": [16, 8],
        "neural_network__epochs": 12,
        "neural_network__learning_rate": 0.01,
    },
    "random_forest": {"n_trees": 10},
    "logistic": {},
    "ordinal": {},
    "residual_mlp": {"hidden": 16, "epochs": 12, "learning_rate": 0.01, "batch_size": 16},
    "ft_transformer": {"width": 16, "epochs": 12, "learning_rate": 0.01, "batch_size": 16, "blocks": 3},
    "hybrid": {"hidden": 16, "width": 8, "n_heads": 2, "epochs": 12, "learning_rate": 0.01, "batch_size": 16},
}
"""Parameters that make a fit quick, by estimator."""


def blobs(n: int = 60, d: int = 6, n_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `n_classes` overlapping clouds along a line: X float32 (n, d), y int (n,), classes in turn."""
    generator = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    X = generator.normal(size=(n, d)).astype(np.float32)
    X[:, :2] += 1.5 * y[:, None]
    return X, y
