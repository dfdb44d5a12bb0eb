"""Windows of the raw book: states of a few levels at a fixed distance, as models of book pictures read them.

::

    data/raw_lob/{SYM}/date=YYYY-MM-DD/{SYM}_{YYYYMMDD_HHMMSS}_{uuid}.parquet

A row is ``symbol, timestamp, mid_price, spread`` and, for each level i, ``bid_price_i, bid_volume_i, ask_price_i,
ask_volume_i``; a missing level is 0. Times are exchange milliseconds, files and days are named in UTC.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.orderbook.book import OrderBook
from earmark.store.atomic import write_atomic

__all__ = ["RawLobOptions", "RawLobWindows", "columns_of", "write_windows"]

SAVE_S = 300.0
_SLOW_STEP_S = 20.0
_BYTES_PER_STATE = 500
_EMERGENCY = 0.85


@dataclass(frozen=True)
class RawLobOptions:
    """Levels per side, least distance of two states, and when they are written."""

    levels: int = 20
    min_interval_ms: int = 5000
    ring: int = 100
    max_memory_mb: float = 150
    min_states: int = 10


class RawLobWindows:
    """States of every symbol that wait to be written.

    Attributes
    ----------
    counts : Counter
        ``collected``, ``saved``, ``duplicate``, ``interval``, ``adaptive``, ``files``, ``emergency_saves``,
        ``memory_warnings``.
    """

    def __init__(self, symbols: Sequence[str], options: RawLobOptions) -> None:
        self.options = options
        self.counts: Counter[str] = Counter()
        self._states: dict[str, list[npt.NDArray[np.float64]]] = {symbol: [] for symbol in symbols}
        self._last_ms = dict.fromkeys(symbols, -1)

    def take(self, book: OrderBook, step_s: float) -> bool:
        """Take the state of a healthy book, if one is due; whether its ring is full, so that it must be written."""
        if not book.is_healthy:
            return False
        reason = self._reason_against(book, step_s)
        if reason is not None:
            self.counts[reason] += 1
            return False
        self._last_ms[book.symbol] = book.event_ms
        states = self._states[book.symbol]
        states.append(_row(book, self.options.levels))
        self.counts["collected"] += 1
        return len(states) >= self.options.ring

    def due(self, *, at_end: bool = False) -> dict[str, list[npt.NDArray[np.float64]]]:
        """Remove and return the states that are worth a file; all of them at the end or when memory is short."""
        least = 1 if at_end or self._is_short_of_memory() else self.options.min_states
        taken = {}
        for symbol, states in self._states.items():
            if len(states) >= least:
                taken[symbol] = states
                self._states[symbol] = []
        return taken

    def _reason_against(self, book: OrderBook, step_s: float) -> str | None:
        if step_s > _SLOW_STEP_S:
            return "adaptive"
        if book.event_ms <= self._last_ms[book.symbol]:
            return "duplicate"
        if book.event_ms - self._last_ms[book.symbol] < self.options.min_interval_ms:
            return "interval"
        return None

    def _is_short_of_memory(self) -> bool:
        held = sum(map(len, self._states.values())) * _BYTES_PER_STATE
        is_short = held > _EMERGENCY * self.options.max_memory_mb * 1e6
        self.counts["memory_warnings"] += is_short
        self.counts["emergency_saves"] += is_short
        return is_short


def columns_of(levels: int) -> list[str]:
    """Names behind ``symbol, timestamp``, in order."""
    sides = ("bid_price", "bid_volume", "ask_price", "ask_volume")
    return ["mid_price", "spread", *(f"{side}_{level}" for level in range(levels) for side in sides)]


def write_windows(
    root: Path, states: Mapping[str, Sequence[npt.NDArray[np.float64]]], levels: int
) -> list[Path]:
    """Write states of symbols, a file per symbol and UTC day; the files."""
    return [
        _write_day(root, symbol, rows, levels)
        for symbol, of_symbol in states.items()
        for rows in _by_day(np.stack(of_symbol))
    ]


def _by_day(rows: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    days = rows[:, 0] // 86_400_000
    return [rows[days == day] for day in np.unique(days)]


def _write_day(root: Path, symbol: str, rows: npt.NDArray[np.float64], levels: int) -> Path:
    import io

    import polars as pl

    first = datetime.fromtimestamp(rows[0, 0] / 1000, UTC)
    columns: dict[str, Any] = {"symbol": [symbol] * len(rows), "timestamp": rows[:, 0].astype(np.int64)}
    columns.update(zip(columns_of(levels), rows[:, 1:].T, strict=True))
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer, compression="snappy")
    name = f"{symbol}_{first:%Y%m%d_%H%M%S}_{uuid.uuid4().hex[:12]}.parquet"
    path = root / symbol / f"date={first:%Y-%m-%d}" / name
    write_atomic(path, buffer.getvalue())
    return path


def _row(book: OrderBook, levels: int) -> npt.NDArray[np.float64]:
    """Time, mid, spread and the levels; shape (3 + 4 levels,)."""
    bids, asks = book.top(levels)
    picture = np.zeros((levels, 4))
    picture[: len(bids), :2] = bids
    picture[: len(asks), 2:] = asks
    bid, ask = bids[0, 0], asks[0, 0]
    return np.concatenate(([book.event_ms, (bid + ask) / 2, ask - bid], picture.ravel()))
