"""How long after a switch the settled state changes, by calculation.

A switch is heard in full by the first window that begins at it: that window ends `window` seconds later, and the next
ones follow every `hop`. The rule `median` of N windows with K repeats has closed forms; `processing` is the time from
the end of a window to its answer:

============ =============================================================================================
typical      ``window + (ceil(N/2) - 1) * hop + (K - 1) * hop + processing``: over half of the windows
worst        ``window + (N - 1) * hop + (K - 1) * hop + processing``: all of the windows
first answer ``window + (N - 1) * hop``, first stable state ``+ (K - 1) * hop``, after the start of the sound
============ =============================================================================================

The other rules are played through from `P_OFF` to `P_ON`; what they weigh depends on the probabilities, so a switch
that the model sees less clearly takes longer, and no worst case is claimed. An even median needs one window more than
the formula says (the mean of the two in the middle must pass the limit); the formula is kept as it is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from earmark.tasks.appliance.decoding.decided import Decided
from earmark.tasks.appliance.decoding.medians import MedianSettings
from earmark.tasks.appliance.decoding.presets import Rule
from earmark.tasks.appliance.schema import Devices

__all__ = ["P_OFF", "P_ON", "Latency", "latency", "played_latency"]

P_OFF, P_ON = 0.02, 0.98
"""A device that the model sees clearly."""

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


def latency(rule: Rule, devices: Devices, device: str, *, processing_s: float = 0.0) -> Latency:
    """The latency of a rule for a device that comes on while nothing else runs.

    Examples
    --------
    >>> from earmark.tasks.appliance.decoding.presets import PRESETS
    >>> from earmark.tasks.appliance.schema import DEFAULT_DEVICES
    >>> latency(PRESETS["g3"], DEFAULT_DEVICES, "ac")
    Latency(typical_s=12.0, worst_s=16.5, first_answer_s=15.0, first_stable_s=16.5)
    """
    settings = rule.settings
    if not isinstance(settings, MedianSettings):
        return played_latency(rule, devices, device, processing_s=processing_s)
    window_s = rule.windows_of(devices)[device]
    repeats_s = (settings.debounce_k - 1) * rule.hop_s
    first_s = window_s + (settings.n - 1) * rule.hop_s
    return Latency(
        typical_s=window_s + (math.ceil(settings.n / 2) - 1) * rule.hop_s + repeats_s + processing_s,
        worst_s=first_s + repeats_s + processing_s,
        first_answer_s=first_s,
        first_stable_s=first_s + repeats_s,
    )


def played_latency(rule: Rule, devices: Devices, device: str, *, processing_s: float = 0.0) -> Latency:
    """The same by giving the decoder windows before and after the switch, long enough to know the state before it."""
    decoder = rule.decoder(devices)
    window_s = rule.windows_of(devices)[device]
    off = [P_OFF] * len(devices)
    on = [P_ON if name == device else P_OFF for name in devices.names]
    n_before, at_most = (math.ceil(seconds / rule.hop_s) for seconds in (_BEFORE_S, _LONGEST_S))
    told: dict[str, int] = {}
    for index in range(n_before):
        decided = decoder.step(off, index)
        if decided.status is not None:
            told.setdefault("answer", index)
        if decided.stable is not None:
            told.setdefault("stable", index)
    n_after = _first(lambda index: decoder.step(on, index), n_before, at_most)
    return Latency(
        typical_s=None if n_after is None else window_s + n_after * rule.hop_s + processing_s,
        worst_s=None,
        first_answer_s=_end_s(told.get("answer"), window_s, rule.hop_s),
        first_stable_s=_end_s(told.get("stable"), window_s, rule.hop_s),
    )


def _first(step: Callable[[int], Decided], first: int, at_most: int) -> int | None:
    """How many windows went by before the one whose answer is a change."""
    return next((count for count in range(at_most) if step(first + count).changed), None)


def _end_s(index: int | None, window_s: float, hop_s: float) -> float | None:
    return None if index is None else window_s + index * hop_s
