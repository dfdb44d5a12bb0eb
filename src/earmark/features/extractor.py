"""Run feature groups over many items: cached, parallel, resumable, with one writer and ordered rows.

Finished results are committed as they arrive: an item's results are on disk before the next slow item is done, so
``kill -9`` loses at most the items in flight and the next run continues from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from earmark.cache.entries import FeatureCache
from earmark.errors import UsageError, WorkerError
from earmark.features.compute import ItemError
from earmark.features.group import FeatureGroup
from earmark.features.item import Item
from earmark.features.plan import Plan
from earmark.features.progress import Progress, ProgressCallback
from earmark.features.table import FeatureTable
from earmark.features.worker import Job, Outcome, WorkerContext, pack_groups, refuse

__all__ = ["Extractor"]

# A commit costs about 1 ms. Items that take less than this to compute share one; slow items, such as tracks, get one
# each, and nothing waits for its commit while the next result is waited for.
COMMIT_WORK_S = 0.02
COMMIT_ITEMS = 64
# A worker process costs seconds of imports; a handful of items is done sooner without.
ITEMS_WORTH_A_WORKER = 4


class Extractor:
    """Compute feature groups for items, each result once.

    Parameters
    ----------
    groups : sequence of FeatureGroup
    cache : FeatureCache or None
        Where results are kept; None computes everything and keeps nothing.
    workers : int or None
        Processes; 0 computes in this process (no isolation from crashing codecs); None takes all cores, or this
        process where only a few items are missing.
    cluster : str or None
        ``dask://HOST:PORT`` or ``ray://HOST:PORT``, instead of local processes.

    Examples
    --------
    >>> table = Extractor([loudness], cache=FeatureCache("cache"), workers=2).run(manifest)   # doctest: +SKIP
    """

    def __init__(
        self,
        groups: Sequence[FeatureGroup],
        cache: FeatureCache | None = None,
        *,
        workers: int | None = None,
        cluster: str | None = None,
    ) -> None:
        wrong = [group for group in groups if not isinstance(group, FeatureGroup)]
        if wrong:
            raise UsageError(
                f"{wrong[0]!r} is not a feature group; decorate the function with @feature_group(...)."
            )
        if workers is not None and workers < 0:
            raise UsageError(
                f"workers={workers}: expected 0 (this process), a number of processes, or None (all cores)."
            )
        self.groups = tuple(groups)
        self.cache = cache
        self.workers = workers
        self.cluster = cluster

    def plan(self, items: Iterable[Item], *, limit: int | None = None, retry_failed: bool = False) -> Plan:
        """What the cache holds and what is missing, without computing."""
        chosen = list(items)[:limit]
        return Plan.make(self.groups, chosen, self.cache, retry_failed=retry_failed)

    def run(
        self,
        items: Iterable[Item],
        *,
        limit: int | None = None,
        progress: ProgressCallback | None = None,
        retry_failed: bool = False,
    ) -> FeatureTable:
        """Extract; rows come back in the order of `items`.

        Parameters
        ----------
        items : iterable of Item
            A `Manifest`, or any items with ``id`` and ``uri``.
        limit : int or None
            Only the first so many items.
        progress : callable or None
            Called with a `Progress` at the start and after each item computed.
        retry_failed : bool
            Try items again that failed before with the same bytes and code.

        Raises
        ------
        WorkerError
            Workers import other code than this process runs.
        KeyboardInterrupt
            After finished work was committed.
        """
        plan = self.plan(items, limit=limit, retry_failed=retry_failed)
        jobs = plan.jobs()
        run = _Run(plan, self.cache, progress, len(jobs))
        if jobs:
            context = self._context(plan)
            run.consume(self._outcomes(context, jobs))
        return plan.table(run.computed, run.seconds)

    def _context(self, plan: Plan) -> WorkerContext:
        known_reads = self.cache.reads() if self.cache else {}
        return WorkerContext(
            pack_groups(self.groups),
            tuple((name, fingerprint.digest) for name, fingerprint in plan.fingerprints.items()),
            tuple((key, tuple(map(str, paths))) for key, paths in known_reads.items()),
        )

    def _outcomes(self, context: WorkerContext, jobs: Sequence[Job]) -> Iterator[Outcome | None]:
        from earmark.features import pool

        if self.cluster:
            return pool.run_cluster(context, jobs, self.cluster)
        workers = self.workers if self.workers is not None else _default_workers(len(jobs))
        return pool.run_processes(context, jobs, workers) if workers else pool.run_here(context, jobs)


def _default_workers(n_jobs: int) -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if n_jobs < ITEMS_WORTH_A_WORKER else min(available, n_jobs)


class _Run:
    """Takes outcomes in: fills the plan, commits in small batches, counts, reports."""

    def __init__(
        self, plan: Plan, cache: FeatureCache | None, progress: ProgressCallback | None, total: int
    ) -> None:
        self.plan = plan
        self.cache = cache
        self.progress = progress
        self.total = total
        self.done = 0
        self.computed: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self._bytes: dict[str, int] = {}
        self._pending: list[tuple[str, bytes, np.ndarray]] = []
        self._failed: list[tuple[str, bytes, ItemError]] = []
        self._uncommitted_s = 0.0
        self._reads: dict[str, set[str]] = {}

    def consume(self, outcomes: Iterator[Outcome | None]) -> None:
        """Take all outcomes in; whatever ends the loop, what has arrived is committed."""
        self._report(None)
        self._record()
        try:
            for outcome in outcomes:
                if outcome is None:
                    self._commit()
                    continue
                refuse(outcome)
                self._learn_reads(outcome)
                self._take(outcome)
                if self._is_commit_due():
                    self._commit()
                self._report(outcome.job.uri)
        finally:
            self._commit()
            self._record()
            close: Callable[[], None] | None = getattr(outcomes, "close", None)
            if close is not None:
                close()

    def _take(self, outcome: Outcome) -> None:
        index, result = outcome.job.index, outcome.result
        identity = self.plan.identities[index]
        assert identity is not None
        for name, array in result.arrays.items():
            self.plan.accept(index, name, array)
            self.computed[name] = self.computed.get(name, 0) + 1
            self._bytes[name] = self._bytes.get(name, 0) + array.nbytes
            self._pending.append((name, identity, array))
        for name, error in result.errors.items():
            self.plan.reject(index, name, error)
            if error.lasting:
                self._failed.append((name, identity, error))
        for name, seconds in result.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
            self._uncommitted_s += seconds
        self.done += 1

    def _is_commit_due(self) -> bool:
        return self._uncommitted_s > COMMIT_WORK_S or len(self._pending) >= COMMIT_ITEMS

    def _commit(self) -> None:
        if self.cache is not None and (self._pending or self._failed):
            digests = {name: fingerprint.digest for name, fingerprint in self.plan.fingerprints.items()}
            self.cache.put_many([(digests[name], identity, array) for name, identity, array in self._pending])
            self.cache.fail_many(
                [
                    (digests[name], identity, error.message, error.kind)
                    for name, identity, error in self._failed
                ]
            )
        self._pending.clear()
        self._failed.clear()
        self._uncommitted_s = 0.0

    def _learn_reads(self, outcome: Outcome) -> None:
        """A feature function was seen to open a data file: its content joins the key, also of this run's entries."""
        if self.cache is None or outcome.digests is None:
            return
        for key, paths in outcome.reads.items():
            self._reads.setdefault(key, set()).update(paths)
        self._commit()
        known = self.cache.reads()
        self.cache.remember_reads(
            {key.encode(): sorted({*known.get(key, ()), *paths}) for key, paths in self._reads.items()}
        )
        renewed = self.plan.refresh_fingerprints()
        self._refuse_other_content(outcome.digests)
        for group in self.plan.groups:
            if group.name in renewed:
                self.cache.rekey(
                    group.name, renewed[group.name], self.plan.fingerprints[group.name], group.columns
                )

    def _refuse_other_content(self, digests: Mapping[str, bytes]) -> None:
        """Raise if a worker read a data file with another content than the file has now."""
        moved = [name for name, digest in digests.items() if self.plan.fingerprints[name].digest != digest]
        if moved:
            raise WorkerError(
                f"a data file that {', '.join(moved)} read has changed while the run went on, so its results belong to "
                "no one version of it. They were not stored. Run again once the file is written."
            )

    def _record(self) -> None:
        """Say what the fingerprints are made of, and add what was spent since the last time."""
        if self.cache is None:
            return
        for group in self.plan.groups:
            self.cache.record(
                group.name,
                self.plan.fingerprints[group.name],
                columns=group.columns,
                seconds=self.seconds.get(group.name, 0.0) if self.done else 0.0,
                bytes=self._bytes.get(group.name, 0),
                computed=self.computed.get(group.name, 0),
            )

    def _report(self, message: str | None) -> None:
        if self.progress is not None:
            self.progress(Progress("extract", self.done, self.total, len(self.plan.failures), message))
