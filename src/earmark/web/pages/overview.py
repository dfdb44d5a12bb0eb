"""The first page: what the project has per task, what is next, what runs, and how much room there is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from earmark.errors import EarmarkError
from earmark.web.cache_state import data_bytes
from earmark.web.data_tables import counts_of, data_folder, is_prepared
from earmark.web.page import page
from earmark.web.pages.data import market_record
from earmark.web.run_changes import runs_of
from earmark.web.site import Site, SiteOf
from earmark.web.tasks_here import tasks_of

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

N_LATEST = 6
MEANINGS = {
    "zones": "Energy zones of tracks",
    "meter": "Bars of songs and the microphone",
    "appliance": "Machines of a room by sound",
    "market": "Moves of a price by its order book",
}
SERVED = tuple(MEANINGS)
"""Tasks with a page of their own."""


@dataclass(frozen=True)
class Next:
    """What to do next: the command, and a form (`address`) or a command that starts at once (`command`, `task`)."""

    text: str
    words: str
    label: str
    address: str = ""
    command: str = ""
    task: str = ""


@dataclass(frozen=True)
class State:
    """One task of the project."""

    slug: str
    meaning: str
    n_items: int | None
    n_folds: int | None
    n_runs: int
    production: dict[str, Any] | None
    next: Next
    demo: Next | None
    problem: str | None = None

    @property
    def is_prepared(self) -> bool:
        """Whether there is something to train on."""
        return self.n_items is not None


@router.get("/")
def show(request: Request, site: SiteOf) -> Response:
    """The overview."""
    listing = runs_of(site).look()
    settings = site.invocation().settings()
    tasks = [_state(site, slug, task, listing.rows) for slug, task in tasks_of(site).items()]
    return page(
        request,
        "overview.html",
        title="Overview",
        section="overview",
        folder=site.folder,
        tasks=tasks,
        is_new=not listing.rows and not listing.n_unread and not any(task.is_prepared for task in tasks),
        latest=listing.rows[: -N_LATEST - 1 : -1],
        n_runs=len(listing.rows) + listing.n_unread,
        cache_bytes=data_bytes(settings.path("cache")),
        disk=shutil.disk_usage(site.folder),
    )


def _state(site: Site, slug: str, task: str, rows: Sequence[dict[str, Any]]) -> State:
    n_items, n_folds, problem, name = None, None, None, slug
    try:
        folder = data_folder(site, task)
        name = folder.name
        if task == "market":
            n_items = _market_samples(folder)
        elif is_prepared(folder):
            n_items, n_folds = counts_of(folder)
    except EarmarkError as error:
        problem = str(error)
    own = [row for row in rows if row["task"] == name]
    production = next((row for row in reversed(own) if row["stage"] == "production"), None)
    following = _next(slug, task, n_items is not None, bool(own), production is not None)
    is_empty = n_items is None and not own
    demo = Next("", f"earmark demo {task}", "Try the demo", command="demo", task=task)
    return State(
        slug,
        MEANINGS.get(task, "A task of this project"),
        n_items,
        n_folds,
        len(own),
        production,
        following,
        demo if is_empty and task in SERVED else None,
        problem,
    )


def _next(slug: str, task: str, is_ready: bool, has_runs: bool, is_promoted: bool) -> Next:
    """The next command in the life of a task."""
    if not is_ready and not has_runs:
        if task == "market":
            return Next(
                "Nothing is recorded yet.", "earmark collect market", "Collect", f"/training/{slug}/collect"
            )
        return Next(
            "Nothing is prepared yet.", f"earmark prepare {task}", "Prepare", f"/training/{slug}/prepare"
        )
    if not has_runs:
        return Next("Ready to train.", f"earmark train {task}", "Train", f"/training/{slug}")
    if not is_promoted:
        words = "earmark runs promote NAME"
        return Next("No run is in production.", words, "Choose a run", f"/runs?task={slug}")
    address = f"/{slug}" if task in SERVED else f"/training/{slug}/predict"
    return Next("A model answers.", f"earmark predict {task}", "Use it", address)


def _market_samples(folder: Path) -> int | None:
    record = market_record(folder)
    return None if record is None else int(record["n_samples"])
