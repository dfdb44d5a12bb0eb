"""Pages of market: how collecting fares, the data, the registry, retraining, MLflow, statistics and searches.

Each tab has an address of its own, so that it opens quickly and Back finds it; trainings are on the training page.
What changes is a part of its tab: it is asked for again every few seconds while something runs, and not otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from earmark.tasks.market.task import CLASSES
from earmark.web.api.market.collection import collector_state
from earmark.web.api.market.hyperopt import search_folder, search_status
from earmark.web.api.market.models import model_page, runs_root
from earmark.web.api.market.retraining import state as retraining_state
from earmark.web.api.market.starting import TASK, active
from earmark.web.api.market.training import data_status, recent_trainings
from earmark.web.page import fragment, page
from earmark.web.pages.training import MODEL_TABS, tasks_of
from earmark.web.run_index import index_of
from earmark.web.site import Site, SiteOf

__all__ = ["TABS", "router"]

router = APIRouter(prefix="/market", include_in_schema=False)

TABS = (
    ("health", "Health"),
    ("data", "Data"),
    ("registry", "Registry"),
    ("retraining", "Auto-retraining"),
    ("mlflow", "MLflow"),
    ("statistics", "Statistics"),
    ("layering", "Layering"),
    ("optimisation", "Optimisation"),
)
Tab = Literal["health", "data", "registry", "retraining", "mlflow", "statistics", "layering", "optimisation"]
Live = Literal["health", "data", "retraining", "optimisation"]

STAGE_TABS = (("", "All"), ("production", "Production"), ("staging", "Staging"), ("archived", "Archived"))
DATA_COMMANDS = ("label", "migrate legacy", "prepare", "store validate")
N_MODELS = 25
N_SCORES = 200
N_TRIALS = 100
"""Newest of each that a tab shows."""

Context = dict[str, Any]


@router.get("")
def first(request: Request, site: SiteOf) -> Response:
    """How collecting fares."""
    return _shown(request, site, "health")


@router.get("/registry")
def registry(
    request: Request,
    site: SiteOf,
    stage: Annotated[Literal["", "production", "staging", "archived"], Query()] = "",
    offset: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
) -> Response:
    """Models of a stage."""
    models = model_page(site, stage=stage or None, limit=N_MODELS, offset=offset)
    return _page(
        request, "registry", models=models, stage=stage, stages=STAGE_TABS, offset=offset, limit=N_MODELS
    )


@router.get("/mlflow/runs")
async def mlflow_runs(request: Request, site: SiteOf) -> HTMLResponse:
    """Runs in MLflow: asked for by its tab once that is there, since MLflow takes seconds."""
    from earmark.tasks.market.training.tracked import best_tracked, newest_tracked

    best = await site.answers.ask(best_tracked, site.folder, "val_accuracy")
    newest = await site.answers.ask(newest_tracked, site.folder, 10)
    return fragment(request, "parts/market_mlflow.html", best=best, newest=newest)


@router.get("/live/{tab}")
def live(request: Request, site: SiteOf, tab: Live) -> HTMLResponse:
    """The part of a tab that changes; once nothing runs any more, the whole page is loaded again."""
    context = _CONTEXT[tab](site)
    answer = fragment(request, f"parts/market_{tab}.html", **context)
    if not context["runs"]:
        answer.headers["HX-Refresh"] = "true"
    return answer


@router.get("/{tab}")
def shown(request: Request, site: SiteOf, tab: Tab) -> Response:
    """A tab."""
    return _shown(request, site, tab)


def _shown(request: Request, site: Site, tab: str) -> Response:
    return _page(request, tab, **_CONTEXT[tab](site))


def _page(request: Request, tab: str, **context: Any) -> HTMLResponse:
    return page(
        request,
        f"market_{tab}.html",
        title="Market",
        section="market",
        tabs=TABS,
        models_to_train=MODEL_TABS,
        tab=tab,
        **context,
    )


def _health(site: Site) -> Context:
    collector = collector_state(site)
    symbols = site.invocation().settings().settings.market.symbols
    runs = collector.is_running or collector.job_id is not None
    return {"collector": collector, "runs": runs, "symbols": ",".join(symbols)}


def _data(site: Site) -> Context:
    jobs = [job for command in DATA_COMMANDS for job in active(site, command)]
    return {"jobs": jobs, "runs": bool(jobs)} | _stored(site)


def _stored(site: Site) -> Context:
    from earmark.tasks.market.validation.glance import coverage_strip, gap_rows

    status, store = data_status(site), _store(site)
    return {
        "data": status,
        "strip": coverage_strip(store),
        "gaps": gap_rows(store, status.group, limit=50),
    }


def _store(site: Site) -> Any:
    from earmark.tasks.market.validation.glance import store_of

    return store_of(site.invocation().settings().path("data") / "feature_store")


def _retraining(site: Site) -> Context:
    state = retraining_state(site)
    history = [{**one, "what": _in_words(one)} for one in state.history]
    return {"state": state, "history": history, "runs": state.is_running}


def _in_words(decision: Mapping[str, Any]) -> str:
    told = (
        (name, value)
        for name, value in decision.items()
        if name not in ("time", "event") and value is not None
    )
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in told
    )


def _statistics(site: Site) -> Context:
    from earmark.tasks.market.validation.glance import symbol_rows

    status, store = data_status(site), site.jobs.store
    rows = [row for row in index_of(site.settings, runs_root(site)).look().rows if row["task"] == TASK]
    counts = {name: store.count(name, TASK, "train", "job") for name in ("completed", "failed", "cancelled")}
    return {
        "data": status,
        "symbols": symbol_rows(_store(site), status.group),
        "trainings": counts,
        "n_runs": len(rows),
        "scores": _scores(rows[-N_SCORES:]),
        "last": next((job for job in recent_trainings(site) if job.status == "completed"), None),
        "classes": CLASSES,
    }


def _scores(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Series of a chart: a score per run, in the order of the runs."""
    listed = list(rows)
    named = (("accuracy", "accuracy"), ("macro_f1", "macro-F1"))
    return [
        {
            "name": label,
            "x": list(range(1, len(listed) + 1)),
            "y": [row["metrics"].get(name) for row in listed],
        }
        for name, label in named
    ]


def _layering(site: Site) -> Context:
    from earmark.tasks.registry import BUILT_IN

    return {"tasks": {slug: task for slug, task in tasks_of(site).items() if task not in BUILT_IN}}


def _optimisation(site: Site) -> Context:
    folder, status = search_folder(site), search_status(site)
    trials = folder.results()
    return {
        "search": status,
        "runs": status.is_running,
        "trials": trials[-N_TRIALS:][::-1],
        "n_trials": len(trials),
        "best": folder.best() if folder.has_best else {},
    }


def _nothing(site: Site) -> Context:
    return {}


_CONTEXT: Mapping[str, Callable[[Site], Context]] = {
    "health": _health,
    "data": _data,
    "retraining": _retraining,
    "mlflow": _nothing,
    "statistics": _statistics,
    "layering": _layering,
    "optimisation": _optimisation,
}
