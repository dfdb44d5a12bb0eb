"""Exchange time that runs faster than the wall's.

``exchange = exchange_origin + (wall - wall_origin) * speed``; the three numbers are served at ``/simulator/clock``,
so that a collector in another process can keep the same time. An exchange whose clock is ahead or behind stamps its
messages by `ahead`, and serves the three numbers without it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

__all__ = ["ExchangeClock"]


@dataclass(frozen=True, slots=True)
class ExchangeClock:
    """A clock that was started.

    Attributes
    ----------
    exchange_origin_ns, wall_origin_ns : int
        The same instant on both clocks, nanoseconds since 1970.
    speed : float
    """

    exchange_origin_ns: int
    wall_origin_ns: int
    speed: float

    @classmethod
    def start(cls, speed: float, start_ms: int | None = None) -> ExchangeClock:
        """A clock that reads `start_ms` now; None: the wall's time."""
        now_ns = time.time_ns()
        return cls(now_ns if start_ms is None else start_ms * 1_000_000, now_ns, speed)

    def ahead(self, offset_ms: int) -> ExchangeClock:
        """The clock that is `offset_ms` ahead of this one."""
        return replace(self, exchange_origin_ns=self.exchange_origin_ns + offset_ms * 1_000_000)

    def now_ns(self) -> int:
        """Exchange time."""
        return self.exchange_origin_ns + int((time.time_ns() - self.wall_origin_ns) * self.speed)

    def now_ms(self) -> int:
        """Exchange time in milliseconds."""
        return self.now_ns() // 1_000_000

    def wall_s_until(self, exchange_ms: int) -> float:
        """Seconds of the wall until the exchange's clock shows `exchange_ms`; 0 where it has."""
        return max(0.0, (exchange_ms * 1_000_000 - self.now_ns()) / self.speed / 1e9)

    def to_dict(self) -> dict[str, float]:
        """The three numbers."""
        return {
            "exchange_origin_ns": self.exchange_origin_ns,
            "wall_origin_ns": self.wall_origin_ns,
            "speed": self.speed,
        }
