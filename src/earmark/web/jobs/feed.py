"""What happens in jobs, as it happens, to any number of viewers: one reader per job, however many look on.

While somebody looks, the files of a job are read every 0.2 s; a viewer that comes later first gets what was told
before. A viewer that is slower than the job loses the oldest of what it has not taken, and holds up nobody.

Events are dicts with a ``type``:

============== ==============================================================================================
``status``     ``status`` and the whole ``job``, first of all and with every change; the last event of a job
``progress``   ``stage``, ``done``, ``total``, ``failed``, ``message``
``epoch``      ``epoch`` (from 1), ``total_epochs``, ``stage`` and metrics
``trial`` ...  whatever else the command tells (`earmark.cli.events`)
``log``        ``text``: whole lines of standard error
``output``     ``text``: whole lines of standard output, of services alone; a job's document is read at its end
``deleted``    ``job_id``, in the feed of all jobs
============== ==============================================================================================

and an ``id``, with which a viewer that lost its connection asks for what came after.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from earmark.errors import EarmarkError
from earmark.web.jobs.events import READ_BYTES, numbered, whole_lines
from earmark.web.jobs.job import Job, UnknownJobError
from earmark.web.jobs.store import JobStore

__all__ = ["ALL", "Feed"]

ALL = "all"
POLL_S = 0.2
N_WAITING = 500
"""Events that a viewer may be behind."""

N_LISTED = 200
"""Newest jobs whose status the feed of all jobs follows."""

TEXT_BYTES = 64 << 10
"""Of a log or an output that is there already, its end; and the most that one event carries."""

Event = dict[str, Any]
STATUS, EVENTS, LOG, OUTPUT = range(4)
KEPT = (N_LISTED, 10_000, 200, 200)
"""Per stream, what is told to a later viewer at most."""


@dataclass(frozen=True, slots=True)
class Told:
    """An event with its place: the stream that it is from, and the offset of its end in there.

    Of those with the same `key` a later viewer is told the newest alone.
    """

    stream: int
    offset: int
    event: Event
    key: str | None = None


class Reader(Protocol):
    """What a tail reads."""

    def read(self) -> tuple[list[Told], bool]:
        """What is new since the last call, and whether nothing more will come."""


class Feed:
    """The events of the jobs in a store.

    Parameters
    ----------
    store : JobStore
    poll_s : float
        Seconds between two looks into the files of a job that somebody watches.
    n_waiting : int
        Events that a viewer may be behind before it loses the oldest.
    """

    def __init__(self, store: JobStore, *, poll_s: float = POLL_S, n_waiting: int = N_WAITING) -> None:
        self.store = store
        self._poll_s = poll_s
        self._n_waiting = n_waiting
        self._tails: dict[str, _Tail] = {}

    @property
    def n_readers(self) -> int:
        """Jobs that are being read now."""
        return len(self._tails)

    async def subscribe(self, job_id: str = ALL, *, after: str | None = None) -> AsyncIterator[Event]:
        """Events of one job until it is over, or changes of status of ``"all"`` without end.

        Parameters
        ----------
        job_id : str
        after : str, optional
            ``id`` of the last event that the viewer has; default: all that is known is told first.

        Raises
        ------
        UnknownJobError
            At the first event.
        """
        tail = self._tails.get(job_id) or self._begin(job_id)
        viewer = _Viewer(_position(after), deque(maxlen=self._n_waiting))
        tail.viewers.append(viewer)
        try:
            async for event in viewer.events(tail):
                yield event
        finally:
            tail.viewers.remove(viewer)
            if not tail.viewers:
                self._end(job_id, tail)

    def _begin(self, job_id: str) -> _Tail:
        reader = _ListReader(self.store) if job_id == ALL else _JobReader(self.store, job_id)
        tail = self._tails[job_id] = _Tail(reader)
        tail.task = asyncio.create_task(tail.follow(self._poll_s))
        tail.task.add_done_callback(lambda _task: self._end(job_id, tail))
        return tail

    def _end(self, job_id: str, tail: _Tail) -> None:
        """Read no more: nobody looks on, or nothing more will come."""
        if self._tails.get(job_id) is tail:
            del self._tails[job_id]
        if tail.task is not None:
            tail.task.cancel()


class _Tail:
    """Reads for all viewers of one job, and keeps what a later one is told."""

    def __init__(self, reader: Reader) -> None:
        self.viewers: list[_Viewer] = []
        self.has_begun = asyncio.Event()
        self.is_over = False
        self.error: Exception | None = None
        self.task: asyncio.Task[None] | None = None
        self._reader = reader
        self._kept: tuple[dict[object, Told], ...] = ({}, {}, {}, {})

    async def follow(self, poll_s: float) -> None:
        """Read until nothing more will come."""
        try:
            while True:
                news, is_over = await asyncio.to_thread(self._reader.read)
                for told in news:
                    self._tell(told)
                self.has_begun.set()
                if is_over:
                    return
                await asyncio.sleep(poll_s)
        except (EarmarkError, OSError) as error:
            self.error = error  # each viewer's, not this task's
        finally:
            self.is_over = True
            self.has_begun.set()
            for viewer in self.viewers:
                viewer.has_news.set()

    def known(self) -> list[Told]:
        """What a new viewer is told, in the order of each stream."""
        return [told for kept in self._kept for told in kept.values()]

    def _tell(self, told: Told) -> None:
        kept, key = self._kept[told.stream], told.key or told.offset
        kept.pop(key, None)
        kept[key] = told
        for oldest in list(islice(kept, max(0, len(kept) - KEPT[told.stream]))):
            del kept[oldest]
        for viewer in self.viewers:
            viewer.waiting.append(told)
            viewer.has_news.set()


@dataclass(eq=False)
class _Viewer:
    """What one viewer has been told, and what waits for it; a full queue drops its oldest."""

    position: list[int]
    waiting: deque[Told]
    has_news: asyncio.Event = field(default_factory=asyncio.Event)

    async def events(self, tail: _Tail) -> AsyncIterator[Event]:
        """What is known, then what comes, each once."""
        await tail.has_begun.wait()
        for told in tail.known():
            if (event := self._next(told)) is not None:
                yield event
        while True:
            while self.waiting:
                if (event := self._next(self.waiting.popleft())) is not None:
                    yield event
            if tail.is_over:
                break
            self.has_news.clear()
            await self.has_news.wait()
        if tail.error is not None:
            raise tail.error

    def _next(self, told: Told) -> Event | None:
        """The event with its id; None if the viewer has it already."""
        if told.offset <= self.position[told.stream]:
            return None
        self.position[told.stream] = told.offset
        return {**told.event, "id": ".".join(str(offset) for offset in self.position[EVENTS:])}


class _JobReader:
    """Reads the files of one job from where it stopped."""

    def __init__(self, store: JobStore, job_id: str) -> None:
        self._store = store
        self._job_id = job_id
        self._status: str | None = None
        self._n_statuses = 0
        self._offsets: list[int] | None = None

    def read(self) -> tuple[list[Told], bool]:
        """What is new; all is told once the job is over and its files hold nothing more."""
        try:
            job = self._store.get(self._job_id)  # before its files: those of a job that is over are complete
        except UnknownJobError:
            if self._status is None:
                raise
            return [], True  # deleted meanwhile
        if self._offsets is None:
            self._offsets = [0, 0, _near_end(job.log_path), _near_end(job.output_path)]
        news = [*self._events(job), *self._text(job, LOG, "log", job.log_path)]
        if job.kind == "service":
            news += self._text(job, OUTPUT, "output", job.output_path)
        is_over = job.is_over and not news
        if self._status is None:
            news[:0] = self._changed(job)
        elif is_over or not job.is_over:  # the end is told last
            news += self._changed(job)
        return news, is_over

    def _changed(self, job: Job) -> Iterator[Told]:
        if job.status != self._status:
            self._status = job.status
            self._n_statuses += 1
            yield Told(STATUS, self._n_statuses, _status_event(job), "status")

    def _events(self, job: Job) -> Iterator[Told]:
        assert self._offsets is not None
        start = self._offsets[EVENTS]
        data = whole_lines(job.events_path, start, READ_BYTES)
        self._offsets[EVENTS] += len(data)
        for end, event in numbered(data):
            key = f"progress {event.get('stage')}" if event["type"] == "progress" else None
            yield Told(EVENTS, start + end, event, key)

    def _text(self, job: Job, stream: int, kind: str, path: Path) -> Iterator[Told]:
        """Whole lines; of a job that is over also the piece behind them, and pieces of a line that is too long."""
        assert self._offsets is not None
        data = whole_lines(path, self._offsets[stream], TEXT_BYTES) or _rest(
            path, self._offsets[stream], is_final=job.is_over
        )
        if data:
            self._offsets[stream] += len(data)
            yield Told(stream, self._offsets[stream], {"type": kind, "text": data.decode("utf-8", "replace")})


class _ListReader:
    """Reads which jobs changed their status."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._statuses: dict[str, str] = {}
        self._n_told = 0

    def read(self) -> tuple[list[Told], bool]:
        """The newest jobs at first, then what changed; there is always more."""
        before, now = self._statuses, self._store.statuses(N_LISTED)
        changed = [job_id for job_id, status in reversed(now.items()) if before.get(job_id) != status]
        gone = [job_id for job_id in before if job_id not in now and not self._is_known(job_id)]
        self._statuses = dict(now)
        events = [event for job_id in changed if (event := self._event(job_id)) is not None]
        events += [{"type": "deleted", "job_id": job_id} for job_id in gone]
        return [self._told(event) for event in events], False

    def _event(self, job_id: str) -> Event | None:
        try:
            return _status_event(self._store.get(job_id))
        except UnknownJobError:
            return None  # deleted meanwhile: the next look tells

    def _is_known(self, job_id: str) -> bool:
        return self._event(job_id) is not None

    def _told(self, event: Event) -> Told:
        self._n_told += 1
        return Told(STATUS, self._n_told, event, event.get("job_id") or event["job"]["id"])


def _status_event(job: Job) -> Event:
    return {"type": "status", "status": job.status, "job": job.to_json()}


def _position(after: str | None) -> list[int]:
    """Offsets in an id; the status is always told anew. What is no id of ours is none."""
    parts = (after or "").split(".")
    if len(parts) != len(KEPT) - 1 or not all(part.isascii() and part.isdigit() for part in parts):
        return [0] * len(KEPT)
    return [0, *map(int, parts)]


def _near_end(path: Path) -> int:
    """Offset of a line near the end of a file; 0 of a short one."""
    size = path.stat().st_size if path.exists() else 0
    if size <= TEXT_BYTES:
        return 0
    start = size - TEXT_BYTES
    return start + _rest(path, start, is_final=True).find(b"\n") + 1


def _rest(path: Path, offset: int, *, is_final: bool) -> bytes:
    """The next bytes of a file whether they end a line or not: where no more will come, or the line is too long."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(TEXT_BYTES)
    return data if is_final or len(data) == TEXT_BYTES else b""
