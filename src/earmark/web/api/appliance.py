"""`/api/appliance`: what a room sounds like now, what it did, and what a recording says.

=========================  ===========================================================================================
``latest``                 the newest line of `live appliance`, as it printed it
``events``                 devices that switched
``history``                probabilities, health and states over time, in as many steps as asked for
``stream``                 server-sent events: ``line`` (as printed), ``switch``, ``state``, ``status`` of the service
``predict``                a recording -> the object of ``predict appliance --format json``
``hear``                   a recording -> that, and its windows and events as ``stream appliance`` hears them
``devices``                the sound devices, as ``live appliance --list-devices-json`` prints them
``clips/{name}``           what was heard when a device switched
=========================  ===========================================================================================

Times are seconds of the Unix epoch.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi import Path as PathParameter
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, StreamingResponse

from earmark.audio.decode import AUDIO_SUFFIXES
from earmark.errors import WorkerError
from earmark.tasks.appliance.serving.clips import CLIP_NAME
from earmark.web.api.jobs import After
from earmark.web.appliance import listening
from earmark.web.appliance.answers import heard, predicted
from earmark.web.appliance.log import end_of_lines
from earmark.web.documents import Refusal
from earmark.web.errors import NotFoundError
from earmark.web.jobs.job import Job
from earmark.web.site import Site, SiteOf
from earmark.web.sse import event_stream
from earmark.web.uploads import Upload, body_of_files, discard, take

__all__ = ["router"]

router = APIRouter(prefix="/api/appliance", tags=["appliance"])

LIST_S, MOST_LISTINGS = 20.0, 4
DAY_S = 24 * 3600
SILENT = "Nobody has listened yet. Start it on the page, or run: earmark live appliance"


class Switch(BaseModel):
    """A device that switched."""

    timestamp: float
    device: str
    kind: str
    prob: float
    window_index: int
    clip: str | None


class Switches(BaseModel):
    """Switches, oldest first."""

    events: list[Switch]


class HistoryDocument(BaseModel):
    """A stretch of time in equal steps; `on` are spans of [from, to, true, false or null]."""

    start: float
    step_s: float
    p: dict[str, list[float | None]]
    health: list[str | None]
    on: dict[str, list[tuple[float, float, bool | None]]]
    n_lines: int


class SoundDevices(BaseModel):
    """Sound devices that can hear; `problem` where they cannot be listed."""

    default_input: int | None = None
    default_output: int | None = None
    devices: list[dict[str, Any]] = []
    problem: str | None = None


def _refusals(**meanings: str) -> dict[int | str, dict[str, Any]]:
    return {int(code[1:]): {"model": Refusal, "description": text} for code, text in meanings.items()}


_ANSWERS = _refusals(
    _400="No file came",
    _404="The run that was asked for does not exist, or has no thresholds",
    _409="Nothing was trained",
    _413="Too large",
    _415="Not a kind of recording that is read",
    _422="Cannot be decoded, or is too short",
    _503="The process that computes died",
)


@router.get("/latest", responses=_refusals(_404="Nobody has listened yet"), summary="Show the newest line")
def latest(site: SiteOf) -> dict[str, Any]:
    """The newest line of `live appliance`: state, probabilities, health."""
    line = listening.newest_line(site.jobs.store)
    if line is None:
        raise NotFoundError(SILENT)
    return line


@router.get("/events", summary="List switches")
def events(
    site: SiteOf,
    since: Annotated[float, Query(ge=0, le=1e11)] = 0.0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Switches:
    """Devices that switched after `since`, the newest `limit` of them."""
    clips = site.folder / listening.CLIPS
    return Switches.model_validate({"events": listening.switches(site.jobs.store, since, limit, clips)})


@router.get("/history", summary="Show the last minutes or hours")
def history(
    site: SiteOf,
    seconds: Annotated[float, Query(ge=1, le=7 * DAY_S)] = 600.0,
    points: Annotated[int, Query(ge=1, le=2000)] = 600,
) -> HistoryDocument:
    """Means of the probabilities, the worst health, and when each device ran."""
    now = time.time()
    found = listening.history(site.jobs.store, now - seconds, now, points)
    on = listening.strips(site.jobs.store, now - seconds)
    return HistoryDocument(**vars(found), on=on)


@router.get(
    "/stream",
    responses=_refusals(_404="Nobody has listened yet"),
    response_class=StreamingResponse,
    summary="Listen to the lines",
)
async def stream(
    site: SiteOf, after: After = None, last_event_id: Annotated[str | None, Header(max_length=200)] = None
) -> StreamingResponse:
    """Lines of the newest service as they come, first the newest there is; ends when the service does."""
    services = await run_in_threadpool(listening.services, site.jobs.store)
    if not services:
        raise NotFoundError(SILENT)
    return event_stream(_events(site, services[0], last_event_id or after))


@router.post(
    "/predict", responses=_ANSWERS, openapi_extra=body_of_files(many=False), summary="Answer a recording"
)
async def predict(request: Request, site: SiteOf, details: bool = False) -> dict[str, Any]:
    """Which devices are on in a recording: state, and the median of each device."""
    upload = await _recording(request)
    try:
        return await site.answers.ask(predicted, site.folder, upload.path, upload.name, with_details=details)
    finally:
        discard(upload)


@router.post(
    "/hear",
    responses=_ANSWERS,
    openapi_extra=body_of_files(many=False),
    summary="Hear a recording as a stream",
)
async def hear(request: Request, site: SiteOf) -> dict[str, Any]:
    """The answer of `predict` with details, and each window with what the decoder made of it."""
    upload = await _recording(request)
    try:
        return await site.answers.ask(heard, site.folder, upload.path, upload.name)
    finally:
        discard(upload)


@router.get(
    "/devices", responses=_refusals(_503="They are being listed already"), summary="List sound devices"
)
async def devices(site: SiteOf) -> SoundDevices:
    """The sound devices of the machine that the server runs on, listed anew: one may just have been plugged in."""
    with _one_more_listing():
        out, err, exit_code = await _list_devices(site.folder)
    if exit_code != 0:
        said = [line for line in err.splitlines() if line.strip()]
        return SoundDevices(problem=said[-1].removeprefix("error: ") if said else "They cannot be listed.")
    return SoundDevices(**json.loads(out))


_listings: set[object] = set()


@contextmanager
def _one_more_listing() -> Iterator[None]:
    """Each takes a process for a moment: many who ask at once must not fill the machine with them."""
    if len(_listings) >= MOST_LISTINGS:
        raise WorkerError("The sound devices are being listed for others already. Ask again in a moment.")
    mine = object()
    _listings.add(mine)
    try:
        yield
    finally:
        _listings.discard(mine)


async def _list_devices(folder: Path) -> tuple[str, str, int | None]:
    """What a fresh process prints of them, for the sound system lists what is new to new processes alone."""
    words = ("-C", str(folder), "live", "appliance", "--list-devices-json")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "earmark", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), LIST_S)
    except TimeoutError as error:
        raise WorkerError(f"The sound system did not answer within {LIST_S:g} s. Try again.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), process.returncode


@router.get(
    "/clips/{name}",
    responses=_refusals(_404="There is no such clip, or no longer"),
    response_class=FileResponse,
    summary="Hear a clip",
)
def clip(
    site: SiteOf, name: Annotated[str, PathParameter(pattern=f"^{CLIP_NAME}$", max_length=300)]
) -> FileResponse:
    """The seconds around a switch, FLAC."""
    path = site.folder / listening.CLIPS / name
    if not path.is_file():
        raise NotFoundError(f"There is no clip `{name}`. Only the newest are kept.")
    return FileResponse(path, media_type="audio/flac")


async def _recording(request: Request) -> Upload:
    """The file of the form, under a name in which nothing has a meaning of its own."""
    [upload] = await take(request, suffixes=AUDIO_SUFFIXES)
    plain = upload.path.rename(upload.path.with_name(f"recording{upload.path.suffix.lower()}"))
    return Upload(plain, upload.name, upload.n_bytes, upload.fields)


async def _events(site: Site, job: Job, after: str | None) -> AsyncIterator[dict[str, Any]]:
    if after is None:
        newest, position = await run_in_threadpool(_now, job)
        if newest is not None:
            yield {"type": "line", "id": position, **newest}
    else:
        position = after
    behind = _offset_of(position)
    async for event in site.feed.subscribe(job.id, after=position):
        if event["type"] == "output":
            for line in _numbered(_lines(_new_part(event, behind)), event["id"]):
                yield line
        elif event["type"] in ("switch", "state", "status"):
            yield event


def _now(job: Job) -> tuple[dict[str, Any] | None, str]:
    """The newest line of a service, and the id in the feed of what follows it; its log is not asked for."""
    told = end_of_lines(job.events_path)
    newest, end = listening.newest_of(job)
    return newest, f"{told}.{1 << 62}.{end}"


def _offset_of(event_id: str) -> int:
    last = event_id.rpartition(".")[2]
    return int(last) if last.isascii() and last.isdigit() else 0


def _new_part(event: dict[str, Any], behind: int) -> str:
    """The text of a piece of output from the byte `behind` on: the first piece may begin before it."""
    text: str = event["text"]
    start = _offset_of(event["id"]) - len(text.encode())
    return text if start >= behind else text.encode()[behind - start :].decode("utf-8", "replace")


def _numbered(lines: list[dict[str, Any]], event_id: str) -> Iterator[dict[str, Any]]:
    """Events of lines; the id stands at the last, behind which nothing of them is missing."""
    for line in lines[:-1]:
        yield {"type": "line", **line}
    for line in lines[-1:]:
        yield {"type": "line", "id": event_id, **line}


@lru_cache(maxsize=64)
def _lines(text: str) -> list[dict[str, Any]]:
    """Lines of one piece of output: read once, however many look on."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:  # torn by a full disk
            continue
    return [line for line in found if isinstance(line, dict) and "timestamp" in line]
