"""The rule `median`: the median of the last N windows, two limits per device, and a state that must repeat.

No answer comes before N windows are there. The median of an even number is the mean of the two in the middle.
A device that a running one hides is held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.decided import Decided, Doubles, Facts, Settling, row_of
from earmark.tasks.appliance.decoding.limits import Limits, switched
from earmark.tasks.appliance.schema import Devices

__all__ = ["MedianDecoder", "MedianSettings"]


@dataclass(frozen=True)
class MedianSettings:
    """`n` windows under the median; the state must repeat `debounce_k` times, the first included."""

    n: int = 7
    debounce_k: int = 2

    def __post_init__(self) -> None:
        if self.n < 1 or self.debounce_k < 1:
            raise UsageError(
                f"the median is of {self.n} windows and a state repeats {self.debounce_k} times; "
                "expected 1 or more of each. Correct them."
            )


class MedianDecoder:
    """See the module; a `Decoder`."""

    def __init__(self, devices: Devices, limits: Mapping[str, Limits], settings: MedianSettings) -> None:
        self._devices, self._limits = devices, limits
        self._recent: deque[Doubles] = deque(maxlen=settings.n)
        self._settling = Settling(devices, settings.debounce_k, holds_hidden=True)
        self.reset()

    def reset(self, initial: Facts | None = None) -> None:
        """See `Decoder.reset`; a device nothing is known of starts off."""
        self._recent.clear()
        self._settling.reset(initial)
        self._facts = {name: bool(initial and initial[name]) for name in self._devices.names}
        self._last = Decided(-1, stable=self._settling.stable)

    def step(self, p: npt.ArrayLike, index: int) -> Decided:
        """See `Decoder.step`."""
        self._recent.append(row_of(p, self._devices))
        if len(self._recent) < (self._recent.maxlen or 0):
            return self._last.held(index)
        medians = np.median(np.stack(self._recent), axis=0).tolist()
        self._facts = {
            name: switched(self._facts[name], median, self._limits[name])
            for name, median in zip(self._devices.names, medians, strict=True)
        }
        self._last = self._settling.take(self._facts, medians, index)
        return self._last
