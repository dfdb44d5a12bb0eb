"""`/api/hyperopt`: searches for settings, which are jobs of ``earmark grid market``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query, Response
from pydantic import BaseModel

from earmark.tasks.market.prepare import data_folder
from earmark.tasks.market.search.spaces import GROUPS, groups_for
from earmark.tasks.market.search.state import Folder
from earmark.web.api.market.progress import TrainingStatus, told_status
from earmark.web.api.market.starting import TASK, Started, active, cancelled, refusals, started_alone
from earmark.web.jobs import events
from earmark.web.site import Site, SiteOf

__all__ = ["SearchStatus", "router", "search_folder", "search_status"]

router = APIRouter(prefix="/api/hyperopt")

Values = Annotated[
    dict[str, Any], Body(description="Options by name, as `GET /api/forms/grid?task=market` lists them.")
]
WHAT = "A search"


class Search(BaseModel):
    """A job that searched; times are ISO 8601 in UTC."""

    job_id: str
    status: TrainingStatus
    created_at: str
    ended_at: str | None
    argv: list[str]
    message: str | None


class SearchStatus(BaseModel):
    """Where the search of the project stands; `state` is None where nothing was searched."""

    is_running: bool
    current_job: Search | None
    state: str | None
    groups: list[str]
    current_group: str | None
    groups_done: list[dict[str, Any]]
    elapsed_s: float
    latest_trial: dict[str, Any] | None
    can_resume: bool


class Trials(BaseModel):
    """Trials of the search, in the order in which they were made."""

    trials: list[dict[str, Any]]
    total: int


class ParameterGroup(BaseModel):
    """Settings that are searched together."""

    name: str
    settings: list[str]


class SearchHealth(BaseModel):
    """Whether a search could be started."""

    status: str
    optuna: bool
    message: str


@router.post("/start", responses=refusals(_409="A search runs already"))
def start(site: SiteOf, values: Values) -> Started:
    """Start a search, as ``earmark grid market`` with these options."""
    return started_alone(site, "grid", values, WHAT)


@router.post("/stop", responses=refusals(_409="No search runs"))
def stop(site: SiteOf) -> SearchStatus:
    """End the search after the epoch that runs; it can be resumed."""
    cancelled(site, active(site, "grid"), WHAT)
    return search_status(site)


@router.post("/resume", responses=refusals(_409="A search runs already, or there is none to go on with"))
def resume(site: SiteOf) -> Started:
    """Go on with the search that was ended before it was finished."""
    if not search_status(site).can_resume and not active(site, "grid"):
        raise HTTPException(409, "There is no search to go on with. Start one.")
    return started_alone(site, "grid", {"mode": "resume"}, WHAT)


@router.get("/status")
def status(site: SiteOf) -> SearchStatus:
    """The running search, the groups it is through with, and its latest trial."""
    return search_status(site)


@router.get("/results")
def results(
    site: SiteOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    offset: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
) -> Trials:
    """Trials of the search."""
    found = search_folder(site).results()
    return Trials(trials=found[offset : offset + limit], total=len(found))


@router.get("/best-params", responses=refusals(_404="Nothing was found yet"))
def best_params(site: SiteOf) -> dict[str, Any]:
    """The winning settings: a body for ``POST /api/ml-management/train``."""
    folder = search_folder(site)
    if not folder.has_best:
        raise HTTPException(404, "Nothing was searched yet. Run: earmark grid market --mode quick")
    return folder.best()


@router.get("/history")
def history(site: SiteOf, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> list[Search]:
    """Searches that were started here, the newest first."""
    return [_search(job) for job in site.jobs.store.list(None, TASK, "grid", "job", limit)]


@router.post("/clear", status_code=204, responses=refusals(_409="A search runs"))
def clear(site: SiteOf) -> Response:
    """Remove all trials and what was found, as ``earmark grid market --reset`` does."""
    if active(site, "grid"):
        raise HTTPException(409, "A search runs. Stop it first.")
    folder = search_folder(site)
    with folder.locked():
        folder.reset()
    return Response(status_code=204)


@router.get("/parameter-groups", responses=refusals(_400="The model has nothing to search"))
def parameter_groups(
    model: Annotated[str, Query(pattern=r"^[a-z_]+$", max_length=40)] = "hybrid_cnn_lstm",
) -> list[ParameterGroup]:
    """Groups of settings that a model has, in the order in which they are searched."""
    settings = {"labeling_method": "triple_barrier"}
    return [ParameterGroup(name=one.name, settings=list(one.space)) for one in groups_for(model, settings)]


@router.get("/health")
def health() -> SearchHealth:
    """Whether what a search needs is installed."""
    has_optuna = find_spec("optuna") is not None
    message = f"{len(GROUPS)} groups of settings." if has_optuna else 'Run: pip install "earmark[search]"'
    return SearchHealth(status="ok" if has_optuna else "unavailable", optuna=has_optuna, message=message)


def search_folder(site: Site) -> Folder:
    """The files of the project's search."""
    return Folder(data_folder(site.folder) / "hyperopt")


def search_status(site: Site) -> SearchStatus:
    """Where the search stands, from its files and its job."""
    state, running = search_folder(site).read(), active(site, "grid")
    shown = next(iter(running), None)
    latest = None if shown is None else events.latest(shown)
    is_resumable = state is not None and state.status != "completed" and not running
    return SearchStatus(
        is_running=shown is not None,
        current_job=None if shown is None else _search(shown),
        state=None if state is None else state.status,
        groups=[] if state is None else list(state.groups),
        current_group=None if state is None else state.current,
        groups_done=[] if state is None else [_plain(one) for one in state.done],
        elapsed_s=0.0 if state is None else state.elapsed_s,
        latest_trial=latest or None,
        can_resume=is_resumable,
    )


def _plain(result: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(result)


def _search(job: Any) -> Search:
    return Search(
        job_id=job.id,
        status=told_status(job.status),
        created_at=job.created,
        ended_at=job.ended,
        argv=list(job.argv),
        message=job.message,
    )
