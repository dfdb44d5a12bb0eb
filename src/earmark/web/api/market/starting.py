"""Starting commands of market from a request: one at a time where two would get in each other's way."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import HTTPException, Path
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from earmark.web.api.jobs import submitted
from earmark.web.documents import Refusal
from earmark.web.forms import FormError, form_of
from earmark.web.jobs.job import Job, JobStateError, Kind, UnknownJobError
from earmark.web.site import Site

__all__ = [
    "TASK",
    "JobId",
    "Started",
    "active",
    "cancelled",
    "refusals",
    "started",
    "started_alone",
]

TASK = "market"

_one_at_a_time = threading.Lock()

JobId = Annotated[str, Path(pattern=r"^\d{8}_\d{6}(_\d+)?$", max_length=40, description="Id of a job.")]


class Started(BaseModel):
    """A command that was put into the queue, or begun."""

    job_id: str
    status: str = "started"
    message: str


def refusals(**reasons: str) -> dict[int | str, dict[str, Any]]:
    """Documentation of answers that say why not: ``refusals(_409="One runs.")``."""
    return {int(code[1:]): {"model": Refusal, "description": reason} for code, reason in reasons.items()}


def active(site: Site, command: str, kind: Kind = "job") -> list[Job]:
    """Jobs of a command of market that run or wait, the newest first."""
    own = form_of(command, TASK)
    return [
        job
        for status in ("running", "pending")
        for job in site.jobs.store.list(status, TASK, own.command, kind, limit=None)
        if job.argv[len(own.command.split()) + 1 :][: len(own.words)] == own.words
    ]


def started(site: Site, command: str, values: Mapping[str, Any], what: str) -> Started:
    """Start a command of market; what its form refuses is told with the names of the fields.

    Raises
    ------
    RequestValidationError
        Status 422.
    """
    try:
        job = submitted(site, command, TASK, {name: _text(value) for name, value in values.items()})
    except FormError as error:
        raise RequestValidationError(
            [
                {
                    "loc": ("body", name or "values"),
                    "msg": text,
                    "type": "value_error",
                    "input": values.get(name),
                }
                for name, text in error.errors.items()
            ]
        ) from error
    return Started(job_id=job.id, message=f"{what}: job {job.id}.")


def started_alone(
    site: Site, command: str, values: Mapping[str, Any], what: str, *, kind: Kind = "job", queue: bool = False
) -> Started:
    """The same, where no other job of the command runs or waits.

    Raises
    ------
    HTTPException
        Status 409: one does, and `queue` does not let this one wait for it.
    """
    with _one_at_a_time:
        others = active(site, command, kind)
        if others and not queue:
            raise HTTPException(
                409,
                f"{what} runs already: job {others[0].id} is {others[0].status}. Wait for it, or stop it first.",
            )
        return started(site, command, values, what)


def cancelled(site: Site, jobs: Sequence[Job], what: str) -> list[Job]:
    """Ask for the end of jobs.

    Raises
    ------
    HTTPException
        Status 409: there is none, or it is over.
    """
    if not jobs:
        raise HTTPException(409, f"{what} does not run.")
    try:
        return [site.jobs.cancel(job.id) for job in jobs]
    except (JobStateError, UnknownJobError) as error:
        raise HTTPException(409, str(error)) from error


def _text(value: Any) -> Any:
    """A value as a form sends it: objects as JSON, lists with commas between."""
    if isinstance(value, Mapping):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return value
