"""`/api/data`: what `earmark data` prints."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.responses import Response

from earmark.data.show import ledger_rows
from earmark.errors import UsageError
from earmark.web.data_tables import Prepared, data_folder, is_prepared, items_of, prepared
from earmark.web.documents import UNKNOWN, TaskName, as_printed
from earmark.web.errors import NotFoundError
from earmark.web.paging import LARGEST, Wanted
from earmark.web.site import Site, SiteOf
from earmark.web.tasks_here import task_named

__all__ = ["prepared_of", "router"]

router = APIRouter(prefix="/api/data", tags=["data"])


class Items(BaseModel):
    """Some of the prepared items, by id, and how many there are."""

    items: list[dict[str, Any]]
    total: int
    offset: int


class Count(BaseModel):
    """Items and groups of one split, fold and class."""

    split: str
    fold: int
    label: str
    items: int
    groups: int


class LedgerEntry(BaseModel):
    """An opening, or a new draw, of the test set."""

    when: str | None
    event: str | None
    run: str | None
    reason: str | None
    commit: str | None
    version: str | None
    n: int | None


@router.get("/{task}/items", response_model=Items, responses=UNKNOWN, summary="List prepared items")
def items(
    site: SiteOf,
    task: TaskName,
    split: Annotated[Literal["train", "test", "auxiliary", "purged"] | None, Query()] = None,
    fold: Annotated[int | None, Query(ge=-1, le=10_000)] = None,
    q: Annotated[str, Query(max_length=200, description="Words of id, label or group.")] = "",
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Query(ge=1, le=LARGEST)] = 100,
) -> Response:
    """The rows of ``earmark data show --format json``, a page at a time; labels of the test set are sealed."""
    also = {"split": split, "fold": None if fold is None else str(fold)}
    wanted = Wanted(
        offset, limit, q=q, also={name: value for name, value in also.items() if value is not None}
    )
    page = items_of(prepared_of(site, task), wanted)
    return as_printed({"items": list(page.rows), "total": page.n_rows, "offset": offset})


@router.get("/{task}/splits", response_model=list[Count], responses=UNKNOWN, summary="Count the splits")
def splits(site: SiteOf, task: TaskName) -> Response:
    """As ``earmark data show --summary --format json``."""
    return as_printed(prepared_of(site, task).counts)


@router.get("/{task}/ledger", response_model=list[LedgerEntry], responses=UNKNOWN, summary="Read the ledger")
def ledger(site: SiteOf, task: TaskName) -> Response:
    """Openings of the test set, as ``earmark data ledger --format json``."""
    return as_printed(ledger_rows(data_folder(site, task_named(site, task))))


def prepared_of(site: Site, slug: str) -> Prepared:
    """The prepared items of a task; raises NotFoundError and UsageError."""
    task = task_named(site, slug)
    if task == "market":
        raise NotFoundError("The samples of market lie in its store, by date. See: earmark store list market")
    folder = data_folder(site, task)
    if not is_prepared(folder):
        raise UsageError(
            f"`{folder}` holds no manifest. Make one from your labels. Run: earmark prepare {task}"
        )
    return prepared(folder)
