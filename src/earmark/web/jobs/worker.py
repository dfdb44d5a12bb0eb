"""The process that runs one job: ``python -m earmark.web.jobs.worker JOB_FOLDER``.

It starts the command, waits, and writes the end into the list of jobs. It holds ``worker.lock`` (whose handle it
inherits from the server that started it) while it lives, and needs no server: one that is killed changes nothing. The
command is in a process group of its own, which gets the signals when somebody asks for the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

from earmark.errors import EarmarkError
from earmark.store.lock import acquire
from earmark.web.jobs.job import Job
from earmark.web.jobs.outcome import Outcome, outcome_of
from earmark.web.jobs.stopping import Stopping
from earmark.web.jobs.store import DATABASE, JobStore, JobStoreError

__all__ = ["command_line", "main", "work"]

LOOK_S = 0.2
"""Between two looks for a wish to cancel."""

PATIENCE_S, AGAIN_S = 3600.0, 5.0
"""How long a list of jobs that cannot be written is tried again, and how often."""


def command_line(job: Job) -> list[str]:
    """The program that the user would start, with the answer as JSON.

    The common options stand before the verb, where every command takes them. ``-P`` keeps a module in the project
    folder from standing in the way of an installed one, as of the installed program ``earmark``.
    """
    head = [sys.executable, "-P", "-m", "earmark", "-C", str(job.project), "--format", "json"]
    return [*head, *job.argv]


def work(folder: Path) -> None:
    """Run the job whose folder this is, and write down how it ended."""
    store = JobStore(folder.parents[1] / DATABASE)
    job = store.get(folder.name)
    job.worker_lock.write_text(str(os.getpid()))  # the lock was taken in the server's name
    exit_code = _run(store, job)
    _write_down(store, job, outcome_of(job, exit_code))


def _write_down(store: JobStore, job: Job, end: Outcome) -> None:
    """Keep the end, which is known here alone: where the disk is full, wait for room."""
    give_up_at = monotonic() + PATIENCE_S
    while True:
        try:
            store.end(job.id, end.status, exit_code=end.exit_code, message=end.message, runs=end.runs)
            return
        except JobStoreError:
            if monotonic() > give_up_at:
                raise
            sleep(AGAIN_S)


def _run(store: JobStore, job: Job) -> int:
    lock = acquire(job.command_lock, _still_running)
    with job.output_path.open("wb") as stdout, job.log_path.open("ab") as stderr:
        command = subprocess.Popen(
            command_line(job),
            cwd=job.project,
            env=_environment(job),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            process_group=0,
            pass_fds=(lock,),
        )
    os.close(lock)
    try:
        store.note_group(job.id, command.pid)
    except JobStoreError as error:  # of use only if this process is killed, too: the command goes on
        print(error, file=sys.stderr)
    return _wait(command, job)


def _environment(job: Job) -> dict[str, str]:
    """This process's, without the server's token, which is no business of a command."""
    inherited = {name: value for name, value in os.environ.items() if name != "EARMARK_WEB_TOKEN"}
    return {**inherited, "EARMARK_EVENTS": str(job.events_path), "PYTHONUNBUFFERED": "1"}


def _wait(command: subprocess.Popen[bytes], job: Job) -> int:
    stopping: Stopping | None = None
    while True:
        try:
            return command.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            if stopping is None and job.is_cancelled:
                stopping = Stopping(command.pid)
            if stopping is not None:
                stopping.press()


def _still_running(process: str) -> EarmarkError:
    return EarmarkError(f"The command runs already, in process {process}.")


def main() -> None:
    """Run the job named on the command line."""
    work(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
