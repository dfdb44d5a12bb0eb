"""`/api/ml-management/retraining`: ``earmark train market --watch`` as a service, and what it decided."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, HTTPException, Query
from pydantic import BaseModel

from earmark.tasks.market.retraining.project import place_of
from earmark.web.api.market.starting import Started, active, cancelled, refusals, started_alone
from earmark.web.api.market.training import TrainRequest
from earmark.web.site import SiteOf

__all__ = ["RetrainingState", "router", "state"]

router = APIRouter(prefix="/api/ml-management/retraining")

N_SHOWN = 50
TIME_OF_DAY = r"^([01]?\d|2[0-3]):[0-5]\d$|^never$"
PERIOD = r"^\d{1,4}(\.\d{1,3})?\s?[smhd]$"


class RetrainingRequest(BaseModel):
    """When to look, and settings of the trainings."""

    schedule: Annotated[str, Body(pattern=TIME_OF_DAY, description="Time of day in UTC, or never.")] = "03:00"
    drift_every: Annotated[str, Body(pattern=PERIOD)] = "60m"
    performance_every: Annotated[str, Body(pattern=PERIOD)] = "30m"
    settings: TrainRequest = TrainRequest()


class RetrainingState(BaseModel):
    """Whether the service runs, when it last did what (seconds since 1970), and its decisions, the newest first."""

    is_running: bool
    job_id: str | None
    schedule: str | None
    last_scheduled_s: float
    last_drift_s: float
    last_performance_s: float
    history: list[dict[str, Any]]


class Asked(BaseModel):
    """What was asked of the service."""

    status: Literal["triggered"] = "triggered"
    trigger: str
    message: str


@router.post("/start", responses=refusals(_409="It runs already"))
def start(site: SiteOf, request: RetrainingRequest) -> Started:
    """Start to watch: trainings by the clock, for drift and for lost accuracy."""
    values = request.settings.values() | {
        "watch": True,
        "schedule": request.schedule,
        "drift_every": request.drift_every,
        "performance_every": request.performance_every,
    }
    return started_alone(site, "train", values, "Auto-retraining", kind="service")


@router.post("/stop", responses=refusals(_409="It does not run"))
def stop(site: SiteOf) -> RetrainingState:
    """End the service; a training that it has begun goes on at its last epoch the next time."""
    cancelled(site, active(site, "train", "service"), "Auto-retraining")
    return state(site)


@router.post(
    "/trigger", responses=refusals(_409="The service does not run, or does not train for this reason")
)
def trigger(
    site: SiteOf,
    trigger: Annotated[Literal["manual", "drift", "performance", "scheduled"], Query()] = "manual",
) -> Asked:
    """Ask the service for a training now. Drift, accuracy and the clock are judged by the service alone."""
    if trigger != "manual":
        raise HTTPException(
            409,
            f"A training for the reason `{trigger}` follows from a measurement, which the service makes itself. Ask "
            "for a manual one, or have everything looked at once: earmark train market --watch --once",
        )
    if not active(site, "train", "service"):
        raise HTTPException(
            409,
            "Auto-retraining does not run. Start it, or train at once: earmark train market --watch --once",
        )
    place_of(site.folder).ask()
    return Asked(trigger=trigger, message="The service trains as soon as it has finished what it does.")


@router.get("/status")
def status(site: SiteOf) -> RetrainingState:
    """Whether it runs, and what it decided."""
    return state(site)


def state(site: SiteOf) -> RetrainingState:
    """What there is to know of the service."""
    place = place_of(site.folder)
    memory, running = place.read(), active(site, "train", "service")
    words = running[0].argv if running else ()
    schedule = next((word.partition("=")[2] for word in words if word.startswith("--schedule=")), None)
    return RetrainingState(
        is_running=bool(running),
        job_id=running[0].id if running else None,
        schedule=schedule,
        last_scheduled_s=memory.scheduled_s,
        last_drift_s=memory.drift_s,
        last_performance_s=memory.performance_s,
        history=place.history()[: -N_SHOWN - 1 : -1],
    )
