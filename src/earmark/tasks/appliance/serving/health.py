"""Whether what comes in is sound at all: an unplugged microphone must not read as a quiet room.

=================  =====================================================================================
state              while
=================  =====================================================================================
``disconnected``   exact zeros for 1 s, or nothing came for 3 s; the state of the room is held
``silence``        below -90 dBFS for 5 s; the state of the room is held
``lag``            audio was dropped because the reader was too slow
``overflow``       the device lost samples
``clipping``       more than 1 % of the samples since the last line are at full scale
``warming_up``     no state has settled yet
``drift``          the level with everything off is no longer that of the room (see `floor`)
``ok``             none of these
=================  =====================================================================================

Of several the first is told. A window that touches a stretch of zeros or silence is not decoded.

Conventions: samples at the rate of the source, in [-1, 1]; levels in dBFS of 100 ms; what is told does not depend on
the pieces in which the samples came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["HEALTH_STATES", "Ear", "HealthState"]

HealthState = Literal["disconnected", "silence", "lag", "overflow", "clipping", "warming_up", "drift", "ok"]
HEALTH_STATES: tuple[HealthState, ...] = (
    "disconnected", "silence", "lag", "overflow", "clipping", "warming_up", "drift", "ok",
)  # fmt: skip
"""By rank."""

FRAME_S = 0.1
SILENCE_DBFS, SILENCE_S = -90.0, 5.0
ZEROS_S, NO_CALLBACK_S = 1.0, 3.0
FULL_SCALE = 1 - 2.0**-15
"""The largest sample of 16 bits; floats beyond it count as well."""
CLIPPED_SHARE = 0.01


@dataclass
class _Run:
    """A stretch of frames of one kind that lasts, and the last that was long enough: seconds from the start."""

    needed_s: float
    began_s: float | None = None
    bad_from_s: float = -1.0
    bad_until_s: float = -1.0

    def step(self, is_so: bool, start_s: float, end_s: float) -> None:
        if not is_so:
            self.began_s = None
            return
        self.began_s = start_s if self.began_s is None else self.began_s
        if end_s - self.began_s >= self.needed_s - 1e-9:
            self.bad_from_s, self.bad_until_s = self.began_s, end_s

    @property
    def is_bad(self) -> bool:
        """Whether the stretch is long enough and goes on."""
        return self.began_s is not None and self.bad_from_s == self.began_s

    def touches(self, start_s: float, end_s: float) -> bool:
        return start_s < self.bad_until_s and self.bad_from_s < end_s


class Ear:
    """Judges samples of a source.

    Parameters
    ----------
    sample_rate : int
        Hz of the source.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.n_heard = 0
        self._size = max(1, round(FRAME_S * sample_rate))
        self._rest = np.empty(0, dtype=np.float32)
        self._zeros, self._silence = _Run(ZEROS_S), _Run(SILENCE_S)
        self._quiet_s = 0.0
        self._n_clipped = self._n_since = 0
        self._has_lost = self._has_overflowed = False

    @property
    def heard_s(self) -> float:
        """Seconds heard so far."""
        return self.n_heard / self.sample_rate

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples."""
        if not len(samples):
            return
        self._quiet_s = 0.0
        self._n_clipped += int(np.count_nonzero(np.abs(samples) >= FULL_SCALE))
        self._n_since += len(samples)
        waiting = np.concatenate([self._rest, samples])
        whole = len(waiting) // self._size * self._size
        first = self.n_heard - len(self._rest)
        for start in range(0, whole, self._size):
            self._frame(waiting[start : start + self._size], first + start)
        self._rest = waiting[whole:]
        self.n_heard += len(samples)

    def wait(self, quiet_s: float) -> None:
        """Nothing has come for so many seconds."""
        self._quiet_s = quiet_s

    def lose(self, *, by_lag: bool = False, by_overflow: bool = False) -> None:
        """Audio is missing before what comes next."""
        self._has_lost |= by_lag
        self._has_overflowed |= by_overflow

    @property
    def is_cut_off(self) -> bool:
        """Nothing has come for so long that the source counts as gone."""
        return self._quiet_s >= NO_CALLBACK_S

    def holds(self, start_s: float, end_s: float) -> bool:
        """Whether a part of the audio heard cannot be answered."""
        return self._zeros.touches(start_s, end_s) or self._silence.touches(start_s, end_s)

    def state(self, *, is_warming_up: bool = False, drifts: bool = False) -> HealthState:
        """The state since it was last asked for."""
        found = {
            "disconnected": self._zeros.is_bad or self.is_cut_off,
            "silence": self._silence.is_bad,
            "lag": self._has_lost,
            "overflow": self._has_overflowed,
            "clipping": self._n_clipped > CLIPPED_SHARE * self._n_since,
            "warming_up": is_warming_up,
            "drift": drifts,
        }
        self._has_lost = self._has_overflowed = False
        self._n_clipped = self._n_since = 0
        return next((state for state in HEALTH_STATES if found.get(state)), "ok")

    def _frame(self, frame: NDArray[np.float32], first: int) -> None:
        start_s, end_s = first / self.sample_rate, (first + len(frame)) / self.sample_rate
        power = float(np.mean(np.square(frame, dtype=np.float64)))
        self._zeros.step(not frame.any(), start_s, end_s)
        self._silence.step(power < 10 ** (SILENCE_DBFS / 10), start_s, end_s)
