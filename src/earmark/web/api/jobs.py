"""`/api/jobs`: commands that run in processes of their own, and what they tell meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, StreamingResponse

from earmark.web.documents import Refusal
from earmark.web.forms import FormError, arguments, form_of, kind_of
from earmark.web.jobs.job import Job, JobStateError, Kind, Status, UnknownJobError
from earmark.web.jobs.text import TEXT_BYTES, Text, read_text
from earmark.web.site import SiteOf
from earmark.web.sse import event_stream

__all__ = ["JobDocument", "router", "submitted"]

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


class JobDocument(BaseModel):
    """A command that waits, runs or has ended; times are ISO 8601 in UTC."""

    id: str
    command: str
    task: str | None
    argv: list[str]
    title: str
    kind: Kind
    status: Status
    created: str
    started: str | None
    ended: str | None
    exit_code: int | None
    message: str | None
    runs: list[str]
    latest: dict[str, Any] = Field(default_factory=dict, description="Newest value of all that it told.")


class JobPage(BaseModel):
    """Some of the jobs, the newest first, and how many there are."""

    jobs: list[JobDocument]
    total: int


class Request(BaseModel):
    """A command as its form gives it: fields that are left out keep their defaults."""

    command: str = Field(examples=["train"])
    task: str | None = Field(None, examples=["zones"])
    values: dict[str, Any] = Field(default_factory=dict)


class TextPage(BaseModel):
    """A piece of a text that may still grow; offsets are bytes, and pieces end where a line does if they can."""

    text: str
    offset: int
    next_offset: int
    size: int
    is_over: bool


class FormRefusal(Refusal):
    """What is wrong with each field; the empty name: with all of them together."""

    errors: dict[str, str]


_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Refusal, "description": "No job has this id"}}
_IN_STATE: dict[int | str, dict[str, Any]] = {
    409: {"model": Refusal, "description": "Not possible in the state that the job is in"}
}
_FORM: dict[int | str, dict[str, Any]] = {
    422: {"model": FormRefusal, "description": "Values that the command would refuse"}
}
Offset = Annotated[int, Query(description="Byte to begin at; negative: from the end.")]
Limit = Annotated[int, Query(ge=1, le=1 << 20, description="Bytes at most.")]
After = Annotated[
    str | None,
    Query(max_length=200, description="The `id` of the last event that is known; the next ones follow."),
]


@router.post("", status_code=201, responses=_FORM, response_model=JobDocument, summary="Start a command")
def submit(site: SiteOf, request: Request) -> Any:
    """Put a command into the queue, with the values of its form; services start at once."""
    try:
        return JobDocument(**submitted(site, request.command, request.task, request.values).to_json())
    except FormError as error:
        return JSONResponse({"detail": str(error), "errors": error.errors}, 422)


def submitted(site: SiteOf, command: str, task: str | None, values: dict[str, Any]) -> Job:
    """The job of a form that was filled in; raises FormError. Pages use it, too."""
    form = form_of(command, task)
    words = arguments(form, values, site.allowed)
    return site.jobs.submit(form.command, form.task, words, kind=kind_of(form, words))


@router.get("", summary="List jobs")
def listed(
    site: SiteOf,
    status: Status | None = None,
    task: str | None = None,
    command: str | None = None,
    kind: Kind | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, lt=1 << 62)] = 0,
) -> JobPage:
    """Jobs that have all that is named, the newest first."""
    store = site.jobs.store
    jobs = store.list(status, task, command, kind, limit, offset)
    total = store.count(status, task, command, kind)
    return JobPage(jobs=[_document(job) for job in jobs], total=total)


@router.get("/events", summary="Listen to all jobs", response_class=StreamingResponse)
async def all_events(site: SiteOf) -> StreamingResponse:
    """Changes of status of all jobs, as server-sent events; first those of the newest jobs."""
    return event_stream(site.feed.subscribe())


@router.get("/{job_id}", responses=_UNKNOWN, summary="Show a job")
def shown(site: SiteOf, job_id: str) -> JobDocument:
    """The job, with the newest of what it told."""
    return _document(_known(site, job_id))


@router.get("/{job_id}/log", responses=_UNKNOWN, summary="Read the log of a job")
def log(site: SiteOf, job_id: str, offset: Offset = 0, limit: Limit = TEXT_BYTES) -> TextPage:
    """A piece of its standard error."""
    job = _known(site, job_id)
    return _page(job, read_text(job.log_path, offset, limit))


@router.get("/{job_id}/output", responses=_UNKNOWN, summary="Read the output of a job")
def output(site: SiteOf, job_id: str, offset: Offset = 0, limit: Limit = TEXT_BYTES) -> TextPage:
    """A piece of its standard output: of a job a JSON document, of a service JSON lines."""
    job = _known(site, job_id)
    return _page(job, read_text(job.output_path, offset, limit))


@router.get(
    "/{job_id}/events", responses=_UNKNOWN, summary="Listen to a job", response_class=StreamingResponse
)
async def events(
    site: SiteOf,
    job_id: str,
    after: After = None,
    last_event_id: Annotated[str | None, Header(max_length=200)] = None,
) -> StreamingResponse:
    """All that it tells, as server-sent events, until it is over; first what it has told so far."""
    await run_in_threadpool(_known, site, job_id)
    return event_stream(site.feed.subscribe(job_id, after=last_event_id or after))


@router.post("/{job_id}/cancel", responses=_UNKNOWN | _IN_STATE, summary="Stop a job")
def cancel(site: SiteOf, job_id: str) -> JobDocument:
    """Ask for its end. What runs ends within seconds and keeps its finished work."""
    with _refusing():
        return JobDocument(**site.jobs.cancel(job_id).to_json())


@router.post("/{job_id}/resume", status_code=201, responses=_UNKNOWN | _IN_STATE, summary="Run a job again")
def resume(site: SiteOf, job_id: str) -> JobDocument:
    """Put the same command into the queue, as a new job; it goes on where the other was."""
    with _refusing():
        return JobDocument(**site.jobs.resume(job_id).to_json())


@router.delete("/{job_id}", status_code=204, responses=_UNKNOWN | _IN_STATE, summary="Forget a job")
def delete(site: SiteOf, job_id: str) -> Response:
    """Remove a job that is over from the list, with its log; runs that it made stay."""
    with _refusing():
        site.jobs.delete(job_id)
    return Response(status_code=204)


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell what jobs refuse by the status that fits."""
    try:
        yield
    except UnknownJobError as error:
        raise HTTPException(404, str(error)) from error
    except JobStateError as error:
        raise HTTPException(409, str(error)) from error


def _document(job: Job) -> JobDocument:
    from earmark.web.jobs.events import latest

    return JobDocument(**job.to_json(), latest=latest(job))


def _known(site: SiteOf, job_id: str) -> Job:
    with _refusing():
        return site.jobs.store.get(job_id)


def _page(job: Job, piece: Text) -> TextPage:
    return TextPage(
        text=piece.text,
        offset=piece.offset,
        next_offset=piece.next_offset,
        size=piece.size,
        is_over=job.is_over,
    )
