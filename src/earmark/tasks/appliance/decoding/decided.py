"""What a decoder says of one window, and what all decoders share.

Conventions: `p` is the probability of each device in the order of ``devices.names``, float64, one row per window.
``index`` counts windows from 0 and only names them: a decoder's memory is of the windows it was given, so windows that
were lost (an overflow, an unplugged microphone) are skipped over. Nothing looks ahead.

=========== ============================================================================================
``facts``   which devices are on after this window, before the state has settled; None while not yet known
``status``  the public state of these facts
``stable``  the settled state: what a lamp would show; None before the first
``settled`` the side that each device has settled on; empty before the first
``changed`` whether ``stable`` is another one than after the window before; the first state is a change
``p_shown`` what the rule compares with its limits: medians, smoothed values or posteriors
``events``  devices that settled on the other side; where a device first settles is not an event
=========== ============================================================================================

A device that a running one hides cannot be judged: with `median` and `hmm` it stays on the side on which it had
settled, without an event, until it is heard again. ``facts`` and ``p_shown`` go on telling what the model says of it.

`Decoder.reset` with the facts of the start (a known label, say) makes them the settled ones: then the first state is no
change, unless it is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.inference.smoothing import Debounce, Held
from earmark.tasks.appliance.schema import Devices, hidden_by, state_of

__all__ = ["Decided", "Decoder", "Event", "Settling", "confidence_of", "row_of"]

Doubles = npt.NDArray[np.float64]
Facts = Mapping[str, bool]


@dataclass(frozen=True)
class Event:
    """A device came on or went off: `prob` is what the rule compared, `step` the index of the window."""

    device: str
    kind: Literal["on", "off"]
    prob: float
    step: int


@dataclass(frozen=True)
class Decided:
    """The answer after one window; fields as in the table of this module.

    ``confidence`` is the probability of ``status`` by the values shown; None while there is none.
    """

    index: int
    facts: Facts | None = None
    status: str | None = None
    stable: str | None = None
    settled: Facts = field(default_factory=dict)
    changed: bool = False
    p_shown: tuple[float, ...] | None = None
    events: tuple[Event, ...] = ()
    confidence: float | None = None

    def held(self, index: int) -> Decided:
        """The same for a window that could not be heard: the state stays, nothing changes."""
        return replace(self, index=index, changed=False, events=())


class Decoder(Protocol):
    """A rule with its memory; `reset` before each recording."""

    def reset(self, initial: Facts | None = None) -> None:
        """Forget all; `initial` are facts known to hold at the start, by default nothing is known."""

    def step(self, p: npt.ArrayLike, index: int) -> Decided:
        """Take the probabilities of window `index`, shape (n_devices,)."""


@dataclass
class Settling:
    """States and facts that count once they were seen `repeats` times in a row.

    Parameters
    ----------
    devices : Devices
    repeats : int
        1 takes each at once.
    holds_hidden : bool
        Whether a device stays as it had settled while a running one hides it.
    """

    devices: Devices
    repeats: int
    holds_hidden: bool = False
    _n_seen: int = field(default=0, init=False)
    _state: Held[str | None] = field(init=False)
    _facts: dict[str, Held[bool | None]] = field(init=False)

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UsageError(f"a state is to repeat {self.repeats} times; expected 1 or more. Correct it.")
        self.reset()

    def reset(self, initial: Facts | None = None) -> None:
        """Start with nothing settled, or with the facts `initial`."""
        self._n_seen = 0
        self._state = Held(None if initial is None else state_of(initial, self.devices), -1, -1)
        self._facts = {
            name: Held(None if initial is None else bool(initial[name]), -1, -1)
            for name in self.devices.names
        }

    @property
    def stable(self) -> str | None:
        """The settled state, None before the first."""
        return self._state.value

    def take(self, facts: Facts, shown: Sequence[float], index: int) -> Decided:
        """The answer after a window with these facts."""
        status = state_of(facts, self.devices)
        rule = Debounce[str | None](self.repeats - 1)
        before, self._state = self._state, rule.step(self._state, self._n_seen, status)
        events = self._settle_facts(facts, shown, index)
        self._n_seen += 1
        return Decided(
            index=index,
            facts=facts,
            status=status,
            stable=self._state.value,
            settled={name: one.value for name, one in self._facts.items() if one.value is not None},
            changed=self._state.value != before.value,
            p_shown=tuple(shown),
            events=events,
            confidence=confidence_of(status, shown, self.devices),
        )

    def _settle_facts(self, facts: Facts, shown: Sequence[float], index: int) -> tuple[Event, ...]:
        rule = Debounce[bool | None](self.repeats - 1)
        events = []
        hidden = hidden_by(facts, self.devices) if self.holds_hidden else frozenset()
        for name, p in zip(self.devices.names, shown, strict=True):
            before = self._facts[name]
            if name in hidden:
                self._facts[name] = Held(before.value, before.since_s, self._n_seen)  # a rival is forgotten
                continue
            after = self._facts[name] = rule.step(before, self._n_seen, facts[name])
            if before.value is not None and after.value != before.value:
                events.append(Event(name, "on" if after.value else "off", p, index))
        return tuple(events)


def confidence_of(status: str, shown: Sequence[float], devices: Devices) -> float:
    """How probable the public state is if each device is on with the probability shown, independently of the others.

    Examples
    --------
    >>> round(confidence_of("fridge-on", (0.1, 0.9), Devices(("ac", "fridge"))), 2)
    0.81
    """
    p_of = dict(zip(devices.names, shown, strict=True))
    probability = 1.0
    for name in devices.priority:
        if status == f"{name}-on":
            return probability * p_of[name]
        probability *= 1 - p_of[name]
    return probability


def row_of(p: npt.ArrayLike, devices: Devices, *, gaps: bool = False) -> Doubles:
    """One row of probabilities as float64.

    Parameters
    ----------
    p : array, shape (n_devices,)
    gaps : bool
        Whether NaN is allowed, which says nothing of the device.

    Raises
    ------
    UsageError
        Another shape, or a value outside [0, 1].
    """
    row = np.asarray(p, dtype=np.float64)
    if row.shape != (len(devices.names),):
        raise UsageError(
            f"a window has probabilities of shape {row.shape}; expected {len(devices.names)}, "
            f"of {', '.join(devices.names)}. Use the model of this room."
        )
    inside = (row >= 0) & (row <= 1)
    if not np.all(inside | np.isnan(row) if gaps else inside):
        raise UsageError(f"the probabilities of a window are {row.tolist()}; expected 0 to 1 each.")
    return row
