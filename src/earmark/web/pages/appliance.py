"""The page of a room: what runs now, what ran, what was heard then, and what a recording says."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from earmark.audio.decode import AUDIO_SUFFIXES
from earmark.errors import EarmarkError
from earmark.tasks.appliance.decoding.presets import DECODERS, PRESETS
from earmark.tasks.appliance.detector import read_card
from earmark.tasks.appliance.room import ROOM_FILE, Room
from earmark.tasks.appliance.runs import answering_run
from earmark.tasks.appliance.schema import none_on
from earmark.tasks.appliance.serving.floor import Floor
from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE
from earmark.web.appliance import listening
from earmark.web.appliance.answers import LONGEST_S
from earmark.web.page import page
from earmark.web.site import Site, SiteOf

__all__ = ["router"]

router = APIRouter(prefix="/appliance", include_in_schema=False)

PRESETS_OF_FORM = {
    "": "As the run was fitted",
    "g3": "g3: medians of 6 s windows",
    "snappier": "snappier: 4 s windows",
    "less-flapping": "less-flapping: longer medians",
    "g2": "g2: hold times, 4 s windows",
    "g2-fast": "g2-fast: hold times, 2 s windows",
    "fast": "fast: a window length per device",
}


@dataclass(frozen=True)
class Step:
    """What must be there before anything is answered: a command, and the page that starts it."""

    title: str
    command: str
    address: str
    is_done: bool


@dataclass(frozen=True)
class Answering:
    """The run that answers, or why there is none."""

    run: str | None
    devices: tuple[str, ...]
    none_on: str
    floor: Floor | None
    training_floor_dbfs: float | None
    steps: tuple[Step, ...]
    problem: str | None

    @property
    def is_ready(self) -> bool:
        """Whether a recording would be answered."""
        return self.problem is None and all(step.is_done for step in self.steps[1:])


@router.get("")
def show(request: Request, site: SiteOf) -> HTMLResponse:
    """The page."""
    answering = answering_of(site)
    services = listening.services(site.jobs.store)
    service = services[0] if services else None
    return page(
        request,
        "appliance.html",
        title="Appliance",
        section="appliance",
        answering=answering,
        service=service,
        is_listening=service is not None and not service.is_over,
        heard=None if service is None else listening.heard_with(service),
        line=listening.newest_line(site.jobs.store),
        presets={name: PRESETS_OF_FORM.get(name, name) for name in ("", *PRESETS)},
        decoders=("", *DECODERS),
        clips=str(listening.CLIPS),
        suffixes=sorted(AUDIO_SUFFIXES),
        longest_min=round(LONGEST_S / 60),
    )


def answering_of(site: Site) -> Answering:
    """What a question would be answered by; reads small files alone."""
    project = site.project("appliance")
    room = project.data_folder / ROOM_FILE
    run, problem, own, floor, level = None, None, None, None, None
    try:
        run = answering_run(project).path
        card = read_card(run)
        own, level, floor = Room.from_json(card).devices, card.get("floor_dbfs"), Floor.read(run)
    except EarmarkError as error:
        problem = str(error)
    has_thresholds = run is not None and (run / THRESHOLDS_FILE).is_file()
    steps = (
        Step("Prepare the recordings", "prepare", "/training/appliance/prepare", room.is_file()),
        Step("Train a model", "train", "/training/appliance", run is not None),
        Step("Choose its thresholds", "thresholds", "/training/appliance/thresholds", has_thresholds),
    )
    name = None if run is None else run.name
    devices = () if own is None else own.names
    return Answering(name, devices, "" if own is None else none_on(own), floor, level, steps, problem)
