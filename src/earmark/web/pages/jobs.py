"""Pages of jobs: the queue with its history, and one job as it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, get_args
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from earmark.web.api.jobs import submitted
from earmark.web.errors import NotFoundError
from earmark.web.jobs.events import latest
from earmark.web.jobs.job import STATUSES, Job, Status, UnknownJobError
from earmark.web.jobs.text import TEXT_BYTES, read_text
from earmark.web.page import fragment, page
from earmark.web.paging import Page, Wanted
from earmark.web.site import Site, SiteOf
from earmark.web.tasks_here import tasks_of

__all__ = ["router"]

router = APIRouter(prefix="/jobs", include_in_schema=False)

JobId = Annotated[str, Path(pattern=r"^[0-9]{8}_[0-9]{6}(_[0-9]{1,6})?$")]

LARGEST_OUTPUT = 1 << 20
"""Bytes of a document that are drawn as tables; of a larger one the beginning is shown as text."""

MOST_ROWS = 200
"""Of one table in a document."""


@router.get("")
def show_list(request: Request, site: SiteOf) -> Response:
    """All jobs, the newest first, a page at a time."""
    return page(
        request, "jobs.html", title="Jobs", section="jobs", shown=_listed(request, site), statuses=STATUSES
    )


@router.get("/table")
def table(request: Request, site: SiteOf) -> Response:
    """The table alone: asked for again while the page is open."""
    return fragment(request, "parts/jobs_table.html", shown=_listed(request, site))


@router.get("/running")
def running(request: Request, site: SiteOf) -> Response:
    """What runs and waits now, in a few lines."""
    active = [job for status in ("running", "pending") for job in site.jobs.store.list(status, limit=20)]
    return fragment(request, "parts/jobs_running.html", jobs=[(job, latest(job)) for job in active])


@router.post("/start")
async def start(request: Request, site: SiteOf) -> Response:
    """Start a command from a button, and go to its page."""
    sent = await request.form()
    values = {name: text for name, text in sent.items() if isinstance(text, str)}
    command, task = values.pop("command", ""), values.pop("task", None) or None
    job = await run_in_threadpool(submitted, site, command, task, values)
    return Response(status_code=204, headers={"HX-Redirect": f"/jobs/{job.id}"})


@router.get("/{job_id}")
def show_job(request: Request, site: SiteOf, job_id: JobId) -> Response:
    """One job: how it goes, and what came of it."""
    job = _job(site, job_id)
    return page(request, "job.html", title=job.title, section="jobs", **_context(site, job))


@router.get("/{job_id}/card")
def card(request: Request, site: SiteOf, job_id: JobId) -> Response:
    """The part of the page that changes."""
    return fragment(request, "parts/job_card.html", **_context(site, _job(site, job_id)))


def _listed(request: Request, site: Site) -> Page:
    wanted = Wanted.of(request.query_params, also=("status",))
    asked = wanted.also.get("status")
    status: Status | None = next((one for one in get_args(Status) if one == asked), None)
    store = site.jobs.store
    jobs = store.list(status, limit=wanted.limit, offset=wanted.offset)
    return Page([job.to_json() for job in jobs], store.count(status), wanted)


def _job(site: Site, job_id: str) -> Job:
    try:
        return site.jobs.store.get(job_id)
    except UnknownJobError as error:
        raise NotFoundError(str(error)) from error


def _context(site: Site, job: Job) -> dict[str, Any]:
    output, is_document = _output(job)
    return {
        "job": job,
        "latest": latest(job),
        "log": read_text(job.log_path, -TEXT_BYTES).text,
        "output": output,
        "parts": _parts(output) if is_document else [],
        "is_document": is_document,
        "form_address": _form_address(site, job),
    }


def _output(job: Job) -> tuple[Any, bool]:
    """What the job printed: the document of one that is over, else the end of its text."""
    size = job.output_path.stat().st_size if job.output_path.exists() else 0
    if job.is_over and job.kind == "job" and 0 < size <= LARGEST_OUTPUT:
        try:
            return json.loads(job.output_path.read_bytes()), True
        except ValueError:
            pass  # a command that was stopped, or one that prints text
    return read_text(job.output_path, -TEXT_BYTES).text, False


def _parts(document: Any) -> list[dict[str, Any]]:
    """A document as lists of facts and tables: what is nested deeper is shown as JSON in its cell."""
    if isinstance(document, list):
        return [_table("Result", document)]
    if not isinstance(document, dict):
        return [{"title": "Result", "facts": [("value", document)]}]
    facts = [(name, value) for name, value in document.items() if not _is_rows(value)]
    tables = [_table(name, value) for name, value in document.items() if _is_rows(value)]
    return [*([{"title": "Result", "facts": facts}] if facts else []), *tables]


def _table(title: str, rows: Any) -> dict[str, Any]:
    named = [{"name": key, **row} for key, row in rows.items()] if isinstance(rows, dict) else list(rows)
    shown = [row if isinstance(row, dict) else {"value": row} for row in named[:MOST_ROWS]]
    columns = list(dict.fromkeys(column for row in shown for column in row))
    return {"title": title, "facts": [], "columns": columns, "rows": shown, "n_rows": len(named)}


def _is_rows(value: Any) -> bool:
    rows = list(value.values()) if isinstance(value, Mapping) else value
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)


def _form_address(site: Site, job: Job) -> str | None:
    """The form of the same command with the same settings; None where its task is not in this project any more."""
    slug = next((slug for slug, task in tasks_of(site).items() if task == job.task), None)
    if slug is None:
        return None
    given = dict(
        word.removeprefix("--").split("=", 1) for word in job.argv if word.startswith("--") and "=" in word
    )
    values = {name.replace("-", "_"): text for name, text in given.items() if name != "set"}
    place = f"/training/{quote(slug)}" + ("" if job.command == "train" else f"/{quote(job.command)}")
    return place + (f"?{urlencode(values)}" if values else "")
