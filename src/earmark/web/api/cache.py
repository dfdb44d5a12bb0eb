"""`/api/cache`: what `earmark cache` prints of sizes, currency and reasons."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from earmark.web import cache_state
from earmark.web.documents import TASK, UNKNOWN, TaskWanted, as_printed
from earmark.web.errors import NotFoundError
from earmark.web.site import SiteOf
from earmark.web.tasks_here import task_named

__all__ = ["GROUP", "router"]

router = APIRouter(prefix="/api/cache", tags=["cache"])

GROUP = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"


class CacheStats(BaseModel):
    """The cache as a whole, and its groups or their versions; sizes in bytes, times in seconds."""

    path: str
    file_bytes: int
    entries: int
    bytes: int
    groups: list[dict[str, Any]]
    coverage: list[dict[str, Any]] | None = None


class CacheCheck(BaseModel):
    """Items of each group that are fresh, stale, missing or known to fail."""

    task: str
    items: int
    groups: dict[str, dict[str, Any]]


class CacheWhy(BaseModel):
    """What changed in the code of a group since the cache was filled."""

    group: str
    fingerprint: str
    entries: int
    compared_with: str | None
    compared_entries: int
    changes: list[dict[str, Any]]
    file: dict[str, Any] | None


@router.get("/stats", response_model=CacheStats, responses=UNKNOWN, summary="Show sizes and costs")
async def stats(site: SiteOf, task: TaskWanted = None, versions: bool = False) -> Response:
    """As ``earmark cache stats --format json``."""
    named = None if task is None else await run_in_threadpool(task_named, site, task)
    document = await site.answers.ask(cache_state.stats, site.folder, named, versions)
    if document is None:
        raise NotFoundError("There is no cache yet. It is filled by: earmark extract TASK")
    return as_printed(document)


@router.get(
    "/check",
    response_model=CacheCheck | list[dict[str, Any]],
    responses=UNKNOWN,
    summary="Count what is current",
)
async def check(
    site: SiteOf,
    task: Annotated[str, Query(pattern=TASK)],
    features: Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_,.-]{1,200}$")] = None,
) -> Response:
    """As ``earmark cache check --format json``; of market a row per group."""
    named = await run_in_threadpool(task_named, site, task)
    return as_printed(await site.answers.ask(cache_state.check, site.folder, named, features))


@router.get("/why", response_model=CacheWhy, responses=UNKNOWN, summary="Say why a group is stale")
async def why(
    site: SiteOf,
    group: Annotated[str, Query(pattern=GROUP)],
    task: TaskWanted = None,
    earlier: Annotated[str | None, Query(alias="from", pattern=r"^[0-9a-f]{1,32}$")] = None,
) -> Response:
    """As ``earmark cache why --format json``."""
    named = None if task is None else await run_in_threadpool(task_named, site, task)
    document, _ = await site.answers.ask(cache_state.why, site.folder, group, named, earlier)
    return as_printed(document)
