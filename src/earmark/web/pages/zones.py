"""`/zones`: drop tracks, see their zones, take them away as lists or write them into tags."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from earmark.audio.decode import AUDIO_SUFFIXES
from earmark.tasks.project import Project
from earmark.web.page import page
from earmark.web.settings import MEBIBYTE
from earmark.web.site import SiteOf
from earmark.web.zones.asking import TASK

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/zones")
def show(request: Request, site: SiteOf) -> Response:
    """The page; what it lists is asked for by its script."""
    from earmark.tasks.verbs.predict import METHODS

    project = site.project(TASK)
    runs = _runs(project)
    return page(
        request,
        "zones.html",
        title="Zones",
        section="zones",
        runs=runs,
        methods=METHODS if runs else ("rules",),
        threshold=project.settings.predict.threshold,
        has_five_way=_has_five_way(project),
        suffixes=sorted(AUDIO_SUFFIXES),
        max_mb=site.settings.max_upload_bytes // MEBIBYTE,
        limits={"suffixes": sorted(AUDIO_SUFFIXES), "bytes": site.settings.max_upload_bytes},
        folders=[str(folder) for folder in site.allowed.folders],
    )


def _runs(project: Project) -> list[str]:
    """Names of the runs that answer unless a page names another, newest first."""
    from earmark.training.runs import list_runs

    return [run.name for run in reversed(list_runs(project.runs_folder, TASK)) if not run.is_leaky]


def _has_five_way(project: Project) -> bool:
    from earmark.tasks.verbs.targets import newest_target

    return newest_target(project, "av") is not None
