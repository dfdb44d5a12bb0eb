"""Sets of defaults of a training, by name: what differs from the declared defaults (`config.TrainConfig`).

``cli`` is that of the command, ``page`` that of the page and of ``POST /train``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["PRESETS"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "cli": {"epochs": 50, "batch_size": 64, "learning_rate": 1e-3},
    "page": {"focal_gamma": 2.5, "use_oversampling": False, "oversample_ratio": 0.5},
    "production_small": {"batch_size": 64, "learning_rate": 1e-4},
    "production_large": {
        "epochs": 200,
        "batch_size": 64,
        "early_stopping_patience": 30,
        "ml_model_config": {"preset": "large"},
    },
    "quick_experiment": {
        "epochs": 5,
        "learning_rate": 1e-3,
        "early_stopping_patience": 3,
        "auto_promote": False,
        "ml_model_config": {"preset": "tiny"},
    },
}
