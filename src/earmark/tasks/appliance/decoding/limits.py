"""Where a device switches: two limits of probability, how long each must be passed, and how long it then rests.

A device that is off comes on at ``p >= t_on``; one that is on goes off at ``p <= t_off``; between the two it stays as
it is. Times are seconds of audio. Only the rule `events` reads the times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from earmark.errors import UsageError

__all__ = ["DEFAULT_LIMITS", "OTHER_LIMITS", "Limits", "switched"]


@dataclass(frozen=True)
class Limits:
    """The limits of one device.

    Parameters
    ----------
    t_on, t_off : float
        Probabilities, ``0 <= t_off < t_on <= 1``.
    on_s, off_s : float
        Seconds that a limit must be passed without a break before the device comes on, or goes off; at least 0.
    cooldown_s : float
        Seconds after a switch in which there is no other; at least 0.

    Raises
    ------
    UsageError
        A value out of its range.
    """

    t_on: float
    t_off: float
    on_s: float = 0.0
    off_s: float = 0.0
    cooldown_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.t_off < self.t_on <= 1:
            raise UsageError(
                f"a device comes on at {self.t_on:g} and goes off at {self.t_off:g}; expected "
                "0 <= t_off < t_on <= 1. Move them apart."
            )
        for name in ("on_s", "off_s", "cooldown_s"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise UsageError(f"`{name}` is {value:g}; expected seconds, 0 or more. Correct it.")


DEFAULT_LIMITS: Mapping[str, Limits] = MappingProxyType({"ac": Limits(0.80, 0.60)})
"""Where nobody chose: the limits of a device known by name,"""

OTHER_LIMITS = Limits(0.75, 0.55)
"""and those of every other device."""


def switched(is_on: bool, p: float, limits: Limits) -> bool:
    """Whether a device is on after `p` was seen: the hysteresis, without its times."""
    return p > limits.t_off if is_on else p >= limits.t_on
