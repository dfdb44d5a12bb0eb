"""The queue: jobs one after the other, services at once, each in a worker that outlives the server.

Who may start a job holds its lock first, then claims it in the list; the lock's handle goes on to the worker. So a
running job always has a lock that somebody holds, and a running job whose lock is free has lost its worker:
any server that looks marks it as interrupted.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from earmark.errors import EarmarkError
from earmark.store.lock import acquire
from earmark.web.jobs.job import Job, JobStateError, Kind
from earmark.web.jobs.stopping import Stopping
from earmark.web.jobs.store import JobStore

__all__ = ["JobRunner"]

log = logging.getLogger(__name__)

SWEEP_S = 0.5
"""Between two looks for what has ended or waits; a submission and the end of an own worker are seen at once."""

LOST = (
    "The process that ran it was killed, or the machine went down. Resume runs the same command again; "
    "finished work is kept."
)


class _Held(Exception):  # noqa: N818 (no error: an answer)
    """Another process holds the lock."""


class JobRunner:
    """Runs the jobs of a project folder; several servers may have one each.

    Parameters
    ----------
    project : Path
        The project folder.
    n_jobs : int
        Jobs that run at once, counted over all servers; services are not counted.

    Examples
    --------
    ::

        with JobRunner(Path("library")) as jobs:
            job = jobs.submit("train", "zones", ["--algorithms", "xgboost"])
    """

    def __init__(self, project: str | Path, *, n_jobs: int = 1) -> None:
        self.project = Path(project).resolve()
        self.n_jobs = n_jobs
        self.store = JobStore.of(self.project)
        self._stopping: dict[str, Stopping] = {}
        self._wake = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def submit(
        self,
        command: str,
        task: str | None,
        argv: Sequence[str],
        *,
        title: str | None = None,
        kind: Kind = "job",
    ) -> Job:
        """Put ``earmark COMMAND TASK ARGV...`` into the queue; `argv` is what follows command and task."""
        full = [*command.split(), *([] if task is None else [task]), *argv]
        job = self.store.add(command, task, full, title=title or shlex.join(full), kind=kind)
        self._wake.set()
        return job

    def cancel(self, job_id: str) -> Job:
        """Ask for the end of a job; one that runs ends within seconds, with its finished work kept.

        Raises
        ------
        UnknownJobError, JobStateError
            There is no such job; it is over.
        """
        job = self.store.get(job_id)
        if not self.store.withdraw(job_id):
            job = self._require(self.store.get(job_id), is_over=False)
            job.cancel_path.touch()
        self._wake.set()
        return self.store.get(job_id)

    def resume(self, job_id: str) -> Job:
        """Put the same command into the queue again, as a new job; commands go on where they were.

        Raises
        ------
        UnknownJobError, JobStateError
            There is no such job; it is not over yet.
        """
        job = self._require(self.store.get(job_id), is_over=True)
        again = self.store.add(job.command, job.task, job.argv, title=job.title, kind=job.kind)
        self._wake.set()
        return again

    def delete(self, job_id: str) -> None:
        """Forget a job that is over, with its folder; runs that it made stay.

        Raises
        ------
        UnknownJobError, JobStateError
            There is no such job; it is not over yet.
        """
        job = self._require(self.store.get(job_id), is_over=True)
        if self.store.remove(job_id):
            shutil.rmtree(job.folder)

    def start(self) -> None:
        """Begin to run what waits, in a thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="earmark jobs", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Start nothing more; what runs goes on without this process."""
        self._is_closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def step(self) -> None:
        """Write down which running jobs have lost their worker, and start those whose turn it is."""
        for job in self.store.list(status="running", limit=None):
            self._look_after(job)
        while not self._is_closed and (waiting := self.store.next_pending(self.n_jobs)) is not None:
            if not self._begin(waiting):
                return  # another server is at it

    def _loop(self) -> None:
        while not self._is_closed:
            try:
                self.step()
            except (EarmarkError, OSError) as error:  # a full disk, for example: the next look may go better
                log.error("Jobs cannot be looked after: %s", error)
            self._wake.wait(SWEEP_S)
            self._wake.clear()

    def _begin(self, job: Job) -> bool:
        """Start the worker of a pending job; False where another server is about to."""
        try:
            lock = acquire(job.worker_lock, _Held)
        except _Held:
            return False
        try:
            if not self.store.claim(job.id, self.n_jobs):
                return False
            self._start_worker(job, lock)
        finally:
            os.close(lock)
        return True

    def _start_worker(self, job: Job, lock: int) -> None:
        """A process in a session of its own: no signal for the server's terminal reaches it."""
        with job.log_path.open("ab") as stderr:
            try:
                worker = subprocess.Popen(
                    [sys.executable, "-P", "-m", "earmark.web.jobs.worker", str(job.folder)],
                    cwd=self.project,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    start_new_session=True,
                    pass_fds=(lock,),
                )
            except OSError as error:
                self.store.end(job.id, "failed", message=f"No process could be started: {error.strerror}.")
                return
        threading.Thread(target=self._reap, args=(worker,), daemon=True).start()

    def _reap(self, worker: subprocess.Popen[bytes]) -> None:
        worker.wait()
        self._wake.set()

    def _look_after(self, job: Job) -> None:
        """End what is left of a running job whose worker is gone."""
        if _is_held(job.worker_lock):
            return
        if _is_held(job.command_lock):
            if job.group_id is not None:
                self._stopping.setdefault(job.id, Stopping(job.group_id)).press()
            return
        self._stopping.pop(job.id, None)
        if job.is_cancelled:
            self.store.end(job.id, "cancelled")
        else:
            self.store.end(job.id, "interrupted", message=LOST)

    def _require(self, job: Job, *, is_over: bool) -> Job:
        if job.is_over == is_over:
            return job
        if is_over:
            raise JobStateError(
                f"The job {job.id} is {job.status}. Expected one that is over: cancel it first."
            )
        raise JobStateError(f"The job {job.id} is {job.status} already. Expected one that waits or runs.")


def _is_held(lock: Path) -> bool:
    try:
        os.close(acquire(lock, _Held))
    except _Held:
        return True
    return False
