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
    """A clock that showed `origin_ns` when this machine's showed `wall_origin_ns`, and runs `speed` times as fast."""

    def __init__(self, speed: float, origin_ns: int | None = None, wall_origin_ns: int | None = None) -> None:
        now_ns = time.time_ns()
        self.speed = speed
        self._wall_origin = now_ns if wall_origin_ns is None else wall_origin_ns
        self._origin = now_ns if origin_ns is None else origin_ns
        self._wall = WallClock()

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self._origin + int((self._wall.now_ns() - self._wall_origin) * self.speed)
