"""The daemon: looks at the clock, at drift and at accuracy, and trains where one of them asks.

Every check and every training leaves a line in the history with its numbers. A check that cannot be made (too few new
rows, nothing in production) says why and asks for nothing; a training that fails is noted and the daemon goes on. A
model is promoted by `training.train` and its gate alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from earmark.errors import EarmarkError, UsageError
from earmark.tasks.market.retraining.state import Place
from earmark.tasks.market.retraining.triggers import (
    Policy,
    Trigger,
    drift_asks,
    latest_scheduled,
    performance_asks,
)

__all__ = ["Actions", "Clock", "DriftSeen", "PerformanceSeen", "Retrainer", "Trained"]

log = logging.getLogger(__name__)

TICK_S = 1.0


@dataclass(frozen=True)
class DriftSeen:
    """Share of the tested features that moved (``nan``: none could be tested), and how many were tested."""

    run: str
    share: float
    tested: int
    psi: float
    severity: str


@dataclass(frozen=True)
class PerformanceSeen:
    """Accuracy on `rows` that came after the training, and on the test part."""

    run: str
    accuracy: float
    reference: float
    rows: int


@dataclass(frozen=True)
class Trained:
    """What came of a training."""

    run: str
    promoted: bool
    accuracy: float | None
    macro_f1: float | None
    why: str


class Actions(Protocol):
    """What the daemon does to a project; raises UsageError where something cannot be looked at yet."""

    def drift(self) -> DriftSeen: ...

    def performance(self) -> PerformanceSeen: ...

    def train(self, trigger: Trigger) -> Trained: ...


class Clock(Protocol):
    """Time, and waiting."""

    def now_s(self) -> float: ...

    def wait(self, seconds: float) -> None: ...


Tell = Callable[[dict[str, Any]], None]


class Retrainer:
    """Decides and acts.

    Parameters
    ----------
    policy : Policy
    actions : Actions
    place : Place
        Its folder; hold `Place.locked` while it works.
    clock : Clock
    tell : callable, optional
        Told every line of the history.
    """

    def __init__(
        self, policy: Policy, actions: Actions, place: Place, clock: Clock, *, tell: Tell | None = None
    ) -> None:
        self.policy, self.actions, self.place, self.clock = policy, actions, place, clock
        self._tell = tell or (lambda record: None)
        self.memory = place.read()
        if not self.memory.started_s:
            self._remember(started_s=clock.now_s(), scheduled_s=clock.now_s())

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until `should_stop`."""
        while not should_stop():
            self.step()
            self.clock.wait(TICK_S)

    def step(self, *, everything: bool = False) -> Trained | None:
        """Make the checks that are due, or all, and train if one asks; returns what was trained."""
        now = self.clock.now_s()
        trigger, why = self._asked(now, everything)
        return None if trigger is None else self._train(trigger, why)

    def _asked(self, now: float, everything: bool) -> tuple[Trigger | None, str]:
        if self.place.take_asked():
            return "manual", "somebody asked"
        due = latest_scheduled(now, self.policy)
        if due is not None and due > self.memory.scheduled_s:
            self._remember(scheduled_s=now)
            return "scheduled", "the time of day has come"
        alarms: list[tuple[Trigger, str | None]] = []
        if everything or now >= self.memory.drift_s + self.policy.drift_every_s:
            self._remember(drift_s=now)
            alarms.append(("drift", self._drift()))
        if everything or now >= self.memory.performance_s + self.policy.performance_every_s:
            self._remember(performance_s=now)
            alarms.append(("performance", self._performance()))
        raised = [(trigger, why) for trigger, why in alarms if why is not None]
        if not raised:
            return None, ""
        if self.memory.alarmed_s and now < self.memory.alarmed_s + self.policy.rest_s:
            self._note(event="rest", why=f"{raised[0][1]}; a training for it was made less than a day ago")
            return None, ""
        self._remember(alarmed_s=now)
        return raised[0]

    def _drift(self) -> str | None:
        try:
            seen = self.actions.drift()
        except EarmarkError as error:
            self._not_checked("drift", error)
            return None
        why = drift_asks(seen.share, self.policy)
        numbers = {"share": _number(seen.share), "tested": seen.tested, "psi": _number(seen.psi)}
        self._note(event="drift", run=seen.run, **numbers, severity=seen.severity, asks=why is not None)
        return why

    def _performance(self) -> str | None:
        try:
            seen = self.actions.performance()
        except EarmarkError as error:
            self._not_checked("performance", error)
            return None
        why = performance_asks(seen.accuracy, seen.reference, self.policy)
        numbers = {"accuracy": seen.accuracy, "reference": seen.reference, "rows": seen.rows}
        self._note(event="performance", run=seen.run, **numbers, asks=why is not None)
        return why

    def _train(self, trigger: Trigger, why: str) -> Trained | None:
        self._note(event="training", trigger=trigger, why=why)
        try:
            trained = self.actions.train(trigger)
        except EarmarkError as error:
            log.error("The training for `%s` failed: %s", trigger, error)
            self._note(event="failed", trigger=trigger, why=str(error))
            return None
        self._note(
            event="trained",
            trigger=trigger,
            run=trained.run,
            promoted=trained.promoted,
            accuracy=trained.accuracy,
            macro_f1=trained.macro_f1,
            why=trained.why,
        )
        return trained

    def _not_checked(self, what: str, error: EarmarkError) -> None:
        if not isinstance(error, UsageError):
            log.error("The check of %s failed: %s", what, error)
        self._note(event=what, asks=False, not_checked=str(error))

    def _remember(self, **changes: float) -> None:
        self.memory = replace(self.memory, **changes)
        self.place.write(self.memory)

    def _note(self, **decision: Any) -> None:
        self._tell(self.place.note(self.clock.now_s(), **decision))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
