"""`/api/analyze` and `/api/ws/live`: tempo, meter, beats and sections of a recording that is sent, or of what is heard.

A recording
-----------
``POST /api/analyze`` with the file in the multipart field ``file`` answers the object that
``earmark predict meter FILE --format json`` prints for it, with the upload's own name as ``path``. With
``?peaks=800`` it has one more key, ``peaks``: ``{"min": [...], "max": [...]}``, the lowest and the highest sample of
800 equal parts. Refusals are ``{"detail": sentence}``: 400 no file came, 413 too large, 415 no kind of audio, 422
cannot be decoded, is too short, too long or silent, 409 nothing can answer, 503 the worker died.

``GET /api/analyze`` tells who will answer, and opens that model, so that a page that asks finds it warm:
``{"source", "run", "view", "threshold", "max_upload_bytes", "suffixes", "sample_rate", "warmup_seconds"}``.

``POST /api/analyze?job=ID`` (ID: 8 to 64 letters, digits, ``-``, ``_``, made by the client) also tells how far it is,
to ``GET /api/analyze/progress/ID`` (server-sent events, which may be listened to before the file is sent). Events come
when the step is done:

============  ==========================================================================================
event         fields besides ``type``
============  ==========================================================================================
``received``  ``name``, ``n_bytes``
``decoded``   ``duration`` in seconds, ``windows``
``tracked``   ``done`` of ``total`` windows, once per window; the step is done where both are equal
``answered``  none; the answer is that of the POST. The last event
``failed``    ``detail``: the sentence of the POST. The last event
============  ==========================================================================================

Live
----
``WS /api/ws/live``: the client sends mono float32 samples, little endian, at 22 050 Hz, in binary messages of any size
up to 1 MiB, about 100 ms each. The server sends JSON texts, the messages of ``earmark live meter``
(`earmark.tasks.meter.serving.live`)::

    {"type": "warmup_progress", "seconds": 2.5, "total": 8.0, "onset_count": 6}
    {"type": "onset", "time": 3.1416, "strength": 0.82}
    {"type": "analysis", "t": 8.0, "window": [2.0, 8.0], "data": {...}}
    {"type": "analysis", "t": 8.0, "window": [2.0, 8.0], "data": null, "error": sentence, "code": "silent"}
    {"type": "error", "detail": sentence}                                      # the last; the socket is then closed

The first message is a ``warmup_progress`` with 0 seconds: the listener is there, which takes some seconds where none
was before; half a minute of what is sent in the meantime is kept. Close codes: 1003 a text was sent, 1007 a sample is
not finite, 1008 nothing came for a minute, 1009 a message is too large, 1011 the listener died, 1013 as many listen as
can. A sender that is faster than the analysis is held back by the socket's own flow control.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

from fastapi import APIRouter, FastAPI, HTTPException, Path, Query, Request, WebSocket
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from earmark.audio.decode import AUDIO_SUFFIXES
from earmark.cli.output import to_json
from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.web.documents import Refusal
from earmark.web.meter import recording
from earmark.web.meter.conversation import converse
from earmark.web.meter.ears import Ears
from earmark.web.meter.opened import speaker_of
from earmark.web.meter.steps import Step, Steps
from earmark.web.site import Site, SiteOf
from earmark.web.sse import event_stream
from earmark.web.uploads import Upload, body_of_files, discard, take

__all__ = ["router"]

JOB = r"^[A-Za-z0-9_-]{8,64}$"
MOST_PEAKS = 10_000
CLIENT_LEFT = 499
"""What nginx calls it; nobody is there to read it."""

EARS, STEPS = "meter_ears", "meter_steps"


class Answering(BaseModel):
    """Who answers about meter, and what may be sent."""

    source: str
    run: str | None
    view: str | None
    threshold: float
    max_upload_bytes: int
    suffixes: list[str]
    sample_rate: int
    warmup_seconds: float


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    ears = Ears()
    try:
        yield {EARS: ears, STEPS: Steps()}
    finally:
        ears.close()


router = APIRouter(tags=["meter"], lifespan=_lifespan)

_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "No file came"},
    409: {"model": Refusal, "description": "Nothing can answer"},
    413: {"model": Refusal, "description": "Too large"},
    415: {"model": Refusal, "description": "No kind of audio"},
    422: {"model": Refusal, "description": "Cannot be decoded, too short, silent, or too long"},
    503: {"model": Refusal, "description": "The worker died"},
}


@router.get(
    "/api/analyze", summary="Who answers about meter", responses={409: _REFUSALS[409], 503: _REFUSALS[503]}
)
async def answering(site: SiteOf) -> Answering:
    """Name the run that answers, and open it, so that the first recording finds it warm."""
    speaker = await site.answers.ask(speaker_of, site.folder)
    return Answering(
        source=speaker.source,
        run=speaker.run,
        view=speaker.view,
        threshold=speaker.threshold,
        max_upload_bytes=site.settings.max_upload_bytes,
        suffixes=sorted(AUDIO_SUFFIXES),
        sample_rate=SAMPLE_RATE,
        warmup_seconds=site.project("meter").settings.meter.warmup_seconds,
    )


@router.post(
    "/api/analyze",
    summary="Tempo, meter, beats and sections of a recording",
    response_class=Response,
    responses={
        **_REFUSALS,
        200: {"description": "The answer", "content": {"application/json": {"schema": {"type": "object"}}}},
    },
    openapi_extra=body_of_files(many=False),
)
async def analyze(
    request: Request,
    site: SiteOf,
    job: Annotated[str | None, Query(pattern=JOB, description="Names it for /api/analyze/progress")] = None,
    peaks: Annotated[int | None, Query(ge=1, le=MOST_PEAKS, description="Parts of the waveform")] = None,
) -> Response:
    """Answer what `earmark predict meter FILE --format json` says of the file, which is not kept."""
    steps = cast(Steps, getattr(request.state, STEPS))
    async with steps.of(job) as step:
        [upload] = await take(request, suffixes=AUDIO_SUFFIXES)
        try:
            await step.done("received", name=upload.name, n_bytes=upload.n_bytes)
            document = await _answer(request, site, upload, step, peaks)
        finally:
            discard(upload)
    return Response(to_json(document), media_type="application/json")


@router.get("/api/analyze/progress/{job}", summary="How far a recording is", response_class=StreamingResponse)
async def progress(request: Request, job: Annotated[str, Path(pattern=JOB)]) -> StreamingResponse:
    """Server-sent events: received, decoded, tracked, answered; or failed."""
    return event_stream(cast(Steps, getattr(request.state, STEPS)).follow(job))


@router.websocket("/api/ws/live")
async def live(socket: WebSocket, site: SiteOf) -> None:
    """Onsets and answers about samples as they are sent."""
    await socket.accept()
    await converse(socket, cast(Ears, getattr(socket.state, EARS)), site.folder)


async def _answer(
    request: Request, site: Site, upload: Upload, step: Step, n_peaks: int | None
) -> dict[str, Any]:
    """Ask the worker step by step; the recording is given up where its sender left."""
    ask = site.answers.ask
    key = upload.path.parent.name
    try:
        found = await ask(recording.decode, key, site.folder, upload.path, upload.name)
        await step.done("decoded", duration=round(found.duration_s, 4), windows=found.n_windows)
        for number in range(found.n_windows):
            if await request.is_disconnected():
                raise HTTPException(CLIENT_LEFT, "The client left.")
            await ask(recording.track, key, number)
            await step.done("tracked", done=number + 1, total=found.n_windows)
        return await ask(recording.answer, key, n_peaks)
    finally:
        await ask(recording.forget, key)
