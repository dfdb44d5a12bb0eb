"""Write the golden vectors of the market's features: ``python tests/golden/regenerate_market.py``.

Run it only when a definition changed on purpose, and say in the commit which and why. The session is generated from a
seed, so the numbers depend on nothing but the code and the libraries beneath it.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "orderbook"))

from market_session import make_session

from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.orderbook.lagged import lagged_and_derived
from earmark.orderbook.replay import replay
from earmark.orderbook.state import STEP_MS
from earmark.orderbook.views import VIEWS

GOLDEN = Path(__file__).with_name("market_features.json")

TICKS = (0, 8, 19, 59, 60, 129, 179)
"""Of 180: the first, short histories, before and after a gap at the 60th, full windows."""

LAGGED_TICK = 40
"""Ticks taken for samples in a row: the 20-sample mean is full, the gap is ahead."""


def golden_values() -> dict[str, dict[str, dict[str, float | None]]]:
    """Tick -> view -> column -> value, None where missing."""
    session = make_session(seed=2026, n_states=180, gap_at=60)
    replayed = replay(session.states, session.trades, session.candles, session.quotes)
    zeros = np.zeros(len(replayed.time_ms), np.int64)
    added = lagged_and_derived(replayed.features, zeros, replayed.time_ms, interval_ms=STEP_MS)
    values = {
        str(k): {
            "v1_112": named(FEATURE_NAMES, replayed.features[k]),
            "v2": named(VIEWS["v2"], replayed.v2[k]),
        }
        for k in TICKS
    }
    values[str(LAGGED_TICK)] = {"v1_187": named(VIEWS["v1_187"][len(FEATURE_NAMES) :], added[LAGGED_TICK])}
    return values


def named(names: tuple[str, ...], row: np.ndarray) -> dict[str, float | None]:
    """Values by name, with the digits that float32 has."""
    return {
        name: None if math.isnan(value) else float(f"{value:.8g}")
        for name, value in zip(names, row.tolist(), strict=True)
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden_values(), indent=1) + "\n", encoding="utf-8")
    print(f"wrote {GOLDEN}")
