"""What the services `live appliance` of a project told: newest line, switches, probabilities and states over time.

All of it is read from the files of the services (`earmark.web.jobs.job`), the newest first and never further back
than asked for, so that a server that was started anew, or that was never there, makes no difference, and a log of weeks
costs what its last hours do.

Conventions: times are seconds of the Unix epoch, those of the lines; spans are ``(from, to, value)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from earmark.tasks.appliance.serving.health import HEALTH_STATES
from earmark.web.appliance.log import end_of_lines, objects_backwards
from earmark.web.jobs.job import Job
from earmark.web.jobs.store import JobStore

__all__ = [
    "CLIPS",
    "History",
    "heard_with",
    "history",
    "newest_line",
    "newest_of",
    "services",
    "strips",
    "switches",
]

CLIPS = Path(".earmark", "clips", "appliance")
"""Where services that a page starts keep clips, in the project folder."""

N_SERVICES = 100
"""Newest ones that are looked at: one that is started anew every quarter of an hour fills a day."""

SAMPLES_OF_STEP = 12
"""Lines of a step that are read, where there are so many; all in which the health is not ok are."""

Line = dict[str, Any]
Span = tuple[float, float, bool | None]


def services(store: JobStore) -> list[Job]:
    """Jobs that listen, the newest first; those that measure the floor are none."""
    jobs = store.list(task="appliance", command="live", limit=N_SERVICES)
    return [job for job in jobs if not any(word.startswith("--confirm") for word in job.argv)]


def newest_line(store: JobStore) -> Line | None:
    """The last line of whichever service told one last."""
    return next((line for job in services(store) for line in _lines(job)), None)


def newest_of(job: Job) -> tuple[Line | None, int]:
    """The last line of a service, and the offset behind it in its output."""
    end = end_of_lines(job.output_path)
    return next(objects_backwards(job.output_path, _is_line, end=end), None), end


def heard_with(job: Job) -> dict[str, Any] | None:
    """What a service told of itself when it began to listen; None before that."""
    return next(objects_backwards(job.events_path, _is("listening")), None)


def switches(store: JobStore, since: float, limit: int, clips: Path) -> list[dict[str, Any]]:
    """Devices that switched after `since`, oldest first, at most the newest `limit`.

    Parameters
    ----------
    clips : Path
        Folder of clips: one that is not there, or no longer, is None.
    """
    found = (
        {name: event.get(name) for name in ("timestamp", "device", "kind", "prob", "window_index", "clip")}
        for job in _back_to(services(store), since)
        for event in _since(objects_backwards(job.events_path, _is("switch")), since)
    )
    newest = list(islice(found, limit))
    for event in newest:
        if event["clip"] is not None and not (clips / event["clip"]).is_file():
            event["clip"] = None
    return newest[::-1]


@dataclass(frozen=True)
class History:
    """Lines of a stretch of time, in equal steps.

    Parameters
    ----------
    start, step_s : float
        Of the first step, and of each.
    p : mapping of device to list
        Mean of each step, of some of its lines where it has many; None where nothing was heard.
    health : list of (str or None)
        The worst of each step, by rank.
    n_lines : int
        Lines that were read.
    """

    start: float
    step_s: float
    p: Mapping[str, list[float | None]]
    health: list[str | None]
    n_lines: int


def history(store: JobStore, since: float, now: float, points: int) -> History:
    """Probabilities and health of the lines from `since` to `now`, in at most `points` steps."""
    step_s = max(now - since, 1e-3) / points
    steps = _Steps(since, step_s, points)
    for job in _back_to(services(store), since):
        of_step = step_s / (heard_with(job) or {"hop_s": step_s})["hop_s"]
        wanted = _Sampled(max(1, int(of_step / SAMPLES_OF_STEP)))
        for line in _since(_lines(job, wanted), since):
            steps.add(line)
    return steps.history()


def strips(store: JobStore, since: float) -> dict[str, list[Span]]:
    """When each device ran, oldest first; between spans nobody listened, and the value is None while it is unknown."""
    found: dict[str, list[Span]] = {}
    for job in _back_to(services(store), since):
        last = next(_lines(job), None)
        end = None if last is None else float(last["timestamp"])
        for state in objects_backwards(job.events_path, _is("state")):
            if end is None or end < since:
                break
            start = float(state["timestamp"])
            for device, is_on in state["on"].items():
                _prepend(found.setdefault(device, []), (max(start, since), end, is_on))
            end = start
    return {device: spans[::-1] for device, spans in found.items()}


def _prepend(spans: list[Span], span: Span) -> None:
    """Add a span that ends where the last one begins, to a list from the newest on; one of the same value grows."""
    if spans and spans[-1][0] == span[1] and spans[-1][2] == span[2]:
        spans[-1] = (span[0], spans[-1][1], span[2])
    elif span[1] > span[0]:
        spans.append(span)


def _is_line(line: bytes) -> bool:
    return b'"timestamp"' in line


def _is(kind: str) -> Callable[[bytes], bool]:
    """Whether a line is an event of a type."""
    mark = f'"{kind}"'.encode()
    return lambda line: mark in line


class _Sampled:
    """Takes one line of `every`, and each in which the ear is not in order."""

    def __init__(self, every: int) -> None:
        self._every, self._n = every, 0

    def __call__(self, line: bytes) -> bool:
        self._n += 1
        is_due = self._n % self._every == 0 or b'"health": "ok"' not in line
        return is_due and _is_line(line)


def _lines(job: Job, wanted: Callable[[bytes], bool] = _is_line) -> Iterator[Line]:
    return objects_backwards(job.output_path, wanted)


def _back_to(jobs: list[Job], since: float) -> Iterator[Job]:
    """Those that had not ended then."""
    for job in jobs:
        if job.ended is None or datetime.fromisoformat(job.ended).timestamp() >= since:
            yield job


def _since(lines: Iterator[Line], since: float) -> Iterator[Line]:
    for line in lines:
        if line["timestamp"] <= since:
            return
        yield line


class _Steps:
    """Sums of lines per step: what a day of lines needs of memory does not depend on how many there are."""

    def __init__(self, start: float, step_s: float, n: int) -> None:
        self._start, self._step_s, self._n = start, step_s, n
        self._sums: dict[str, list[float]] = {}
        self._counts: dict[str, list[int]] = {}
        self._ranks = [len(HEALTH_STATES)] * n
        self._n_lines = 0

    def add(self, line: Line) -> None:
        """Count a line."""
        at = min(int((line["timestamp"] - self._start) / self._step_s), self._n - 1)
        self._n_lines += 1
        self._ranks[at] = min(self._ranks[at], _RANK.get(line.get("health", ""), len(HEALTH_STATES)))
        for name, value in line.items():
            if name.startswith("p_") and value is not None and math.isfinite(value):
                sums = self._sums.setdefault(name[2:], [0.0] * self._n)
                counts = self._counts.setdefault(name[2:], [0] * self._n)
                sums[at] += value
                counts[at] += 1

    def history(self) -> History:
        """What was counted."""
        p = {
            device: [
                round(one / n, 6) if n else None for one, n in zip(sums, self._counts[device], strict=True)
            ]
            for device, sums in self._sums.items()
        }
        health: list[str | None] = [
            HEALTH_STATES[rank] if rank < len(HEALTH_STATES) else None for rank in self._ranks
        ]
        return History(self._start, self._step_s, p, health, self._n_lines)


_RANK: dict[str, int] = {state: rank for rank, state in enumerate(HEALTH_STATES)}
