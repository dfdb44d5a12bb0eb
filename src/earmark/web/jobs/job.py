"""What a job is, and the files in its folder.

====================== ======================================================================
``argv.json``          the arguments of the command, as a list
``events.jsonl``       what the command tells of its progress (`earmark.cli.events`)
``log.txt``            its standard error
``output.txt``         its standard output: a JSON document, or JSON lines of a service
``worker.lock``        held while the worker lives
``command.lock``       held while the command, or a process that it started, lives
``cancel``             there once somebody asked for the end
====================== ======================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from earmark.errors import UsageError

__all__ = ["KINDS", "OVER", "STATUSES", "Job", "JobStateError", "Kind", "Status", "UnknownJobError", "now"]

Status = Literal["pending", "running", "completed", "failed", "cancelled", "interrupted"]
Kind = Literal["job", "service"]

STATUSES: tuple[Status, ...] = ("pending", "running", "completed", "failed", "cancelled", "interrupted")
OVER: tuple[Status, ...] = ("completed", "failed", "cancelled", "interrupted")
"""Statuses that never change again."""

KINDS: tuple[Kind, ...] = ("job", "service")


class UnknownJobError(UsageError):
    """No job has this id."""

    http_status = 404


class JobStateError(UsageError):
    """The job is in a state in which this cannot be done to it."""

    http_status = 409


@dataclass(frozen=True)
class Job:
    """A command that waits, runs or has ended.

    Parameters
    ----------
    id : str
        ``YYYYMMDD_HHMMSS`` (UTC) of its beginning, with ``_2``, ``_3`` where that is taken.
    command, task : str, str or None
        The verb, e.g. ``train`` or ``cache gc``, and the task it was given.
    argv : tuple of str
        All arguments of the program, the verb first; without the common options.
    title : str
        One line for people.
    kind : {"job", "service"}
        A job ends by itself and waits for its turn; a service runs until it is stopped, and at once.
    status : str
        One of `STATUSES`.
    created, started, ended : str or None
        ISO 8601, UTC.
    exit_code : int or None
        Of the command; negative the number of the signal that killed it.
    message : str or None
        Why it failed, or what there is to know of its end.
    runs : tuple of str
        Names of the runs that it made or found.
    folder : Path
        See the module.
    """

    id: str
    command: str
    task: str | None
    argv: tuple[str, ...]
    title: str
    kind: Kind
    status: Status
    created: str
    started: str | None
    ended: str | None
    exit_code: int | None
    message: str | None
    runs: tuple[str, ...]
    folder: Path
    group_id: int | None = None
    """Process group of the command; of use only while ``command.lock`` is held."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.status in OVER

    @property
    def project(self) -> Path:
        """The project folder, in which the command runs."""
        return self.folder.parents[3]

    @property
    def events_path(self) -> Path:
        """What the command tells of its progress."""
        return self.folder / "events.jsonl"

    @property
    def log_path(self) -> Path:
        """Its standard error."""
        return self.folder / "log.txt"

    @property
    def output_path(self) -> Path:
        """Its standard output."""
        return self.folder / "output.txt"

    @property
    def worker_lock(self) -> Path:
        """Held while the worker lives."""
        return self.folder / "worker.lock"

    @property
    def command_lock(self) -> Path:
        """Held while the command lives."""
        return self.folder / "command.lock"

    @property
    def cancel_path(self) -> Path:
        """There once somebody asked for the end."""
        return self.folder / "cancel"

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for its end."""
        return self.cancel_path.exists()

    def to_json(self) -> dict[str, Any]:
        """What the JSON API says of it."""
        return {
            "id": self.id,
            "command": self.command,
            "task": self.task,
            "argv": list(self.argv),
            "title": self.title,
            "kind": self.kind,
            "status": self.status,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "exit_code": self.exit_code,
            "message": self.message,
            "runs": list(self.runs),
        }


def now() -> str:
    """The time, ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
