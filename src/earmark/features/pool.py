"""Run jobs here, in processes of this machine, or on a cluster that already exists; stream outcomes as they finish.

Processes are loky's. A worker that dies (a codec that segfaults, the kernel's out-of-memory killer) takes its pool
with it; the jobs that had begun are then tried alone, one process each, so that exactly the item that kills its
process is set aside and every other one is computed.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from loky import ProcessPoolExecutor

from earmark.errors import MissingExtraError, UsageError
from earmark.features.compute import ItemError, ItemResult
from earmark.features.worker import Job, Outcome, WorkerContext, run_job, start_worker

__all__ = ["run_cluster", "run_here", "run_processes"]

# One thread per worker: BLAS and OpenMP pools of several workers on the same cores cost more than they give.
SINGLE_THREADED = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


def run_here(context: WorkerContext, jobs: Iterable[Job]) -> Iterator[Outcome]:
    """Compute in this process, in order."""
    for job in jobs:
        yield run_job(context, job)


def run_processes(context: WorkerContext, jobs: Sequence[Job], workers: int) -> Iterator[Outcome | None]:
    """Compute in `workers` processes; outcomes come in the order they finish, None when the next must be waited for."""
    with tempfile.TemporaryDirectory(prefix="earmark-jobs-") as folder:
        context = replace(context, marker_dir=folder)
        waiting = deque(jobs)
        while waiting:
            begun: list[Job] = []
            yield from _until_broken(context, waiting, workers, begun)
            for job in begun:
                yield _alone(context, job)


def run_cluster(context: WorkerContext, jobs: Sequence[Job], address: str) -> Iterator[Outcome]:
    """Compute on ``dask://HOST:PORT`` or ``ray://HOST:PORT`` through joblib's backends.

    The cluster's scheduler retries what its workers lose; the driver alone writes the cache.
    """
    from joblib import Parallel, delayed

    with _cluster_backend(address):
        calls = (delayed(run_job)(context, job) for job in jobs)
        yield from Parallel(return_as="generator_unordered", batch_size=1)(calls)


def _until_broken(
    context: WorkerContext, waiting: deque[Job], workers: int, begun: list[Job]
) -> Iterator[Outcome | None]:
    """Work through `waiting` until it is empty or the pool breaks; jobs that had begun then are left in `begun`."""
    pool = ProcessPoolExecutor(
        max_workers=min(workers, len(waiting)), initializer=start_worker, env=SINGLE_THREADED
    )
    running: dict[Future[Outcome], Job] = {}
    try:
        while waiting or running:
            while waiting and len(running) < 2 * workers:
                job = waiting.popleft()
                running[pool.submit(run_job, context, job)] = job
            done, _ = wait(running, timeout=0, return_when=FIRST_COMPLETED)
            if not done:
                yield None
                done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                outcome = future.result()
                del running[future]
                yield outcome
    except BrokenExecutor:
        unfinished = [(future, job) for future, job in running.items() if not _finished(future)]
        yield from (future.result() for future in running if _finished(future))
        begun.extend(job for _, job in unfinished if _marker(context, job).exists())
        waiting.extendleft(job for _, job in reversed(unfinished) if not _marker(context, job).exists())
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _alone(context: WorkerContext, job: Job) -> Outcome:
    """Try a job that was running when a pool broke in a process of its own; if that dies too, the job is to blame."""
    _marker(context, job).unlink(missing_ok=True)
    pool = ProcessPoolExecutor(max_workers=1, initializer=start_worker, env=SINGLE_THREADED)
    try:
        outcome: Outcome = pool.submit(run_job, context, job).result()
        return outcome
    except BrokenExecutor as error:
        message = (
            f"{job.uri}: the process that computed it died twice ({_cause(error)}). A decoder or a feature function "
            "crashed on it, or memory ran out. It is set aside; --retry-failed tries it again."
        )
        failure = ItemError(message, "WorkerError", lasting=True)
        return Outcome(job, ItemResult(errors=dict.fromkeys(job.groups, failure)), {})
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _finished(future: Future[Outcome]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _marker(context: WorkerContext, job: Job) -> Path:
    assert context.marker_dir is not None
    return Path(context.marker_dir, str(job.index))


def _cause(error: BaseException) -> str:
    text = str(error)
    start = text.find("{")
    return text[start : text.find("}", start) + 1] if start >= 0 else type(error).__name__


@contextmanager
def _cluster_backend(address: str) -> Iterator[None]:
    scheme, _, place = address.partition("://")
    opener: dict[str, Callable[[str], Any]] = {"dask": _dask_backend, "ray": _ray_backend}
    if scheme not in opener or not place:
        raise UsageError(f"cluster {address!r} is not an address; write dask://HOST:PORT or ray://HOST:PORT.")
    with opener[scheme](place):
        yield


@contextmanager
def _dask_backend(place: str) -> Iterator[None]:
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError("distributed", "cluster", "--cluster dask://") from error
    from joblib import parallel_config

    with Client(f"tcp://{place}"), parallel_config(backend="dask"):
        yield


@contextmanager
def _ray_backend(place: str) -> Iterator[None]:
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise MissingExtraError("ray", "cluster", "--cluster ray://") from error
    from joblib import parallel_config

    ray.init(address=f"ray://{place}")
    register_ray()
    try:
        with parallel_config(backend="ray"):
            yield
    finally:
        ray.shutdown()
