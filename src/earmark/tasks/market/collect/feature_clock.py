"""When ticks are due, and which of them are samples.

Ticks are multiples of `STEP_MS` of exchange time, which is this machine's clock plus an offset that is measured. A tick
is due a grace after it. After a pause of the machine the ticks that were missed are left out, which is a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from earmark.orderbook.state import GRACE_MS, STEP_MS

__all__ = ["FeatureClock", "adaptive_loops"]

_MAX_MISSED = 20
TARGET_S = 25
"""Distance of samples at which the adaptive cadence aims."""


def adaptive_loops(cycle_s: float) -> int:
    """Loops of `cycle_s` from sample to sample: about 25 s, at least 2 and at most 15 loops."""
    return min(15, max(2, int(TARGET_S / max(cycle_s, 1.0))))


@dataclass
class FeatureClock:
    """The feature clock of a collector.

    Attributes
    ----------
    interval : int
        Every so many steps is a sample, at multiples of exchange time.
    is_adaptive : bool
        Instead, a sample every `adaptive_loops` of the measured cycle.
    grace_ms : int
        How long a tick stays open.
    offset_ms : float
        Exchange time minus this machine's.
    n_missed : int
        Ticks left out since the start.
    n_samples_due, n_samples_missed : int
        Samples of each symbol that were due, and those of them that lay on ticks left out.
    """

    interval: int = 10
    is_adaptive: bool = False
    grace_ms: int = GRACE_MS
    offset_ms: float = 0.0
    n_missed: int = 0
    n_samples_due: int = 0
    n_samples_missed: int = 0
    _next_ms: int | None = None
    _loops: int = 0
    _cycles_s: list[float] = field(default_factory=list)

    def exchange_ms(self, now_ns: int) -> int:
        """Exchange time of an instant of this machine's clock."""
        return int(now_ns / 1e6 + self.offset_ms)

    def due(self, now_ns: int) -> Iterator[tuple[int, bool]]:
        """Ticks to close now, each with whether it is a sample."""
        until_ms = self.exchange_ms(now_ns) - self.grace_ms
        if self._next_ms is None:
            # The first tick lies ahead: of one before the start there is no book.
            self._next_ms = (self.exchange_ms(now_ns) // STEP_MS + 1) * STEP_MS
        missed = (until_ms - self._next_ms) // STEP_MS
        if missed > _MAX_MISSED:
            self._leave_out(missed)
        while self._next_ms <= until_ms:
            tick = self._next_ms
            self._next_ms += STEP_MS
            is_sample = self._is_sample(tick)
            self.n_samples_due += is_sample
            yield tick, is_sample

    def wait_ms(self, now_ns: int) -> float:
        """Milliseconds of exchange time until the next tick is due."""
        if self._next_ms is None:
            return 0.0
        return max(0.0, self._next_ms + self.grace_ms - self.exchange_ms(now_ns))

    def note_cycle(self, cycle_s: float) -> None:
        """Tell how long the last loop took, for the adaptive cadence; the median of the last five counts."""
        self._cycles_s = [*self._cycles_s[-4:], cycle_s]

    def _leave_out(self, n: int) -> None:
        assert self._next_ms is not None
        first, self._next_ms = self._next_ms, self._next_ms + n * STEP_MS
        distance = self.interval * STEP_MS
        samples = 0 if self.is_adaptive else -(-self._next_ms // distance) - -(-first // distance)
        self.n_missed += n
        self.n_samples_missed += samples
        self.n_samples_due += samples

    def _is_sample(self, tick: int) -> bool:
        if not self.is_adaptive:
            return tick % (self.interval * STEP_MS) == 0
        self._loops += 1
        cycle_s = sorted(self._cycles_s)[len(self._cycles_s) // 2] if self._cycles_s else STEP_MS / 1000
        if self._loops < adaptive_loops(cycle_s):
            return False
        self._loops = 0
        return True
