"""The page of the feature cache: sizes and costs, what is current, why not, and upkeep as jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from earmark.tasks.market.prepare import DATASET_FILE
from earmark.web import cache_state
from earmark.web.api.cache import GROUP
from earmark.web.data_tables import data_folder, is_prepared
from earmark.web.documents import TASK
from earmark.web.page import fragment, page
from earmark.web.paging import Wanted, page_of
from earmark.web.site import Site, SiteOf
from earmark.web.tasks_here import task_named, tasks_of

__all__ = ["router"]

router = APIRouter(prefix="/cache", include_in_schema=False)

TaskAsked = Annotated[str, Query(pattern=TASK)]


@router.get("")
def show(request: Request, site: SiteOf) -> Response:
    """The page; what has to be counted comes after it."""
    folder = site.invocation().settings().path("cache")
    return page(
        request,
        "cache.html",
        title="Cache",
        section="cache",
        folder=folder,
        n_bytes=cache_state.data_bytes(folder),
        tasks=dict(sorted(tasks_of(site).items(), key=lambda one: not _has_data(site, one[1]))),
    )


def _has_data(site: Site, task: str) -> bool:
    """Whether there are items to look at: these tasks are offered first."""
    folder = data_folder(site, task)
    return is_prepared(folder) or (folder / DATASET_FILE).is_file()


@router.get("/stats")
async def stats(request: Request, site: SiteOf) -> Response:
    """Entries, bytes and times per group."""
    document = await site.answers.ask(cache_state.stats, site.folder)
    rows = [] if document is None else document["groups"]
    wanted = Wanted.of(request.query_params, limit=200)
    return fragment(request, "parts/cache_stats.html", document=document, shown=page_of(rows, wanted))


@router.get("/check")
async def check(request: Request, site: SiteOf, task: TaskAsked) -> Response:
    """Fresh, stale and missing items per group of a task."""
    named = await run_in_threadpool(task_named, site, task)
    document = await site.answers.ask(cache_state.check, site.folder, named)
    rows = document if isinstance(document, list) else list(document["groups"].values())
    return fragment(request, "parts/cache_check.html", task=task, rows=rows)


@router.get("/why")
async def why(request: Request, site: SiteOf, group: Annotated[str, Query(pattern=GROUP)]) -> Response:
    """What changed in the code of a group."""
    document, changes = await site.answers.ask(cache_state.why, site.folder, group)
    return fragment(request, "parts/cache_why.html", document=document, changes=changes)


@router.get("/stale")
async def stale(request: Request, site: SiteOf, task: TaskAsked) -> Response:
    """Groups of a task that earlier code computed, in a few words."""
    named = await run_in_threadpool(task_named, site, task)
    groups = await site.answers.ask(cache_state.stale_groups, site.folder, named)
    return fragment(request, "parts/cache_stale.html", task=task, groups=groups)
