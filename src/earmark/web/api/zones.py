"""`/api/zones`: zones of files, as ``earmark predict zones --format json`` tells them.

Answers are the command line's own documents, byte for byte: one object per input, in order, a `Failed` one where an
input cannot be used.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from earmark.audio.decode import AUDIO_SUFFIXES
from earmark.errors import UsageError
from earmark.inference.prediction import Failed, Prediction
from earmark.web.documents import Refusal
from earmark.web.site import Site, SiteOf
from earmark.web.uploads import FOLDER, Upload, body_of_files, discard, take
from earmark.web.zones import asking
from earmark.web.zones.asking import TASK, Answered
from earmark.web.zones.schema import (
    LARGEST,
    Answer,
    Asked,
    AskedOf,
    Input,
    Named,
    Playlists,
    Row,
    Sent,
    Tagging,
    TagReport,
)
from earmark.web.zones.sources import Source, sources_of, told

__all__ = ["router"]

router = APIRouter(prefix="/api/zones", tags=["zones"])

LONGEST_LIST = 20_000
"""Inputs that a folder may lead to; they are asked for in portions."""

_PORTION = 8
_MULTIPART = 50


_REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal},
    403: {"model": Refusal},
    404: {"model": Refusal, "description": "No run answers yet."},
    503: {"model": Refusal, "description": "The process that computes answers died; ask again."},
}
_UPLOAD_REFUSALS: dict[int | str, dict[str, Any]] = {
    **_REFUSALS,
    413: {"model": Refusal},
    415: {"model": Refusal},
}
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"model": list[Answer]}}


@router.post("/predict", responses={**_ANSWERS, **_UPLOAD_REFUSALS}, openapi_extra=body_of_files())
async def predict(request: Request, site: SiteOf) -> Response:
    """Zones of files that are sent, in the field `file`; the options are further fields. They are not kept."""
    uploads = await take(request, suffixes=AUDIO_SUFFIXES, n_files=_MULTIPART)
    try:
        asked = _asked_by(uploads[0].fields)
        sources = [Source(str(one.path), one.name, one.name, is_upload=True) for one in uploads]
        answers = await _answered(site, asked, sources)
    finally:
        for upload in uploads:
            discard(upload)
    return _documents(site, [one.outcome for one in answers])


@router.post("/predict-paths", responses={**_ANSWERS, **_REFUSALS})
async def predict_paths(asked: AskedOf, site: SiteOf) -> Response:
    """Zones of files of the project, or of what was uploaded."""
    return _documents(
        site, [one.outcome for one in await _answered(site, asked, await _sources(site, asked))]
    )


@router.post("/inputs", response_model=list[Input], responses=_REFUSALS)
async def inputs(named: Named, site: SiteOf) -> Response:
    """The single files that paths lead to; no file is opened."""
    found = await _sources(site, named, limit=LONGEST_LIST)
    return _json([{"path": one.path, "error": _unusable(one)} for one in found])


@router.post("/uploads", status_code=201, responses=_UPLOAD_REFUSALS, openapi_extra=body_of_files())
async def upload(request: Request, site: SiteOf) -> Sent:
    """Receive one file, in the field `file`; it is kept for a day and asked for by its path."""
    sent = (await take(request, suffixes=AUDIO_SUFFIXES))[0]
    return Sent(path=_path_of(site, sent), name=sent.name, n_bytes=sent.n_bytes)


@router.post("/rows", response_model=list[Row], responses=_REFUSALS)
async def rows(asked: AskedOf, site: SiteOf) -> Response:
    """Answers with the measures that the page's table shows beside them."""
    sources = await _sources(site, asked)
    answers = await _answered(site, asked, sources)
    documents = _as_documents(site, [one.outcome for one in answers])
    return _json(
        [
            {
                "path": source.path,
                "is_upload": isinstance(source, Source) and source.is_upload,
                "document": document,
                **{name: one.measures.get(name) for name in asking.MEASURES},
            }
            for source, one, document in zip(sources, answers, documents, strict=True)
        ]
    )


@router.post("/csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}, **_REFUSALS})
async def table(asked: AskedOf, site: SiteOf) -> Response:
    """Answers as the file that ``--export-csv`` writes."""
    from earmark.cli.predictions import csv_of

    answers = await _answered(site, asked, await _sources(site, asked))
    text = csv_of(site.project(TASK).task, [one.outcome for one in answers])
    return _attached(text.encode(errors="surrogateescape"), "text/csv; charset=utf-8", "zones.csv")


@router.post("/playlists", response_class=FileResponse, responses=_REFUSALS)
async def playlists(asked: Playlists, site: SiteOf) -> Response:
    """A playlist of one zone, or of each in a zip."""
    from earmark.web.zones.downloads import playlist_file

    return await _download(site, asked, playlist_file, form=asked.form, zone=asked.zone)


@router.post(
    "/tagged", response_class=FileResponse, responses={**_REFUSALS, 422: {"description": "Not taggable."}}
)
async def tagged(asked: AskedOf, site: SiteOf) -> Response:
    """Tagged copies of uploads: the file itself, or a zip of several."""
    from earmark.web.zones.downloads import tagged_file

    return await _download(site, asked, tagged_file)


@router.post("/tags", response_model=TagReport, responses=_REFUSALS)
async def tags(asked: Tagging, site: SiteOf) -> Response:
    """Preview, write or take back the tags of files of the project; a journal holds what they were."""
    if asked.mode == "undo":
        if asked.paths:
            raise UsageError("undo takes back what was written last, whatever its paths. Leave `paths` out.")
        report = await site.answers.ask(asking.undo, site.folder, asked.which)
        return _reported(site, report)
    sources = await _taggable(site, asked)
    left = sources if asked.force or asked.overwrite else await run_in_threadpool(_untagged, site, sources)
    answers = await _answered(site, asked, left)
    # Tags are written where a file lies, whatever it is called in the answer.
    outcomes = [_at(one.outcome, source) for one, source in zip(answers, left, strict=True)]
    how = {"dry-run": asked.mode == "preview", "overwrite": asked.overwrite, "backup-copy": asked.backup_copy}
    report = await site.answers.ask(asking.write, site.folder, outcomes, how)
    documents = _as_documents(site, [one.outcome for one in answers])
    return _reported(site, report, documents, carrying=len(sources) - len(left))


def _unusable(source: Source | Failed) -> str | None:
    """Why a file cannot be asked for, as far as its name tells."""
    if isinstance(source, Failed):
        return source.error
    try:
        source.path.encode()
    except UnicodeEncodeError:
        return "Its name is not UTF-8, which JSON cannot hold. Rename it, or ask on the command line."
    return None


async def _sources(site: Site, named: Named, *, limit: int = LARGEST) -> list[Source | Failed]:
    names = named.names if isinstance(named, AskedOf) else {}
    return await run_in_threadpool(sources_of, site.allowed, named.paths, names, limit=limit)


async def _answered(site: Site, asked: Asked, sources: Sequence[Source | Failed]) -> list[Answered]:
    """Ask in portions, so that others are answered in between."""
    question = asked.question(site.folder)
    answers: list[Answered] = []
    for start in range(0, len(sources), _PORTION):
        answers += await site.answers.ask(asking.answer, question, sources[start : start + _PORTION])
    return answers


async def _taggable(site: Site, asked: Tagging) -> list[Source | Failed]:
    if not asked.paths:
        raise UsageError("No file was named; expected `paths` of the project. Name some.")
    sources = await _sources(site, asked)
    copies = [one.name for one in sources if isinstance(one, Source) and one.is_upload]
    if copies:
        raise UsageError(
            f"`{copies[0]}` is an upload, a copy of the file of the machine that sent it. Take its tagged copy away "
            "instead, or name the file itself in an allowed folder."
        )
    return sources


def _untagged(site: Site, sources: Sequence[Source | Failed]) -> list[Source | Failed]:
    from earmark.cli.tags import tag_writing

    carries = tag_writing(site.project(TASK).task).carries
    return [one for one in sources if isinstance(one, Failed) or not carries(one.uri)]


async def _download(site: Site, asked: AskedOf, make: Any, **options: Any) -> Response:
    from earmark.web.zones.downloads import scratch

    sources = await _sources(site, asked)
    answers = await _answered(site, asked, sources)
    folder = await run_in_threadpool(scratch, site.settings.state_folder)
    pairs = [(source, one.outcome) for source, one in zip(sources, answers, strict=True)]
    try:
        path = await run_in_threadpool(make, pairs, folder, **options)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, filename=path.name, media_type="application/octet-stream", background=done)


def _asked_by(fields: dict[str, str]) -> Asked:
    """The options of a form, judged as those of JSON are."""
    try:
        return Asked.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors()]
        ) from error


def _at(outcome: Prediction | Failed, source: Source | Failed) -> Prediction | Failed:
    return replace(outcome, path=source.uri) if isinstance(source, Source) else outcome


def _path_of(site: Site, upload: Upload) -> str:
    state = site.settings.state_folder.relative_to(site.folder)
    return str(state / FOLDER / upload.path.parent.name / upload.path.name)


def _as_documents(site: Site, outcomes: Sequence[Prediction | Failed]) -> list[dict[str, Any]]:
    from earmark.cli.predictions import documents_of

    return documents_of(site.project(TASK).task, outcomes)


def _documents(site: Site, outcomes: Sequence[Prediction | Failed]) -> Response:
    return _json(_as_documents(site, outcomes))


def _reported(
    site: Site, report: Any, documents: Sequence[dict[str, Any]] | None = None, *, carrying: int = 0
) -> Response:
    """A report as the command line's JSON, its files named as from inside the project folder."""
    from earmark.cli.tags import tag_documents

    named = tuple(
        replace(one, path=told(site.folder, one.path), reason=told(site.folder, one.reason))
        for one in report.changes
    )
    found = tag_documents(replace(report, changes=named), documents)
    return _json(
        {"counts": report.counts(), "documents": found, "carrying": carrying, "notes": list(report.notes)}
    )


def _json(value: Any) -> Response:
    """JSON as the command line prints it; a file name that is no UTF-8 keeps its bytes as escapes."""
    from earmark.cli.output import to_json

    return Response(to_json(value).encode(errors="backslashreplace"), media_type="application/json")


def _attached(data: bytes, media_type: str, name: str) -> Response:
    return Response(
        data, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )
