"""Sessions in the feature cache: keys of contents and code, and what is missing computed.

A key is made of the contents of the raw files alone, so that a warm run opens no table, and of the code of one pass. A
session is computed again for the groups whose files or code have changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.cache.entries import FeatureCache
from earmark.cache.fingerprint import Fingerprint, Request, fingerprint_many
from earmark.cache.identity import identify_bytes
from earmark.errors import EarmarkError, InputError
from earmark.features.progress import Progress, ProgressCallback
from earmark.orderbook.state import STEP_MS
from earmark.store.raw import RawStore
from earmark.tasks.market.extraction.sessions import (
    GROUPS,
    WARM_UP_DAYS,
    Arrays,
    Features,
    Session,
    begins_anew,
    compute,
    replayed,
)

if TYPE_CHECKING:
    from earmark.cache.upkeep import GroupCheck
    from earmark.tasks.market.extraction.extract import Extracted

__all__ = ["Run", "fingerprints", "groups_now"]


def fingerprints(interval_ms: int) -> dict[str, Fingerprint]:
    """Group -> fingerprint of the code that computes it."""
    requests = [
        Request((replayed, begins_anew), {"interval_ms": interval_ms, "group": name}) for name in GROUPS
    ]
    return dict(zip(GROUPS, fingerprint_many(requests), strict=True))


def groups_now(project: str | Path) -> dict[str, Fingerprint]:
    """The same, for the samples of a project."""
    from earmark.tasks.settings import load_settings

    return fingerprints(load_settings(project).settings.market.collection_interval * STEP_MS)


class Run:
    """One run over sessions: what is there, what is computed, what it cost."""

    def __init__(
        self,
        raw: RawStore,
        cache: FeatureCache,
        names: Sequence[str],
        interval_ms: int,
        done: Extracted,
        progress: ProgressCallback | None,
    ) -> None:
        self.raw, self.cache, self.names, self.done = raw, cache, tuple(names), done
        self._interval_ms = interval_ms
        self._progress = progress
        self._codes = fingerprints(interval_ms)
        self._days: dict[tuple[str, str], dict[str, bytes]] = {}

    def fill(self, sessions: Sequence[Session], *, force: bool, workers: int | None) -> None:
        """Compute what the cache lacks, and keep each session as it is done."""
        self.done.computed = dict.fromkeys(self.names, 0)
        self.done.seconds = dict.fromkeys(self.names, 0.0)
        missing = {session: lacking for session in sessions if (lacking := self._lacking(session, force))}
        self._tell(0, len(missing), None)
        results = _computed(list(missing), self.raw.root, self._interval_ms, workers)
        for n, (session, arrays, seconds) in enumerate(results, 1):
            if isinstance(arrays, str):
                self.done.failures[session.id] = arrays
            else:
                self._keep(session, missing[session], arrays, seconds)
            self._tell(n, len(missing), session.id)

    def features(self, sessions: Sequence[Session]) -> list[Features]:
        """Of those that did not fail."""
        found = []
        for session in sessions:
            if session.id in self.done.failures:
                continue
            arrays = {
                name: self.cache.get_many(self._codes[name].digest, [self._identity(session, name)])[0]
                for name in self.names
            }
            found.append(Features(session, {k: v for k, v in arrays.items() if v is not None}))
        return found

    def check(self, sessions: Sequence[Session]) -> list[GroupCheck]:
        """How the cache stands to these sessions."""
        rows: list[GroupCheck] = []
        for name in self.names:
            identities = [self._identity(session, name) for session in sessions]
            rows += self.cache.check({name: self._codes[name].digest}, identities)
        return rows

    def _lacking(self, session: Session, force: bool) -> list[str]:
        return [
            name
            for name in self.names
            if force or not self.cache.has_many(self._codes[name].digest, [self._identity(session, name)])[0]
        ]

    def _keep(self, session: Session, names: Sequence[str], arrays: Arrays, seconds: float) -> None:
        """Store the groups that were missing; the time of the pass is shared among them by their width."""
        self.cache.put_many(
            [(self._codes[name].digest, self._identity(session, name), arrays[name]) for name in names]
        )
        width = sum(len(GROUPS[name].columns) for name in names)
        for name in names:
            share = seconds * len(GROUPS[name].columns) / width
            self.done.computed[name] += 1
            self.done.seconds[name] += share
            self.cache.record(
                name,
                self._codes[name],
                columns=GROUPS[name].columns,
                seconds=share,
                bytes=arrays[name].nbytes,
                computed=1,
            )

    def _identity(self, session: Session, name: str) -> bytes:
        """Of all that the group reads of the session and of the days in which its warm-up may lie."""
        days = [self._day(session.symbol, session.day(before)) for before in range(WARM_UP_DAYS + 1)]
        parts = [day.get(stream, b"") for stream in GROUPS[name].streams for day in days]
        return identify_bytes(session.id.encode() + b"".join(len(p).to_bytes(4, "little") + p for p in parts))

    def _day(self, symbol: str, day: str) -> dict[str, bytes]:
        """Stream -> identities of its files of a day."""
        if (symbol, day) not in self._days:
            folder = self.raw.root / symbol
            streams = {stream for group in GROUPS.values() for stream in group.streams}
            self._days[symbol, day] = {s: self._files(folder / s / f"date={day}") for s in streams}
        return self._days[symbol, day]

    def _files(self, folder: Path) -> bytes:
        found = self.cache.identify_many(sorted(folder.glob("*.parquet")))
        unreadable = next((identity for identity in found if isinstance(identity, InputError)), None)
        if unreadable is not None:
            raise unreadable
        return b"".join(sorted(identity for identity in found if isinstance(identity, bytes)))

    def _tell(self, done: int, total: int, message: str | None) -> None:
        if self._progress is not None:
            self._progress(Progress("extract", done, total, len(self.done.failures), message))


Result = tuple[Session, "Arrays | str", float]


def _computed(
    sessions: Sequence[Session], root: Path, interval_ms: int, workers: int | None
) -> Iterator[Result]:
    """Sessions as they are done; an error is its text."""
    n = min(_default_workers() if workers is None else workers, len(sessions))
    if n < 2:
        yield from (_timed(root, session, interval_ms) for session in sessions)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_timed, root, session, interval_ms) for session in sessions]
        try:
            yield from (job.result() for job in as_completed(jobs))
        finally:
            pool.shutdown(cancel_futures=True)


def _timed(root: Path, session: Session, interval_ms: int) -> Result:
    begun = time.perf_counter()
    try:
        return session, compute(root, session, interval_ms), time.perf_counter() - begun
    except EarmarkError as error:
        return session, str(error), time.perf_counter() - begun


def _default_workers() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
