"""`/api/ml-management/collector`: ``earmark collect market`` as a service, and how it fares per symbol."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel

from earmark.errors import UsageError
from earmark.web.api.market.starting import Started, active, cancelled, refusals, started_alone
from earmark.web.site import Site, SiteOf

__all__ = ["CollectorState", "SymbolState", "collector_state", "router"]

router = APIRouter(prefix="/api/ml-management/collector")

Values = Annotated[
    dict[str, Any], Body(description="Options by name, as `GET /api/forms/collect` lists them.")
]


class SymbolState(BaseModel):
    """One symbol of the running or last collector; ages in s, counts since its start."""

    symbol: str
    state: str
    age_s: float | None
    rows_per_min: float | None
    samples: int
    gaps: int
    reconnects: int
    resyncs: int
    crossed: int
    reason: str


class CollectorState(BaseModel):
    """The running or last collector; `message` says what to do where none has run."""

    is_running: bool
    job_id: str | None
    message: str
    venue: str | None = None
    updated: str | None = None
    started: str | None = None
    backlog_bytes: int | None = None
    rss_mb: float | None = None
    disk_free_bytes: int
    symbols: list[SymbolState] = []


@router.get("/status")
def status(site: SiteOf) -> CollectorState:
    """How the collector fares, from the file that it writes every few seconds."""
    return collector_state(site)


@router.post("/start", responses=refusals(_409="It runs already"))
def start(site: SiteOf, values: Values) -> Started:
    """Start to collect, as ``earmark collect market``, until it is stopped."""
    return started_alone(site, "collect", values, "The collector", kind="service")


@router.post("/stop", responses=refusals(_409="It does not run"))
def stop(site: SiteOf) -> CollectorState:
    """End the collector that was started here; what is buffered is written."""
    cancelled(site, active(site, "collect", "service"), "A collector that was started from here")
    return collector_state(site)


def collector_state(site: Site) -> CollectorState:
    """What the status file says, and whether the collector is a service of this server."""
    import shutil

    from earmark.tasks.market.collect.status import read_status
    from earmark.tasks.market.collect.verb import places_of

    places, running = places_of(site.invocation().settings()), active(site, "collect", "service")
    free = shutil.disk_usage(site.folder).free
    job_id = running[0].id if running else None
    try:
        found = read_status(places.status)
    except UsageError as error:
        return CollectorState(
            is_running=bool(running), job_id=job_id, message=str(error), disk_free_bytes=free
        )
    return CollectorState(
        is_running=found["is_running"],
        job_id=job_id,
        message="",
        venue=found["venue"],
        updated=found["updated"],
        started=found["started"],
        backlog_bytes=found["backlog_bytes"],
        rss_mb=found["rss_mb"],
        disk_free_bytes=free,
        symbols=[_symbol(name, row, found) for name, row in found["symbols"].items()],
    )


def _symbol(name: str, row: dict[str, Any], found: dict[str, Any]) -> SymbolState:
    return SymbolState(
        symbol=name,
        state=row["state"] if found["is_running"] else "ended",
        age_s=row["age_s"],
        rows_per_min=_rows_per_min(row["total_samples"], found),
        samples=row["total_samples"],
        gaps=row["counts"].get("gaps", 0),
        reconnects=row["reconnects"],
        resyncs=row["resyncs"],
        crossed=row["updates"].get("crossed", 0),
        reason=row["reason"] or row["last_skip"] or "",
    )


def _rows_per_min(samples: int, found: dict[str, Any]) -> float | None:
    """Mean since its start, by this machine's clock; None of a collector that has just begun."""
    from datetime import datetime

    started, updated = (datetime.fromisoformat(found[name]) for name in ("started", "updated"))
    minutes = (updated - started).total_seconds() / 60
    return round(samples / minutes, 2) if minutes > 0 else None
