"""`/meter`: tempo, meter, beats and bars of a file or a microphone, and a metronome.

The page computes nothing about music: it shows documents of `earmark predict meter` and messages of
`earmark live meter`. What it is given here are the meters that may be chosen and how their bars can be grouped.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from earmark.audio.decode import AUDIO_SUFFIXES
from earmark.tasks.meter.schema import SAMPLE_RATE, SIGNATURES
from earmark.web.page import page
from earmark.web.settings import MEBIBYTE
from earmark.web.site import SiteOf

__all__ = ["meters", "router"]

router = APIRouter(include_in_schema=False)


@router.get("/meter")
def show(request: Request, site: SiteOf) -> Response:
    """The page with its three tabs."""
    return page(
        request,
        "meter.html",
        title="Meter",
        section="meter",
        meters=meters(),
        suffixes=sorted(AUDIO_SUFFIXES),
        sample_rate=SAMPLE_RATE,
        largest_mb=site.settings.max_upload_bytes // MEBIBYTE,
    )


def meters() -> list[dict[str, Any]]:
    """The meters that may be chosen, each with the groupings of its bar, the usual one first.

    Examples
    --------
    >>> meters()[3]
    {'name': '5/4', 'groupings': [[3, 2], [2, 3]]}
    """
    return [{"name": name, "groupings": _groupings(int(name.split("/")[0]))} for name in SIGNATURES]


def _groupings(beats: int) -> list[list[int]]:
    from earmark.tasks.meter.grouping import candidate_groupings
    from earmark.tasks.meter.signatures import grouping_by_rule

    usual = grouping_by_rule(beats)
    others = (one for one in candidate_groupings(beats) if one != usual)
    return [list(one) for one in (usual, *others)]
