"""The rule `events`: a smoothed median per device, two limits to be passed for a while, and a rest after each switch.

Of every window: ``m`` is the median of the last `n` windows (of those there are, at the start), ``y = a*y + (1-a)*m``
with ``a = exp(-hop/tau)``, first ``y = m``. While off, windows in a row with ``y >= t_on`` are counted; while on, those
with ``y <= t_off``. The device switches when the count is at least ``max(1, ceil(seconds/hop))`` and it does not rest;
then it counts anew and rests: ``ceil(cooldown/hop)``, one less with each window, and it may switch in the window that
makes this 0. Counting goes on through the rest.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.decided import Decided, Doubles, Facts, Settling, row_of
from earmark.tasks.appliance.decoding.limits import Limits
from earmark.tasks.appliance.schema import Devices

__all__ = ["EventDecoder", "EventSettings", "hops"]


@dataclass(frozen=True)
class EventSettings:
    """`n` windows under the median; `tau_s` seconds of the exponential mean, 0 for none."""

    n: int = 9
    tau_s: float = 6.0

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.tau_s < math.inf:
            raise UsageError(
                f"the median is of {self.n} windows and tau is {self.tau_s:g} s; expected 1 or more, and 0 or more."
            )


def hops(seconds: float, hop_s: float) -> int:
    """Whole hops that last `seconds`; 1.2 s of 0.4 s are three, although 1.2 / 0.4 is more in binary numbers."""
    return math.ceil(round(seconds / hop_s, 9))


@dataclass
class _Machine:
    """One device: on or off, windows counted towards a switch, windows of rest left."""

    limits: Limits
    hop_s: float
    is_on: bool
    count: int = 0
    rest: int = 0

    def step(self, y: float) -> bool:
        """Take the smoothed value of a window; gives whether the device switched."""
        limits = self.limits
        is_beyond = y <= limits.t_off if self.is_on else y >= limits.t_on
        self.count = self.count + 1 if is_beyond else 0
        self.rest = max(0, self.rest - 1)
        needed = max(1, hops(limits.off_s if self.is_on else limits.on_s, self.hop_s))
        if self.rest > 0 or self.count < needed:
            return False
        self.is_on, self.count, self.rest = not self.is_on, 0, hops(limits.cooldown_s, self.hop_s)
        return True


class EventDecoder:
    """See the module; a `Decoder` that answers from the first window on."""

    def __init__(
        self, devices: Devices, limits: Mapping[str, Limits], settings: EventSettings, hop_s: float
    ) -> None:
        self._devices, self._limits, self._hop_s = devices, limits, hop_s
        self._keep = math.exp(-hop_s / settings.tau_s) if settings.tau_s else 0.0
        self._recent: deque[Doubles] = deque(maxlen=settings.n)
        self._settling = Settling(devices, 1)
        self.reset()

    def reset(self, initial: Facts | None = None) -> None:
        """See `Decoder.reset`; a device nothing is known of starts off, and coming on is then an event."""
        self._recent.clear()
        self._settling.reset(initial)
        self._smooth: Doubles | None = None
        self._machines = [
            _Machine(self._limits[name], self._hop_s, bool(initial and initial[name]))
            for name in self._devices.names
        ]

    def step(self, p: npt.ArrayLike, index: int) -> Decided:
        """See `Decoder.step`."""
        self._recent.append(row_of(p, self._devices))
        median = np.median(np.stack(self._recent), axis=0)
        if self._smooth is None:
            self._smooth = median
        else:
            self._smooth = self._keep * self._smooth + (1 - self._keep) * median
        for machine, y in zip(self._machines, self._smooth, strict=True):
            machine.step(y)
        facts = {
            name: machine.is_on for name, machine in zip(self._devices.names, self._machines, strict=True)
        }
        return self._settling.take(facts, self._smooth.tolist(), index)
