"""The collector's clock: this machine's, or one that runs as fast as a simulated exchange."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["AcceleratedClock", "Clock", "WallClock"]


class Clock(Protocol):
    """What stamps receipts and closes ticks; `speed` is market seconds per second of this machine."""

    speed: float

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""


class WallClock:
    """This machine's clock. It never goes back: a correction of the system's clock holds it still for a moment."""

    speed = 1.0

    def __init__(self) -> None:
        self._last = 0

    def now_ns(self) -> int:
        """Nanoseconds since 1970, never less than before."""
        self._last = max(self._last, time.time_ns())
        return self._last


class AcceleratedClock:
    """A clock that begins at `start_ns` (default: now) and runs `speed` times as fast as this machine's."""

    def __init__(self, speed: float, start_ns: int | None = None) -> None:
        self.speed = speed
        self._start = time.time_ns() if start_ns is None else start_ns
        self._began = time.monotonic_ns()

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._start + int((time.monotonic_ns() - self._began) * self.speed)
