"""Decision rules over time: from what each window says to a state that does not flutter.

A rule is a pure state machine: ``step(held, t_s, observation)`` gives the next `Held`, and nothing is kept inside the
rule. The first observation sets the state at once; from then on another value must be seen without a break for
``dwell_s`` seconds, so two changes are never closer than that. Times are the ends of the windows, in seconds,
ascending.

* `Debounce`: any values.
* `Hysteresis`: probabilities of classes; a rival must lead by a margin, too.

`segments` writes a sequence of states as spans.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from earmark.errors import UsageError

__all__ = ["Debounce", "Held", "Hysteresis", "Segment", "segments"]

T = TypeVar("T")

TIME_TOLERANCE_S = 1e-6  # windows every 0.1 s do not fall on exact binary numbers


@dataclass(frozen=True)
class Held(Generic[T]):
    """The state of a rule at one time.

    Parameters
    ----------
    value : T
        What holds.
    since_s : float
        When it was first seen, before it had held for the dwell time.
    t_s : float
        The time of this state.
    rival : T or None
        What has been seen instead since ``rival_since_s``, not yet long enough; both None where nothing has.
    rival_since_s : float or None
    """

    value: T
    since_s: float
    t_s: float
    rival: T | None = None
    rival_since_s: float | None = None


@dataclass(frozen=True)
class Debounce(Generic[T]):
    """Take a new value only after it was seen at every step for ``dwell_s`` seconds; 0 takes it at once.

    Examples
    --------
    >>> rule = Debounce(10)
    >>> held = rule.step(None, 0, "a")
    >>> held = rule.step(held, 5, "b")
    >>> held.value, rule.step(held, 15, "b").value
    ('a', 'b')
    """

    dwell_s: float

    def __post_init__(self) -> None:
        _require_not_negative("dwell", self.dwell_s, "seconds")

    def step(self, held: Held[T] | None, t_s: float, value: T) -> Held[T]:
        """The state after ``value`` was seen at ``t_s``; ``held`` is None before the first.

        Raises
        ------
        UsageError
            Time does not go forward.
        """
        if held is None:
            return Held(value, t_s, t_s)
        if not t_s > held.t_s:
            raise UsageError(f"a step at {t_s:g} s follows one at {held.t_s:g} s; expected ascending times.")
        if value == held.value:
            return Held(held.value, held.since_s, t_s)
        goes_on = held.rival_since_s is not None and held.rival == value
        begun = held.rival_since_s if goes_on and held.rival_since_s is not None else t_s
        if t_s - begun >= self.dwell_s - TIME_TOLERANCE_S:
            return Held(value, begun, t_s)
        return Held(held.value, held.since_s, t_s, value, begun)


@dataclass(frozen=True)
class Hysteresis:
    """Keep a class until another one leads it by ``margin`` for ``dwell_s`` seconds.

    The rival of a step is the class that was chosen, by default the most probable one, if its probability exceeds the
    one of the state by at least ``margin``; a step at which it does not cancels the change. A decision with costs or
    boosts may choose a class that is not the most probable: then there is no lead to measure, and the dwell time alone
    guards the state. A step without a decision (None) is a value of its own: it never sets the first state, and once
    it has lasted for ``dwell_s`` seconds the state is None. Out of None leads the chosen class, without a margin but
    after the same dwell time.

    Parameters
    ----------
    margin : float
        Lead in probability, 0 to 1.
    dwell_s : float
        Seconds, at least 0.
    """

    margin: float = 0.1
    dwell_s: float = 15.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise UsageError(f"the hysteresis is {self.margin:g}; expected a lead in probability, 0 to 1.")
        _require_not_negative("dwell", self.dwell_s, "seconds")

    def step(
        self,
        held: Held[str | None] | None,
        t_s: float,
        probabilities: Mapping[str, float] | None,
        chosen: str | None = None,
    ) -> Held[str | None] | None:
        """The state after a window that ends at ``t_s``; None until a first window decided.

        ``probabilities`` are None where nothing was decided; ``chosen`` is the class if it was decided otherwise than
        by the greatest of them.
        """
        if held is None and probabilities is None:
            return None
        leader = None if probabilities is None else self._leader(held, probabilities, chosen)
        return Debounce[str | None](self.dwell_s).step(held, t_s, leader)

    def follow(
        self, times_s: Sequence[float], rows: Sequence[Mapping[str, float] | None]
    ) -> Iterator[Held[str | None] | None]:
        """The states along a whole sequence of windows."""
        held: Held[str | None] | None = None
        for t_s, row in zip(times_s, rows, strict=True):
            held = self.step(held, t_s, row)
            yield held

    def _leader(
        self, held: Held[str | None] | None, probabilities: Mapping[str, float], chosen: str | None
    ) -> str:
        best = chosen or max(probabilities, key=lambda name: probabilities[name])
        is_most_probable = probabilities[best] >= max(probabilities.values())
        if held is None or held.value is None or not is_most_probable:
            return best
        lead = probabilities[best] - probabilities[held.value]
        return best if lead > 0 and lead >= self.margin else held.value


@dataclass(frozen=True)
class Segment:
    """A span with one label, in seconds."""

    start_s: float
    end_s: float
    label: str


def segments(starts: Iterable[tuple[float, str]], end_s: float) -> tuple[Segment, ...]:
    """Spans from their starts: each ends where the next begins, the last at ``end_s``.

    Parameters
    ----------
    starts : iterable of (float, str)
        Seconds, ascending, and label. A label that goes on and a span of no length are left out.
    end_s : float
    """
    kept: list[tuple[float, str]] = []
    for start_s, label in starts:
        while kept and kept[-1][0] >= start_s:
            kept.pop()
        if start_s < end_s and (not kept or kept[-1][1] != label):
            kept.append((start_s, label))
    ends = [*(start_s for start_s, _ in kept[1:]), end_s]
    return tuple(Segment(start_s, end, label) for (start_s, label), end in zip(kept, ends, strict=bool(kept)))


def _require_not_negative(name: str, value: float, unit: str) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise UsageError(f"the {name} is {value:g} {unit}; expected 0 or more.")
