"""States of the raw book that a collector takes: a few levels at a fixed distance, for models of order books.

What waits for the disk is bounded: a ring per symbol, and memory over all. States that could not be written come back
before the newer ones (`RawLobWindows.put_back`); none is dropped before the collector ends (`RawLobWindows.give_up`).
Times are exchange milliseconds; files as in `raw_lob_files`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.orderbook.book import OrderBook
from earmark.tasks.market.collect.raw_lob_files import remove_expired, write_windows

if TYPE_CHECKING:
    from earmark.tasks.market.settings import MarketSettings

__all__ = ["RawLobOptions", "RawLobWindows"]

States = Mapping[str, Sequence[npt.NDArray[np.float64]]]

SAVE_S = 300.0
_SLOW_STEP_S = 20.0
_BYTES_PER_STATE = 500
_EMERGENCY = 0.85


@dataclass(frozen=True)
class RawLobOptions:
    """Levels per side, least distance of two states, when they are written, and for how long they are kept.

    `ring` counts states of a symbol, `max_memory_mb` is for all symbols, and without `keep_days` nothing is removed.
    """

    levels: int = 20
    min_interval_ms: int = 5000
    ring: int = 100
    max_memory_mb: float = 150
    min_states: int = 10
    keep_days: float | None = None

    @classmethod
    def of(cls, market: MarketSettings) -> RawLobOptions:
        """Those of the settings."""
        return cls(
            market.levels,
            market.min_interval_ms,
            market.raw_lob_ring,
            market.raw_lob_memory_mb,
            keep_days=market.raw_lob_keep_days,
        )


class RawLobWindows:
    """States of every symbol that wait to be written.

    Attributes
    ----------
    counts : Counter
        ``collected``, ``saved``, ``duplicate``, ``interval``, ``adaptive``, ``files``, ``emergency_saves``,
        ``memory_warnings``, ``put_back``, ``lost``, ``expired_files``.
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

    def save(self, root: Path, states: States, now_ms: int) -> int:
        """Write what `due` gave, and remove what has been kept long enough; how many files were written.

        For a thread of its own; `now_ms` is the time of the market. Symbols go one after another: what an error leaves
        unwritten is put back, so that the next attempt has it, in order.
        """
        left, n_files = dict(states), 0
        try:
            for symbol, of_symbol in states.items():
                n_files += len(write_windows(root, {symbol: of_symbol}, self.options.levels))
                self.counts["saved"] += len(left.pop(symbol))
        finally:
            self.counts["files"] += n_files
            self.put_back(left)
        if self.options.keep_days is not None:
            self.counts["expired_files"] += remove_expired(root, self.options.keep_days, now_ms)
        return n_files

    def put_back(self, states: States) -> None:
        """Take back states that could not be written, before those that came since."""
        for symbol, of_symbol in states.items():
            self._states[symbol][:0] = of_symbol
            self.counts["put_back"] += len(of_symbol)

    def give_up(self) -> int:
        """Count what waits as lost, for no more attempt comes; how many states."""
        n_lost = sum(map(len, self._states.values()))
        self.counts["lost"] += n_lost
        return n_lost

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


def _row(book: OrderBook, levels: int) -> npt.NDArray[np.float64]:
    """Time, mid, spread and the levels; shape (3 + 4 levels,)."""
    bids, asks = book.top(levels)
    picture = np.zeros((levels, 4))
    picture[: len(bids), :2] = bids
    picture[: len(asks), 2:] = asks
    bid, ask = bids[0, 0], asks[0, 0]
    return np.concatenate(([book.event_ms, (bid + ask) / 2, ask - bid], picture.ravel()))
