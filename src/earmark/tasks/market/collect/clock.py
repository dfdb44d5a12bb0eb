"""The collector's clock: this machine's, or the time that a simulated exchange's stream tells.

A simulated market runs faster than this machine's clock, and as fast as it is read. No clock of this machine keeps pace
with it, so `StreamClock` reads the time that every message carries: whatever the load, a book is as old as the market
says, and a tick is closed when the market has passed it.
"""

from __future__ import annotations

import re
import sys
import time
from typing import Protocol

__all__ = ["Clock", "StreamClock", "WallClock"]

_SENT = re.compile(r'"(?:ts|E)": ?(\d{13})\b')
"""When a message left the exchange, in milliseconds, as Bybit and Binance write it."""


class Clock(Protocol):
    """What stamps receipts and closes ticks.

    Attributes
    ----------
    speed : float
        Market seconds per second of this machine, where both keep up.
    follows_stream : bool
        Whether it shows exchange time and moves by what arrives alone.
    """

    speed: float
    follows_stream: bool

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""

    def receive_ns(self, text: str) -> int:
        """The time at which this message came."""


class WallClock:
    """This machine's clock as it was at the start, going on evenly: who sets the system's clock does not move it.

    It counts the time in which the machine sleeps, where the system does (Linux).
    """

    speed = 1.0
    follows_stream = False

    def __init__(self) -> None:
        self._origin = time.time_ns() - _steady_ns()

    def now_ns(self) -> int:
        """Nanoseconds since 1970, never less than before."""
        return self._origin + _steady_ns()

    def receive_ns(self, text: str) -> int:
        """Now, whatever the message says."""
        return self.now_ns()


class StreamClock:
    """The newest time that the stream has told; no two readings are equal, so what came first has the lesser time.

    Parameters
    ----------
    origin_ns : int
        What it shows before the first message.
    speed : float
    """

    follows_stream = True

    def __init__(self, origin_ns: int, speed: float = 1.0) -> None:
        self.speed = speed
        self._last = origin_ns

    def now_ns(self) -> int:
        """Nanoseconds since 1970, more than before."""
        self._last += 1
        return self._last

    def receive_ns(self, text: str) -> int:
        """The time that the message carries, or the last one where it has none or an older one."""
        found = _SENT.search(text)
        if found is not None:
            self._last = max(self._last, 1_000_000 * int(found[1]) - 1)
        return self.now_ns()


def _steady_ns() -> int:
    """A count that no correction moves."""
    if sys.platform == "linux":
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return time.monotonic_ns()
