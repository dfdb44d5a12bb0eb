"""Samples as a collector has them, and batches as earlier programs wrote them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

START = 1_735_689_570_000  # half a minute before 2025-01-01T00:00:00Z


def samples(n, start=START, step_ms=30_000, seed=0):
    rng = np.random.default_rng(seed)
    return [
        {
            "timestamp": start + i * step_ms,
            "current_mid_price": float(100 + rng.normal()),
            "current_imbalance": 0.5,
            "spread": 0.1,
            "signal_type": "HOLD",
            "signal_confidence": 0.4,
            "signal_strength": 0.2,
        }
        for i in range(n)
    ]


def features(n, width=112, seed=0):
    return np.random.default_rng(seed).random((n, width), np.float32)


def old_batch(root: Path, symbol: str, name: str, stubs, meta, array) -> None:
    """A batch by another hand than the writer's."""
    for part in ("features", "labels", "metadata"):
        (root / symbol / part).mkdir(parents=True, exist_ok=True)
    np.save(root / symbol / "features" / f"{name}.npy", array)
    (root / symbol / "labels" / f"{name}.json").write_text(json.dumps(stubs))
    info = {"symbol": symbol, "sample_count": len(meta)}
    (root / symbol / "metadata" / f"{name}.json").write_text(
        json.dumps({"batch_info": info, "samples": meta})
    )


def stub(timestamp=None, direction=None, movement=None):
    found = {f"future_{kind}_{h}": None for kind in ("direction", "movement") for h in ("10s", "30s", "60s")}
    found |= {"future_direction_60s": direction, "future_movement_60s": movement, "current_mid_price": 100.0}
    return found if timestamp is None else {**found, "timestamp": timestamp}
