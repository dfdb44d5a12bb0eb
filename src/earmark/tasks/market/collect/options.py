"""What a collector is asked for, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from earmark.tasks.market.collect.buffers import BufferLimits
from earmark.tasks.market.collect.connection import Timing
from earmark.tasks.market.collect.raw_lob import RawLobOptions
from earmark.tasks.market.collect.stores import Places

__all__ = ["CollectOptions", "Finished"]


@dataclass(frozen=True)
class CollectOptions:
    """Options of a collector; see `earmark.tasks.market.settings`."""

    symbols: tuple[str, ...]
    places: Places
    limits: BufferLimits = field(default_factory=BufferLimits)
    depth: int = 200
    collection_interval: int = 10
    is_adaptive: bool = False
    track_ms: int = 0
    book_stale_s: float = 10.0
    keep_messages: bool = False
    flush_raw_s: float = 300.0
    commit_s: float = 0.1
    duration_s: float | None = None
    raw_lob: RawLobOptions | None = None
    timing: Timing = field(default_factory=Timing)


@dataclass(frozen=True)
class Finished:
    """What a collector did: totals since its start, and what it found of an earlier one."""

    n_samples: int
    n_files: int
    n_raw_rows: int
    recovered_samples: int
    recovered_rows: int
    statistics: dict[str, Any]
