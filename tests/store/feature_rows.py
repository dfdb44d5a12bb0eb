"""Rows for tests of tables."""

from __future__ import annotations

import numpy as np
import polars as pl

START_MS = 1_735_689_600_000
"""2025-01-01T00:00:00Z."""
STEP_MS = 30_000


def feature_rows(
    symbol: str, n: int, *, start_ms: int = START_MS, step_ms: int = STEP_MS, columns: int = 2
) -> pl.DataFrame:
    """`n` rows of a symbol, `step_ms` apart; values are of the key, so that any row can be checked."""
    at = start_ms + step_ms * np.arange(n, dtype=np.int64)
    values = {f"x{i}": ((at // 1000 + i) % 9973).astype(np.float32) for i in range(columns)}
    return pl.DataFrame({"symbol": [symbol] * n, "timestamp": at, **values})
