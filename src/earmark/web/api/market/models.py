"""`/api/ml-management/models`: the registry, which is the folder of runs; and what MLflow holds.

A model's name is its algorithm, its version the name of its run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import BaseModel
from starlette.responses import FileResponse

from earmark.errors import RunError
from earmark.tasks.market.training.tracked import TrackedRuns, best_tracked, newest_tracked
from earmark.training.production import PRODUCTION, STAGES, rollback
from earmark.training.runs import Run, load_run
from earmark.web.api.market.starting import TASK, refusals
from earmark.web.run_index import index_of
from earmark.web.site import Site, SiteOf

__all__ = ["Model", "ModelPage", "model_page", "router", "runs_root"]

router = APIRouter(prefix="/api/ml-management")

FILES = ("model.onnx", "model.int8.onnx", "model/*", "run.toml", "MODEL_CARD.md")
"""What may be downloaded; without a choice the first of them that there is."""

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)]
Stage = Literal["production", "staging", "archived", "none"]
UNKNOWN = {"_404": "There is no such model"}


class Model(BaseModel):
    """A run in the registry; `stage` is none for one that was given none."""

    name: str
    version: str
    stage: Stage
    created_at: str
    description: str
    metrics: dict[str, float | None]
    gate_passed: bool | None
    files: list[str]


class ModelPage(BaseModel):
    """Some models, the newest first, and how many there are; `n_unread` older ones are still being read."""

    models: list[Model]
    total: int
    counts: dict[str, int]
    n_unread: int


class Promoted(BaseModel):
    """A model and its stage from now on."""

    name: str
    version: str
    stage: Stage
    before: str | None
    message: str


class Tracked(BaseModel):
    """Runs in MLflow; `reason` says why there is none."""

    uri: str | None
    reason: str | None
    runs: list[dict[str, Any]]


class BestTracked(BaseModel):
    """The best run in MLflow, None where none has the score."""

    metric: str
    reason: str | None
    run: dict[str, Any] | None


@router.get("/models")
def models(
    site: SiteOf,
    stage: Annotated[Stage | None, Query(description="Only those of this stage.")] = None,
    q: Annotated[str, Query(max_length=100, description="Part of a version.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, lt=1 << 31)] = 0,
) -> ModelPage:
    """Models of a stage, the newest first."""
    return model_page(site, stage=stage, q=q, limit=limit, offset=offset)


def model_page(
    site: Site, *, stage: str | None = None, q: str = "", limit: int = 50, offset: int = 0
) -> ModelPage:
    """Some runs of market, the newest first; the folders of the others are not opened."""
    root = runs_root(site)
    listing = index_of(site.settings, root).look()
    rows = [row for row in reversed(listing.rows) if row["task"] == TASK]
    stage_of = {row["name"]: row["stage"] or "none" for row in rows}
    chosen = [
        name for name in stage_of if stage in (None, stage_of[name]) and q.casefold() in name.casefold()
    ]
    runs = [_loaded(root / TASK / name) for name in chosen[offset : offset + limit]]
    counts = Counter(stage_of.values())
    return ModelPage(
        models=[_model(run, stage_of[run.name]) for run in runs if run is not None],
        total=len(chosen),
        counts={name: counts[name] for name in (*STAGES, "none")},
        n_unread=listing.n_unread,
    )


@router.post(
    "/models/{name}/{version}/promote",
    responses=refusals(**UNKNOWN, _400="There is no such stage", _409="The gate is not passed"),
)
def promote(
    site: SiteOf, name: Name, version: Name, stage: Annotated[str, Query(max_length=40)] = PRODUCTION
) -> Promoted:
    """Give a model a stage, as ``earmark runs promote`` does; production asks for the gate."""
    from earmark.tasks.verbs.promote import promote as verb

    if stage not in STAGES:
        raise HTTPException(400, f"There is no stage `{stage}`. Choose one of: {', '.join(STAGES)}.")
    run = _known(site, name, version)
    try:
        promotion = verb(runs_root(site), run.name, reason="from the page", stage=stage)
    except RunError as error:  # of a run that there is: it may not go there
        raise HTTPException(409, str(error)) from error
    before = None if promotion.before is None else promotion.before.name
    told = "; ".join(promotion.losses)
    said = f"{run.name} is in {stage} now." + (f" Beware: {told}." if told else "")
    return Promoted(name=name, version=version, stage=cast(Stage, stage), before=before, message=said)


@router.post("/models/rollback", responses=refusals(_409="There is no promotion to undo"))
def roll_back(site: SiteOf) -> Promoted:
    """Undo the last promotion to production, as ``earmark runs rollback market``."""
    try:
        run = rollback(runs_root(site), TASK)
    except RunError as error:
        raise HTTPException(409, str(error)) from error
    return Promoted(
        name=run.algorithm,
        version=run.name,
        stage="production",
        before=None,
        message=f"{run.name} is in production again.",
    )


@router.get(
    "/models/{name}/{version}/download",
    responses=refusals(**UNKNOWN) | {200: {"content": {"application/octet-stream": {}}}},
    response_class=FileResponse,
)
def download(
    site: SiteOf,
    name: Name,
    version: Name,
    file: Annotated[str | None, Query(max_length=60, description="One of `files`.")] = None,
) -> FileResponse:
    """A file of a model under its true name; its ONNX file where it has one."""
    run = _known(site, name, version)
    found = _files(run.path)
    wanted = file if file is not None else next(iter(found), "")
    if wanted not in found:
        raise HTTPException(404, f"`{run.name}` has no file `{wanted}`. Expected one of: {', '.join(found)}.")
    return FileResponse(
        run.path / wanted,
        filename=f"{run.name}-{wanted.rpartition('/')[2]}",
        media_type="application/octet-stream",
    )


@router.delete(
    "/models/{name}/{version}",
    status_code=204,
    responses=refusals(**UNKNOWN, _409="It is in production"),
)
def delete(site: SiteOf, name: Name, version: Name) -> Response:
    """Delete a model for good; not the one in production."""
    from earmark.training.removal import remove_run

    remove_run(runs_root(site), _known(site, name, version))
    return Response(status_code=204)


@router.get("/mlflow/runs")
async def mlflow_runs(site: SiteOf, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> Tracked:
    """The newest runs in MLflow; none, with the reason, where it is down or absent."""
    found = await site.answers.ask(newest_tracked, site.folder, limit)
    return _tracked(found)


@router.get("/mlflow/best-run")
async def mlflow_best_run(
    site: SiteOf, metric: Annotated[str, Query(pattern=r"^[A-Za-z0-9_]+$", max_length=60)] = "val_accuracy"
) -> BestTracked:
    """The run in MLflow with the best score."""
    found = await site.answers.ask(best_tracked, site.folder, metric)
    return BestTracked(metric=metric, reason=found.reason, run=next(iter(_tracked(found).runs), None))


def runs_root(site: Site) -> FilePath:
    """Folder of the runs of all tasks."""
    return site.invocation().settings().path("runs")


def _known(site: Site, name: str, version: str) -> Run:
    """The run; raises HTTPException with status 404."""
    folder = runs_root(site) / TASK / version
    run = _loaded(folder)
    if run is None or run.algorithm != name:
        raise HTTPException(404, f"There is no model `{name}` of version `{version}`.")
    return run


def _loaded(folder: FilePath) -> Run | None:
    """The run of a folder; None where it is none, or went meanwhile."""
    try:
        return load_run(folder, task=TASK)
    except RunError:
        return None


def _model(run: Run, stage: str) -> Model:
    gate = run.config.get("gate")
    return Model(
        name=run.algorithm,
        version=run.name,
        stage=cast(Stage, stage),
        created_at=str(run.config["created"]),
        description=_description(run.config),
        metrics={name: score["value"] for name, score in run.metrics.items()},
        gate_passed=None if gate is None else bool(gate["passed"]),
        files=_files(run.path),
    )


def _description(config: Mapping[str, Any]) -> str:
    source = config.get("data", {}).get("source", {})
    parts = [
        f"labels {source['horizon_s']} s ahead" if "horizon_s" in source else "",
        f"columns {source['view']}" if "view" in source else "",
        f"{config['rows']} test windows" if "rows" in config else "",
    ]
    return ", ".join(part for part in parts if part)


def _files(folder: FilePath) -> list[str]:
    found = (path for pattern in FILES for path in sorted(folder.glob(pattern)) if path.is_file())
    return [path.relative_to(folder).as_posix() for path in found]


def _tracked(found: TrackedRuns) -> Tracked:
    return Tracked(uri=found.uri, reason=found.reason, runs=[_finite(one) for one in found.runs])


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no nan: such a score is null."""
    metrics = {name: value if abs(value) < float("inf") else None for name, value in row["metrics"].items()}
    return {**row, "metrics": metrics}
