"""`/api/ml-backtesting/holdout`: the sealed period, of which a project has one.

It is made by ``earmark prepare market``, and it is never deleted: what was trained since was chosen without it, so that
another period could not stand in its place.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException
from pydantic import BaseModel

from earmark.data.time_seal import SealedPeriod
from earmark.tasks.market.prepare import FOLDER, data_folder
from earmark.web.api.market.starting import Started, refusals, started_alone
from earmark.web.documents import Refusal
from earmark.web.site import SiteOf

__all__ = ["router"]

router = APIRouter(prefix="/api/ml-backtesting/holdout")

Values = Annotated[
    dict[str, Any], Body(description="Options by name, as `GET /api/forms/prepare?task=market` lists them.")
]


class Holdout(BaseModel):
    """A sealed period, in ms since 1970 UTC, both ends included, and how often it was opened."""

    id: str
    first_ms: int
    last_ms: int
    days: float
    openings: int
    runs: int
    reseals: int


@router.get("")
def holdouts(site: SiteOf) -> list[Holdout]:
    """The sealed period; none where nothing was prepared."""
    period = SealedPeriod(data_folder(site.folder) / FOLDER)
    bounds = period.bounds
    if bounds is None:
        return []
    opened = period.openings()
    return [
        Holdout(
            id="sealed",
            first_ms=bounds.first_ms,
            last_ms=bounds.last_ms,
            days=round((bounds.last_ms - bounds.first_ms) / 86_400_000, 3),
            openings=opened.count,
            runs=opened.n_runs,
            reseals=opened.n_reseals,
        )
    ]


@router.post("", responses=refusals(_409="Data are being prepared already"))
def create(site: SiteOf, values: Values) -> Started:
    """Seal the newest period and divide the rest, as ``earmark prepare market``; an opened period stays where it is."""
    return started_alone(site, "prepare", values, "Preparation")


@router.delete("/{holdout_id}", status_code=409, response_model=Refusal)
def delete(holdout_id: str) -> None:
    """Refused: models were chosen without these rows, and no others are like that."""
    raise HTTPException(
        409,
        "The sealed period is not deleted: models were chosen without its rows, and no other rows are like that. To "
        "begin it elsewhere, with the reason on record: earmark prepare market --reseal REASON",
    )
