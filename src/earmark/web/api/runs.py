"""`/api/runs`: what `earmark runs` prints, and promotions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from earmark.cli.run_documents import comparison_document
from earmark.training.production import rollback
from earmark.training.runs import compare, show
from earmark.web.documents import CONFLICT, RUN, TASK, UNKNOWN, RunName, TaskWanted, as_printed
from earmark.web.run_changes import promoted, run_named, runs_of
from earmark.web.site import SiteOf

__all__ = ["router"]

router = APIRouter(prefix="/api/runs", tags=["runs"])

ONLY_LISTED = ("rank_by", "score", "is_leaky")
"""What the index knows besides the document."""

Stage = Literal["production", "staging", "archived"]


class RunRow(BaseModel):
    """One run of a list; ``created`` is ISO 8601 in UTC."""

    name: str
    task: str
    algorithm: str
    strategy: str
    stage: Stage | None
    created: str
    seconds: float | None
    path: str
    metrics: dict[str, float | None]


class RunDocument(BaseModel):
    """One run: its whole configuration, its scores and its thresholds."""

    name: str
    path: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    auxiliary_metrics: dict[str, Any]
    decision: dict[str, Any] | None


class ComparisonDocument(BaseModel):
    """Two runs; scores of different rows or folds are not comparable."""

    first: str
    second: str
    comparable: bool
    metrics: dict[str, dict[str, Any]]
    config: dict[str, dict[str, Any]]


class PromotionRequest(BaseModel):
    """Where a run goes, and why."""

    reason: str = Field("", max_length=2000)
    force: bool = Field(False, description="Also where the run is clearly worse, or failed its gate.")
    stage: Stage = "production"


class PromotionDocument(BaseModel):
    """The run, the one before it, and how they differ with a 95 % interval."""

    task: str
    run: str
    stage: Stage
    before: str | None
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    losses: list[str]


class RollbackRequest(BaseModel):
    """Whose last promotion is undone."""

    task: str = Field(pattern=TASK)


class RollbackDocument(BaseModel):
    """The run that is in use again."""

    task: str
    run: str


Wanted = Annotated[str, Query(pattern=RUN)]


@router.get("", response_model=list[RunRow], summary="List runs")
def listed(
    site: SiteOf,
    task: TaskWanted = None,
    limit: Annotated[int | None, Query(ge=1, le=1_000_000, description="Only the newest so many.")] = None,
) -> Response:
    """The oldest first, as ``earmark runs list --format json``."""
    rows = [row for row in runs_of(site).look(None).rows if task is None or row["task"] == task]
    return as_printed([_document(row) for row in (rows[-limit:] if limit else rows)])


@router.get("/compare", response_model=ComparisonDocument, responses=UNKNOWN, summary="Compare two runs")
def compared(site: SiteOf, first: Wanted, second: Wanted) -> Response:
    """Scores and settings in which they differ, as ``earmark runs compare --format json``."""
    return as_printed(comparison_document(compare(run_named(site, first), run_named(site, second))))


@router.post(
    "/rollback", response_model=RollbackDocument, responses=UNKNOWN, summary="Undo the last promotion"
)
def rolled_back(site: SiteOf, request: RollbackRequest) -> Response:
    """The run before it is in use again, as after ``earmark runs rollback``."""
    return as_printed({"task": request.task, "run": rollback(runs_of(site).root, request.task).name})


@router.get("/{name}", response_model=RunDocument, responses=UNKNOWN, summary="Show a run")
def shown(site: SiteOf, name: RunName) -> Response:
    """As ``earmark runs show --format json``."""
    return as_printed(show(run_named(site, name)))


@router.post(
    "/{name}/promote", response_model=PromotionDocument, responses=UNKNOWN | CONFLICT, summary="Promote a run"
)
async def promote(site: SiteOf, name: RunName, request: PromotionRequest) -> Response:
    """Let predictions use it; 409 where it is clearly worse than the run in use, or failed its gate."""
    run = await run_in_threadpool(run_named, site, name)
    root = runs_of(site).root
    document = await site.answers.ask(promoted, root, run.path, request.reason, request.force, request.stage)
    return as_printed(document)


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ONLY_LISTED}
