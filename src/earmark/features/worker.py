"""The worker's side of a parallel extraction.

A worker gets the groups once, as bytes, and refuses to compute unless its own fingerprints of them equal those of
the process that started it: a source edited between the two imports would otherwise store new results under the old
key. While it computes an item it leaves a marker file, so that a crash can be laid at the right item's door.
"""

from __future__ import annotations

import functools
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from earmark.cache.data_files import contents_read, reads_by_function, watch
from earmark.errors import WorkerError
from earmark.features.compute import ItemResult, compute_item
from earmark.features.group import FeatureGroup, fingerprints

__all__ = ["Job", "Outcome", "WorkerContext", "pack_groups", "run_job", "start_worker"]

ORPHAN_CHECK_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """One item to compute: its place in the plan, where its bytes are, which groups are missing, and known rows of
    groups that these reuse.
    """

    index: int
    uri: str
    groups: tuple[str, ...]
    given: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker sends back; ``refusal`` instead of a result when it runs other code than the driver.

    ``reads`` holds the data files its functions were seen to read; ``digests`` the groups' fingerprints with the
    content these files had when they were read, whenever a read is new.
    """

    job: Job
    result: ItemResult
    reads: Mapping[str, Sequence[str]]
    digests: Mapping[str, bytes] | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """All that a worker needs besides the job: groups as bytes, the digests they must have, where to leave markers."""

    payload: bytes
    expected: tuple[tuple[str, bytes], ...]
    known_reads: tuple[tuple[str, tuple[str, ...]], ...]
    marker_dir: str | None = None


def pack_groups(groups: Sequence[FeatureGroup]) -> bytes:
    """Groups as bytes for a worker's memory (never for disk): by import path, or by value for notebooks and scripts."""
    file = io.BytesIO()
    _Pickler(file).dump(tuple(groups))
    return file.getvalue()


class _Pickler(cloudpickle.CloudPickler):  # type: ignore[misc]
    """cloudpickle, which cannot send a memoised function of a script by value."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, functools._lru_cache_wrapper) and obj.__module__ == "__main__":
            return (_memoised, (obj.__wrapped__, obj.cache_parameters()))
        return super().reducer_override(obj)


def _memoised(function: Callable[..., Any], parameters: Mapping[str, Any]) -> Callable[..., Any]:
    memoised: Callable[..., Any] = functools.lru_cache(**parameters)(function)
    return memoised


def start_worker() -> None:
    """Leave Ctrl-C to the driver, which keeps finished work; end when the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(driver: int) -> None:
    # A killed driver cannot end its workers; without this they would wait for work for ever.
    while os.getppid() == driver:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(1)


def run_job(context: WorkerContext, job: Job) -> Outcome:
    """Compute one job in this process."""
    loaded = _load(context.payload, context.expected, context.known_reads)
    if loaded.refusal:
        return Outcome(job, ItemResult(), {}, refusal=loaded.refusal)
    marker = Path(context.marker_dir, str(job.index)) if context.marker_dir else None
    if marker:
        marker.touch()
    result = compute_item(job.uri, [loaded.groups[name] for name in job.groups], job.given)
    if marker:
        marker.unlink(missing_ok=True)
    return Outcome(job, result, reads_by_function(), loaded.digests_after_reading(context.known_reads))


@dataclass(slots=True)
class _Loaded:
    """The groups in this process, or why it refuses to run them; and what they had read when last asked."""

    groups: dict[str, FeatureGroup]
    refusal: str | None = None
    read: tuple[tuple[str, str, str], ...] = ()

    def digests_after_reading(
        self, known_reads: tuple[tuple[str, tuple[str, ...]], ...]
    ) -> dict[str, bytes] | None:
        """Fingerprints with what has been read, or None if nothing new was since the last time."""
        read = contents_read()
        if read == self.read:
            return None
        self.read = read
        found = fingerprints(list(self.groups.values()), dict(known_reads))
        return {name: fingerprint.digest for name, fingerprint in found.items()}


@functools.lru_cache(maxsize=4)
def _load(
    payload: bytes,
    expected: tuple[tuple[str, bytes], ...],
    known_reads: tuple[tuple[str, tuple[str, ...]], ...],
) -> _Loaded:
    watch()
    sys.dont_write_bytecode = (
        True  # see `earmark.tasks.registry`: a quick edit must not meet the bytecode of before
    )
    try:
        groups: dict[str, FeatureGroup] = {group.name: group for group in cloudpickle.loads(payload)}
    except Exception as error:  # noqa: BLE001  whatever the import of the user's modules raises is told as it is
        return _Loaded(
            {},
            f"a worker could not load the feature groups ({type(error).__name__}: {error}). Expected functions that "
            "another process can import. Put them in a module of their own, or use workers=0.",
        )
    found = fingerprints(list(groups.values()), dict(known_reads))
    for name, digest in expected:
        if found[name].digest != digest:
            return _Loaded(
                groups,
                f"the code of `{name}` that a worker imported differs from the code of this process: its source was "
                "edited, or an object was replaced, after this process imported it. Nothing was stored. Start the "
                "process again, or use workers=0 to compute with the code that is loaded here.",
            )
    return _Loaded(groups, read=contents_read())


def refuse(outcome: Outcome) -> None:
    """Raise the worker's refusal, if there is one."""
    if outcome.refusal:
        raise WorkerError(outcome.refusal)
