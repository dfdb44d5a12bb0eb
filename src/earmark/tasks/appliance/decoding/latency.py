"""How long after a switch the settled state changes, by calculation.

A switch is heard in full by the first window that begins at it: that window ends `window` seconds later, and the next
ones follow every `hop`. The rule `median` of N windows with K repeats has closed forms; `processing` is the time from
the end of a window to its answer:

============ =============================================================================================
typical      ``window + (ceil(N/2) - 1) * hop + (K - 1) * hop + processing``: over half of the windows
worst        ``window + (N - 1) * hop + (K - 1) * hop + processing``: all of the windows
first answer ``window + (N - 1) * hop``, first stable state ``+ (K - 1) * hop``, after the start of the sound
============ =============================================================================================

The other rules are played through an ideal switch, a `Switch`: one row of probabilities before it and another one from
the first window that hears all of it. What they weigh depends on these, so give those of the run; no worst case is
claimed. A window that hears some of the switch counts as before it, so a played delay is late by up to a window. `hmm`
names a first state sooner than a change, which must outweigh the state before: its first answers may be below typical.

Where devices have windows of several lengths, a device's own is what a switch is heard by, and the first answer waits
for the longest.

An even median needs one window more than the formula says (the mean of the two in the middle must pass the limit); the
formula is kept as it is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from earmark.tasks.appliance.decoding.decided import Decided
from earmark.tasks.appliance.decoding.medians import MedianSettings
from earmark.tasks.appliance.decoding.presets import Rule
from earmark.tasks.appliance.schema import Devices

__all__ = ["P_OFF", "P_ON", "Latency", "Switch", "latency", "played_latency"]

P_OFF, P_ON = 0.02, 0.98
"""A device that the model sees clearly: assumed where nothing is known of the run."""

_BEFORE_S = 180.0
"""Sound before the switch: every rule is as sure by then as it becomes."""

_LONGEST_S = 600.0
"""After this the state is taken not to change at all."""


@dataclass(frozen=True)
class Latency:
    """Seconds; None where none is claimed, or the state would not change."""

    typical_s: float | None
    worst_s: float | None
    first_answer_s: float | None
    first_stable_s: float | None


@dataclass(frozen=True)
class Switch:
    """The probability of each device, in the order of ``devices.names``, before one of them comes on, and after."""

    off: tuple[float, ...]
    on: tuple[float, ...]

    @classmethod
    def clear(cls, devices: Devices, device: str) -> Switch:
        """That of `device` from `P_OFF` to `P_ON`, and all others off."""
        return cls(
            (P_OFF,) * len(devices), tuple(P_ON if name == device else P_OFF for name in devices.names)
        )


def latency(
    rule: Rule, devices: Devices, device: str, *, switch: Switch | None = None, processing_s: float = 0.0
) -> Latency:
    """The latency of a rule for a device that comes on while nothing else runs.

    Parameters
    ----------
    switch : Switch, optional
        What is played where there is no closed form; default `Switch.clear`.
    processing_s : float
        From the end of a window to its answer.

    Examples
    --------
    >>> from earmark.tasks.appliance.decoding.presets import PRESETS
    >>> from earmark.tasks.appliance.schema import DEFAULT_DEVICES
    >>> latency(PRESETS["g3"], DEFAULT_DEVICES, "ac")
    Latency(typical_s=12.0, worst_s=16.5, first_answer_s=15.0, first_stable_s=16.5)
    """
    settings = rule.settings
    if not isinstance(settings, MedianSettings):
        return played_latency(rule, devices, device, switch=switch, processing_s=processing_s)
    window_s = rule.windows_of(devices)[device]
    repeats_s = (settings.debounce_k - 1) * rule.hop_s
    first_s = _longest_s(rule, devices) + (settings.n - 1) * rule.hop_s
    return Latency(
        typical_s=window_s + (math.ceil(settings.n / 2) - 1) * rule.hop_s + repeats_s + processing_s,
        worst_s=window_s + (settings.n - 1) * rule.hop_s + repeats_s + processing_s,
        first_answer_s=first_s,
        first_stable_s=first_s + repeats_s,
    )


def played_latency(
    rule: Rule, devices: Devices, device: str, *, switch: Switch | None = None, processing_s: float = 0.0
) -> Latency:
    """The same by giving the decoder windows before and after the switch, long enough to know the state before it."""
    decoder = rule.decoder(devices)
    window_s = rule.windows_of(devices)[device]
    switch = switch or Switch.clear(devices, device)
    n_before, at_most = (math.ceil(seconds / rule.hop_s) for seconds in (_BEFORE_S, _LONGEST_S))
    told: dict[str, int] = {}
    for index in range(n_before):
        decided = decoder.step(switch.off, index)
        if decided.status is not None:
            told.setdefault("answer", index)
        if decided.stable is not None:
            told.setdefault("stable", index)
    n_after = _first(lambda index: decoder.step(switch.on, index), n_before, at_most)
    return Latency(
        typical_s=None if n_after is None else window_s + n_after * rule.hop_s + processing_s,
        worst_s=None,
        first_answer_s=_end_s(told.get("answer"), _longest_s(rule, devices), rule.hop_s),
        first_stable_s=_end_s(told.get("stable"), _longest_s(rule, devices), rule.hop_s),
    )


def _longest_s(rule: Rule, devices: Devices) -> float:
    return max(rule.windows_of(devices).values())


def _first(step: Callable[[int], Decided], first: int, at_most: int) -> int | None:
    """How many windows went by before the one whose answer is a change."""
    return next((count for count in range(at_most) if step(first + count).changed), None)


def _end_s(index: int | None, window_s: float, hop_s: float) -> float | None:
    return None if index is None else window_s + index * hop_s
