"""`/api/ensemble`: trainings of the two transformers of order books, and their progress by WebSocket."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel

from earmark.web.api.market import live
from earmark.web.api.market.progress import TrainingJob, model_of, training_job
from earmark.web.api.market.starting import TASK, JobId, Started, cancelled, refusals, started_alone
from earmark.web.api.market.training import TrainRequest, data_status, training_of
from earmark.web.site import SiteOf

__all__ = ["MODELS", "router"]

router = APIRouter(prefix="/api/ensemble")

MODELS = ("mpd", "tlob")


class EnsembleRequest(BaseModel):
    """Which model, and its settings."""

    model_type: Literal["mpd", "tlob"]
    settings: TrainRequest = TrainRequest()

    def values(self) -> dict[str, Any]:
        """What was given, as the form of the command takes it."""
        return self.settings.values() | {"model_name": self.model_type}


class Symbols(BaseModel):
    """Contracts of which rows are stored."""

    symbols: list[str]


@router.post("/training/start", responses=refusals(_409="A training runs already, and `queue` is not given"))
def start(site: SiteOf, request: EnsembleRequest, queue: bool = False) -> Started:
    """Start a training of MPD or TLOB."""
    return started_alone(site, "train", request.values(), "A training", queue=queue)


@router.get("/training/status/{job_id}", responses=refusals(_404="No training has this id"))
def status(site: SiteOf, job_id: JobId) -> TrainingJob:
    """Where a training stands."""
    return training_job(training_of(site, job_id))


@router.get("/training/list")
def listed(site: SiteOf, limit: Annotated[int, Query(ge=1, le=100)] = 10) -> list[TrainingJob]:
    """Trainings of MPD and TLOB, the newest first."""
    jobs = site.jobs.store.list(None, TASK, "train", "job", limit=10 * limit)
    return [training_job(job) for job in jobs if model_of(job) in MODELS][:limit]


@router.post(
    "/training/cancel/{job_id}", responses=refusals(_404="No training has this id", _409="It is over already")
)
def cancel(site: SiteOf, job_id: JobId) -> TrainingJob:
    """End a training."""
    return training_job(cancelled(site, [training_of(site, job_id)], "The training")[0])


@router.get("/training/available-symbols")
def available_symbols(site: SiteOf) -> Symbols:
    """Contracts that can be trained on."""
    return Symbols(symbols=data_status(site).symbols)


@router.websocket("/ws")
async def listen(socket: WebSocket, site: SiteOf) -> None:
    """Progress of MPD and TLOB, a message per epoch."""
    await live.serve(socket, live.messages(site, MODELS))
