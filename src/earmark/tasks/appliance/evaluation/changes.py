"""How soon a change of state is told, and what is told without one.

Truth is a sequence of public states with the seconds at which they begin; an answer is the stable state that a decoder
reports, at the end of the window that made it change. Both begin with a state at 0 s, or at the first report.

* A true change is *found* by the first report of its state before the next true change; the *delay* runs from the
  change to that report. A state that was reported during the state before, ahead of its time, is found with delay 0.
* A true change that is not found is a *miss*; so is the way back from a state that was never reported.
* A report of a state that does not hold at that moment is a *false event*; so is a report that comes after its state
  has ended. A report that returns to the truth is none.

A change belongs to the device that switched. While a device of higher priority runs, the switch of another changes no
state and is not asked for; nor is that of a device while one that hides it runs, and then no report of its state is
false.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from earmark.tasks.appliance.decoding.presets import Rule
from earmark.tasks.appliance.schema import Devices, hidden_by, state_of

__all__ = ["Change", "ChangeScores", "Report", "Trace", "follow", "pooled", "score_changes", "true_changes"]

Facts = Mapping[str, bool]
SECONDS_PER_HOUR = 3600.0
HOURS_PER_DAY = 24.0


@dataclass(frozen=True, eq=False)
class Trace:
    """Window probabilities of a recording whose truth is known.

    Parameters
    ----------
    p : ndarray, shape (n_windows, n_devices)
    ends_s : ndarray, shape (n_windows,)
        Ends of the windows, ascending.
    starts_s, facts : sequences of equal length
        When the facts begin to hold; the first at 0.
    duration_s : float
    """

    p: npt.NDArray[np.float64]
    ends_s: npt.NDArray[np.float64]
    starts_s: Sequence[float]
    facts: Sequence[Facts]
    duration_s: float


@dataclass(frozen=True)
class Report:
    """The stable state became `state` with the window that ends at `t_s`."""

    t_s: float
    state: str


@dataclass(frozen=True)
class Change:
    """A true change of state at `t_s`, by `device` going `kind`; `delay_s` is None where it was missed."""

    t_s: float
    state: str
    device: str
    kind: Literal["on", "off"]
    delay_s: float | None = None


@dataclass(frozen=True)
class ChangeScores:
    """True changes, false events, and the hours that were listened to."""

    changes: tuple[Change, ...]
    false_events: tuple[Report, ...]
    hours: float

    @property
    def n_missed(self) -> int:
        """True changes that were not found."""
        return sum(change.delay_s is None for change in self.changes)

    @property
    def false_per_hour(self) -> float:
        """NaN where nothing was listened to."""
        return len(self.false_events) / self.hours if self.hours else float("nan")

    def delays_s(self, device: str | None = None, kind: str | None = None) -> npt.NDArray[np.float64]:
        """Delays of the changes that were found, of one device and direction or of all."""
        return np.array(
            [
                change.delay_s
                for change in self.changes
                if change.delay_s is not None
                and device in (None, change.device)
                and kind in (None, change.kind)
            ],
            dtype=np.float64,
        )

    def rows(self, devices: Devices) -> list[dict[str, Any]]:
        """A row per device and direction: changes, misses, median and 90th percentile of the delay (NaN of none)."""
        found = []
        for name in devices.names:
            for kind in ("on", "off"):
                delays_s = self.delays_s(name, kind)
                n = sum(change.device == name and change.kind == kind for change in self.changes)
                found.append(
                    {
                        "device": name,
                        "kind": kind,
                        "changes": n,
                        "missed": n - len(delays_s),
                        "delay_s": _quantile(delays_s, 0.5),
                        "delay_p90_s": _quantile(delays_s, 0.9),
                    }
                )
        return found

    def to_json(self, devices: Devices) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "changes": self.rows(devices),
            "missed": self.n_missed,
            "false_events": len(self.false_events),
            "false_per_hour": self.false_per_hour,
            "false_per_day": self.false_per_hour * HOURS_PER_DAY,
            "hours": self.hours,
        }


def follow(trace: Trace, rule: Rule, devices: Devices) -> list[Report]:
    """What a rule reports over a trace, from a fresh start; the first report is its first stable state."""
    decoder = rule.decoder(devices)
    reports = []
    for index, (row, end_s) in enumerate(zip(trace.p, trace.ends_s, strict=True)):
        decided = decoder.step(row, index)
        if decided.changed and decided.stable is not None:
            reports.append(Report(float(end_s), decided.stable))
    return reports


def true_changes(starts_s: Sequence[float], facts: Sequence[Facts], devices: Devices) -> list[Change]:
    """The changes of public state that can be heard, each by the device of the highest priority that switched."""
    found = []
    for t_s, before, after in zip(starts_s[1:], facts[:-1], facts[1:], strict=True):
        state = state_of(after, devices)
        if state == state_of(before, devices):
            continue
        device = next(name for name in devices.priority if before[name] != after[name])
        if device in hidden_by(after, devices):
            continue
        found.append(Change(t_s, state, device, "on" if after[device] else "off"))
    return found


def score_changes(trace: Trace, reports: Sequence[Report], devices: Devices) -> ChangeScores:
    """Compare reports with the truth of a trace."""
    changes = true_changes(trace.starts_s, trace.facts, devices)
    edges_s = [0.0, *(change.t_s for change in changes), np.inf]
    scored = tuple(
        replace(change, delay_s=_delay_s(change, before_s, end_s, reports))
        for change, before_s, end_s in zip(changes, edges_s, edges_s[2:], strict=False)
    )
    false = tuple(report for report in reports if report.state not in _possible(trace, report.t_s, devices))
    return ChangeScores(scored, false, trace.duration_s / SECONDS_PER_HOUR)


def pooled(scores: Iterable[ChangeScores]) -> ChangeScores:
    """All recordings as one."""
    kept = list(scores)
    return ChangeScores(
        tuple(change for one in kept for change in one.changes),
        tuple(report for one in kept for report in one.false_events),
        sum(one.hours for one in kept),
    )


def _delay_s(change: Change, before_s: float, end_s: float, reports: Sequence[Report]) -> float | None:
    """Seconds to the report of a change; the state before it began at `before_s`, the one behind it at `end_s`."""
    standing = [report for report in reports if report.t_s < change.t_s][-1:]
    if any(report.state == change.state and report.t_s >= before_s for report in standing):
        return 0.0
    told_s = [
        report.t_s for report in reports if change.t_s <= report.t_s < end_s and report.state == change.state
    ]
    return told_s[0] - change.t_s if told_s else None


def _possible(trace: Trace, t_s: float, devices: Devices) -> set[str]:
    """States that may hold at a moment, since nobody hears the devices that are hidden."""
    facts = trace.facts[bisect_right(trace.starts_s, t_s) - 1]
    hidden = sorted(hidden_by(facts, devices))
    sides = product((False, True), repeat=len(hidden))
    return {state_of({**facts, **dict(zip(hidden, of, strict=True))}, devices) for of in sides}


def _quantile(values: npt.NDArray[np.float64], q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")
