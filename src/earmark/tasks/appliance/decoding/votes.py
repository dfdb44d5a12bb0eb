"""The rule `votes`: every window votes per device, and a device is on while more than half of the last votes say so.

The first vote is ``p >= first``. From then on a vote keeps to the one before until ``p >= on`` or ``p <= off``. At the
start the majority is of the votes there are. Shown is the median of the windows that voted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.decided import Decided, Doubles, Facts, Settling, row_of
from earmark.tasks.appliance.schema import Devices

__all__ = ["VoteDecoder", "VoteSettings"]


@dataclass(frozen=True)
class VoteSettings:
    """`n` votes are kept; `first`, `on` and `off` are probabilities, ``off < on``."""

    n: int = 12
    first: float = 0.5
    on: float = 0.70
    off: float = 0.30

    def __post_init__(self) -> None:
        if self.n < 1 or not (0 <= self.off < self.on <= 1 and 0 <= self.first <= 1):
            raise UsageError(
                f"{self.n} votes, first at {self.first:g}, on at {self.on:g}, off at {self.off:g}; expected 1 or more, "
                "and probabilities with off below on. Correct them."
            )


class VoteDecoder:
    """See the module; a `Decoder` that answers from the first window on."""

    def __init__(self, devices: Devices, settings: VoteSettings) -> None:
        self._devices, self._settings = devices, settings
        self._votes: deque[npt.NDArray[np.bool_]] = deque(maxlen=settings.n)
        self._recent: deque[Doubles] = deque(maxlen=settings.n)
        self._settling = Settling(devices, 1)

    def reset(self, initial: Facts | None = None) -> None:
        """See `Decoder.reset`; the first window votes for itself, whatever is known."""
        self._votes.clear()
        self._recent.clear()
        self._settling.reset(initial)

    def step(self, p: npt.ArrayLike, index: int) -> Decided:
        """See `Decoder.step`."""
        row = row_of(p, self._devices)
        self._recent.append(row)
        self._votes.append(self._vote(row))
        is_on = 2 * np.sum(self._votes, axis=0) > len(self._votes)
        facts = dict(zip(self._devices.names, is_on.tolist(), strict=True))
        return self._settling.take(facts, np.median(np.stack(self._recent), axis=0).tolist(), index)

    def _vote(self, row: Doubles) -> npt.NDArray[np.bool_]:
        if not self._votes:
            return row >= self._settings.first
        return np.where(self._votes[-1], row > self._settings.off, row >= self._settings.on)
