"""`/api/ml-management`: trainings as jobs, labels, migration, and whether the data are ready."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException, Query, WebSocket
from pydantic import BaseModel, Field, field_validator

from earmark.errors import UsageError
from earmark.tasks.market.training.config import TrainConfig
from earmark.tasks.market.training.presets import PRESETS
from earmark.web.api.market import live
from earmark.web.api.market.progress import TrainingJob, training_job
from earmark.web.api.market.starting import (
    TASK,
    JobId,
    Started,
    active,
    cancelled,
    refusals,
    started_alone,
)
from earmark.web.jobs.job import UnknownJobError
from earmark.web.site import Site, SiteOf

__all__ = ["DataStatus", "TrainRequest", "data_status", "recent_trainings", "router", "training_status"]

router = APIRouter(prefix="/api/ml-management")

N_SHOWN = 10
"""Trainings that are listed."""

Values = Annotated[dict[str, Any], Body(description="Options by name, as `GET /api/forms` lists them.")]


class TrainRequest(TrainConfig):
    """Settings of a training; what is left out is as the preset says, by default that of the page."""

    preset: str | None = Field(default="page", description="Set of defaults: " + ", ".join(PRESETS) + ".")

    @field_validator("model_name")
    @classmethod
    def _known_model(cls, name: str) -> str:
        from earmark.models.sequence.registry import canonical_name

        try:
            return canonical_name(name)
        except UsageError as error:
            raise ValueError(str(error)) from error

    def values(self) -> dict[str, Any]:
        """What was given, as the form of the command takes it."""
        given = self.model_dump(
            mode="json", include=set(self.model_fields_set) & set(TrainConfig.model_fields)
        )
        return {"preset": self.preset} | {name: value for name, value in given.items() if value is not None}


class TrainingState(BaseModel):
    """Whether something is trained now, and the last trainings, the newest first."""

    is_training: bool
    current_job: TrainingJob | None
    last_completed: TrainingJob | None
    jobs: list[TrainingJob]


class Item(BaseModel):
    """A requirement: `status` is recommended, minimum or fail."""

    item: str
    value: float
    minimum: float
    recommended: float
    status: str
    next: str


class DataStatus(BaseModel):
    """What statistics of the store tell, without reading its rows; times are ms since 1970 UTC."""

    ready: bool
    group: str
    rows: int
    symbols: list[str]
    days: int
    bytes: int
    first_ms: int | None
    last_ms: int | None
    version: int | None
    label_set: str | None
    coverage: dict[int, float] = Field(description="Horizon in s -> share of rows with a label.")
    schema_ok: bool
    requirements: list[Item]
    messages: list[str] = Field(description="What is missing, each with the next command.")


class ServerHealth(BaseModel):
    """That the server answers, and what it is about to do."""

    status: Literal["ok"] = "ok"
    n_running: int
    n_pending: int


@router.post("/train", responses=refusals(_409="A training runs already, and `queue` is not given"))
def train(site: SiteOf, request: TrainRequest, queue: bool = False) -> Started:
    """Start a training, as ``earmark train market`` does with these settings; `queue` lets it wait for another."""
    return started_alone(site, "train", request.values(), "A training", queue=queue)


@router.get("/training/status")
def training_status(site: SiteOf) -> TrainingState:
    """The training that runs, the last one that was completed, and the last ten."""
    jobs = recent_trainings(site)
    running = next((job for job in jobs if job.status == "running"), None)
    completed = next((job for job in jobs if job.status == "completed"), None)
    return TrainingState(
        is_training=running is not None, current_job=running, last_completed=completed, jobs=jobs
    )


def recent_trainings(site: Site) -> list[TrainingJob]:
    """The last trainings, the newest first; those that run, and the last that was completed, are always among them."""
    store = site.jobs.store
    last = store.list("completed", TASK, "train", "job", limit=1)
    jobs = [*active(site, "train"), *store.list(None, TASK, "train", "job", limit=N_SHOWN), *last]
    found = {job.id: job for job in jobs}
    return [training_job(job) for job in sorted(found.values(), key=lambda job: job.created, reverse=True)]


@router.post(
    "/training/{job_id}/cancel", responses=refusals(_404="No training has this id", _409="It is over already")
)
def cancel(site: SiteOf, job_id: JobId) -> TrainingJob:
    """End a training; it goes on at its last epoch when the same is asked for again."""
    return training_job(cancelled(site, [training_of(site, job_id)], "The training")[0])


def training_of(site: Site, job_id: str) -> Any:
    """The job of a training; raises HTTPException with status 404."""
    try:
        job = site.jobs.store.get(job_id)
    except UnknownJobError as error:
        raise HTTPException(404, str(error)) from error
    if (job.command, job.task) != ("train", TASK):
        raise HTTPException(404, f"The job {job_id} is no training of market.")
    return job


@router.post("/label", responses=refusals(_409="Labels are being computed already"))
def label(site: SiteOf, values: Values) -> Started:
    """Compute labels, as ``earmark label market``."""
    return started_alone(site, "label", values, "Labelling")


@router.post("/migrate", responses=refusals(_409="A migration runs already"))
def migrate(site: SiteOf, values: Values) -> Started:
    """Bring files of the earlier program into the store, as ``earmark migrate market legacy``."""
    return started_alone(site, "migrate legacy", values, "Migration")


@router.post("/data/validate", responses=refusals(_409="The rows are being read already"))
def validate(site: SiteOf) -> Started:
    """Read and check every row, as ``earmark store validate market --ready``; `GET /data/status` reads none."""
    return started_alone(site, "store validate", {"ready": True}, "Validation")


@router.get("/data/status")
def data_status(
    site: SiteOf,
    horizon_s: Annotated[int, Query(ge=1, le=86_400, description="Horizon that is trained on, in s.")] = 60,
) -> DataStatus:
    """Rows, symbols, coverage of labels and the columns, and what is missing with the next command."""
    from earmark.tasks.market.validation.glance import glance, store_of

    settings = site.invocation().settings()
    group = settings.settings.market.feature_store_group
    seen = glance(store_of(settings.path("data") / "feature_store"), group, horizon_s=horizon_s)
    return DataStatus(
        ready=seen.has_minimum,
        group=seen.group,
        rows=seen.rows,
        symbols=list(seen.symbols),
        days=seen.days,
        bytes=seen.n_bytes,
        first_ms=seen.first_ms,
        last_ms=seen.last_ms,
        version=seen.version,
        label_set=seen.label_set,
        coverage=seen.coverage,
        schema_ok=not seen.schema_message,
        requirements=[Item(**asdict(one)) for one in seen.requirements],
        messages=list(seen.messages),
    )


@router.get("/health")
def health(site: SiteOf) -> ServerHealth:
    """Whether the server answers."""
    store = site.jobs.store
    return ServerHealth(n_running=store.count("running"), n_pending=store.count("pending"))


@router.websocket("/ws")
async def listen(socket: WebSocket, site: SiteOf) -> None:
    """Progress of all trainings, a message per epoch."""
    await live.serve(socket, live.messages(site))
