"""Small tables of rows through time that the tests of sequence models fit on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from earmark.data.windows import SeriesTable, Windows, make_windows
from earmark.models.sequence.levels import level_columns

STEP_MS = 30_000
HORIZON_MS = 60_000


def series(
    n: int = 160, symbols: tuple[str, ...] = ("AUSDT", "BUSDT"), columns: int = 6, seed: int = 3
) -> SeriesTable:
    """Rows whose class is the sign of the first column (neutral near 0); prices follow the classes."""
    rng = np.random.default_rng(seed)
    names = ("imbalance_5", "volume", "rsi_14", *(f"extra_{i}" for i in range(columns - 3)))
    X = rng.normal(size=(n * len(symbols), columns)).astype(np.float32)
    y = np.digitize(X[:, 0], [-0.5, 0.5]).astype(np.int8)
    movement = ((y - 1) * 0.002 + rng.normal(0, 1e-4, len(y))).astype(np.float32)
    time = np.tile(1_700_000_000_000 + STEP_MS * np.arange(n), len(symbols))
    price = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, len(y))))
    symbol = np.repeat(np.arange(len(symbols)), n).astype(np.int32)
    return SeriesTable(
        symbols, symbol, time, X, names, y, movement, time + HORIZON_MS, price, interval_ms=STEP_MS
    )


def books(n: int = 120, levels: int = 4, seed: int = 5) -> SeriesTable:
    """Raw books of two symbols with very different prices; the class is the sign of the best level's imbalance."""
    table = series(n, columns=3, seed=seed)
    rng = np.random.default_rng(seed)
    tick = np.where(table.symbol == 0, 0.5, 1e-5)
    mid = np.where(table.symbol == 0, 30_000.0, 0.2) + tick * rng.integers(-50, 50, 2 * n)
    X = np.empty((2 * n, levels, 4), dtype=np.float64)
    for level in range(levels):
        X[:, level, 0] = mid - tick * (level + 0.5)
        X[:, level, 2] = mid + tick * (level + 0.5)
    X[..., 1::2] = rng.uniform(1, 10, (2 * n, levels, 2))
    lean = (table.y - 1) * 0.8
    X[:, 0, 1], X[:, 0, 3] = 5 * (1 + lean), 5 * (1 - lean)
    flat = X.reshape(2 * n, -1).astype(np.float32)
    return replace(table, X=flat, columns=level_columns(levels))


def windows(length: int = 8, **changes: object) -> Windows:
    return make_windows(series(**changes), length)  # type: ignore[arg-type]


def book_windows(length: int = 15, **changes: object) -> Windows:
    return make_windows(books(**changes), length)  # type: ignore[arg-type]
