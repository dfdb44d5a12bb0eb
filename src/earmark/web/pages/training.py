"""Pages that train, search, choose thresholds and evaluate: the form of a command, what it needs, and how it goes.

``/training/{task}`` is the form of ``train``; ``/training/{task}/{command}`` that of any other command of the task, so
that a message which asks for one can lead to its form. A task of the project that is a file is named by its stem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from earmark.training.runs import Run, list_runs
from earmark.web.api.jobs import submitted
from earmark.web.errors import NotFoundError
from earmark.web.forms import Field, Form, FormError, commands_of, form_of, installed_tasks
from earmark.web.forms.market_training import PAGE, presets
from earmark.web.jobs.events import latest
from earmark.web.jobs.job import Job
from earmark.web.page import fragment, page
from earmark.web.readiness import next_step, readiness_of
from earmark.web.site import Site, SiteOf

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["router"]

router = APIRouter(prefix="/training", include_in_schema=False)

VERBS = {
    "train": ("Train", "Start training"),
    "grid": ("Search", "Start the search"),
    "thresholds": ("Thresholds", "Choose thresholds"),
    "evaluate": ("Evaluate", "Start the evaluation"),
}
"""Tabs of a task: name and button. Other commands have pages without a tab."""

MODEL_TABS = (("hybrid_cnn_lstm", "CNN-LSTM"), ("mpd", "MPD"), ("tlob", "TLOB"))
"""Of market: model and name."""

LOG_BYTES = 8 << 10
METRICS = {
    "accuracy": "Accuracy",
    "macro_precision": "Precision",
    "balanced_accuracy": "Recall",
    "macro_f1": "F1",
}
"""Metric -> tile of the last result; precision, recall and F1 are means over the classes."""


@dataclass(frozen=True)
class Topic:
    """What an address of this page names."""

    slug: str
    task: str
    command: str

    @property
    def address(self) -> str:
        """Of its page."""
        return f"/training/{quote(self.slug)}" + (
            "" if self.command == "train" else f"/{quote(self.command)}"
        )


@dataclass(frozen=True)
class Result:
    """A finished run, as the card shows it."""

    name: str
    algorithm: str
    tiles: tuple[tuple[str, float], ...]
    is_promoted: bool


def tasks_of(site: Site) -> dict[str, str]:
    """Slug -> task as a command line spells it: the installed ones, and that of the project's settings."""
    own = site.invocation().settings().settings.task
    found = {name: name for name in installed_tasks()}
    if own is not None and own.endswith(".py"):
        found[Path(own).stem if Path(own).stem not in found else f"{Path(own).stem}.py"] = own
    return found


def topic_of(site: SiteOf, task: str, command: str = "train") -> Topic:
    """The task and command of an address; 404 where there is none."""
    known = tasks_of(site)
    if task not in known:
        raise NotFoundError(f"There is no task `{task}` here. Known: {', '.join(known)}.")
    if command not in commands_of(known[task]):
        raise NotFoundError(f"`{task}` has no command `{command}` that a page can start.")
    return Topic(task, known[task], command)


TopicOf = Annotated[Topic, Depends(topic_of)]


@router.get("")
def first(site: SiteOf) -> Response:
    """The task of the project's settings, else the first."""
    own = site.invocation().settings().settings.task
    slug = next((slug for slug, task in tasks_of(site).items() if task == own), "zones")
    return RedirectResponse(f"/training/{quote(slug)}", 303)


@router.get("/{task}/readiness")
def readiness(request: Request, site: SiteOf, topic: TopicOf) -> HTMLResponse:
    """What there is to train on; asked for by the page once it is there, since it may take a second."""
    judged = readiness_of(_project(site, topic), topic.task)
    return fragment(request, "parts/training_readiness.html", readiness=judged, topic=topic)


@router.get("/{task}/{command}/card")
def card(request: Request, site: SiteOf, topic: TopicOf) -> HTMLResponse:
    """How it goes: the job that runs, or how the last one ended."""
    return fragment(request, "parts/training_card.html", topic=topic, **_card(site, topic))


@router.get("/{task}/{command}/form")
def preset_form(request: Request, topic: TopicOf) -> HTMLResponse:
    """The form with the defaults of another preset."""
    form, values = _form(topic, request.query_params)
    return fragment(request, "parts/form.html", **_form_context(topic, form, values))


@router.get("/{task}")
@router.get("/{task}/{command}")
def show(request: Request, site: SiteOf, topic: TopicOf) -> HTMLResponse:
    """The page; a query such as ``?model_name=mpd`` fills fields in."""
    form, values = _form(topic, request.query_params)
    return _page(request, site, topic, form, values)


@router.post("/{task}")
@router.post("/{task}/{command}")
async def submit(request: Request, site: SiteOf, topic: TopicOf) -> Response:
    """Start it, or say beside each field what is wrong."""
    from starlette.concurrency import run_in_threadpool

    sent = await request.form()
    return await run_in_threadpool(_submitted, request, site, topic, sent)


def _submitted(request: Request, site: Site, topic: Topic, sent: FormData) -> Response:
    is_part = request.headers.get("hx-request") == "true"
    form, _ = _form(topic, {name: str(value) for name, value in sent.items()})
    values = _values(form, sent)
    try:
        if _active(site, topic) and not sent.get("queue"):
            raise FormError(
                {"": f"`earmark {topic.command} {topic.task}` runs already. Add this one to the queue."}
            )
        job = submitted(site, topic.command, topic.task, values)
    except FormError as error:
        status = 409 if set(error.errors) == {""} and _active(site, topic) else 422
        context = _form_context(topic, form, values, error.errors)
        if is_part:
            return fragment(request, "parts/form.html", status=status, **context)
        return _page(request, site, topic, form, values, error.errors, status=status)
    if not is_part:
        return RedirectResponse(f"/jobs/{job.id}", 303)
    return fragment(
        request,
        "parts/training_started.html",
        **_form_context(topic, form, values, is_active=True),
        **_card(site, topic),
    )


def _page(
    request: Request,
    site: Site,
    topic: Topic,
    form: Form,
    values: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
    *,
    status: int = 200,
) -> HTMLResponse:
    offered = commands_of(topic.task)
    context = _form_context(topic, form, values, errors or {}, is_active=bool(_active(site, topic)))
    return page(
        request,
        "training.html",
        title=f"{VERBS.get(topic.command, (topic.command.capitalize(),))[0]} {topic.slug}",
        section="training",
        status=status,
        tasks=tasks_of(site),
        verbs=[(command, name) for command, (name, _) in VERBS.items() if command in offered],
        model_tabs=MODEL_TABS if (topic.command, topic.task) == ("train", "market") else (),
        **context,
        **_card(site, topic),
    )


def _form(topic: Topic, values: Mapping[str, str]) -> tuple[Form, dict[str, Any]]:
    """The form, with the defaults of the preset that is named, and those values that are fields of it."""
    form = form_of(topic.command, topic.task)
    if (topic.command, topic.task) == ("train", "market"):
        form = form.with_defaults(presets().get(values.get("preset", PAGE), {}))
    names = {field.name for field in form.all_fields}
    return form, {name: value for name, value in values.items() if name in names}


def _values(form: Form, sent: FormData) -> dict[str, list[str]]:
    """What a form sent, field by field; what is no field (the page's token, the button) is none of the command's."""
    return {
        field.name: [str(value) for value in sent.getlist(field.name)]
        for field in form.all_fields
        if field.name in sent
    }


def _form_context(
    topic: Topic,
    form: Form,
    values: Mapping[str, Any],
    errors: Mapping[str, str] | None = None,
    *,
    is_active: bool = False,
) -> dict[str, Any]:
    told = errors or {}
    return {
        "topic": topic,
        "form": form,
        "action": topic.address,
        "shown": {field.name: _shown(field, values) for field in form.all_fields},
        "errors": told,
        "error_step": next_step(told.get("", ""), topic.task),
        "submit": VERBS.get(topic.command, ("", f"Start {topic.command}"))[1],
        "is_active": is_active,
        "reload": f"/training/{quote(topic.slug)}/train/form" if topic.command == "train" else None,
    }


def _shown(field: Field, values: Mapping[str, Any]) -> str:
    """What stands in a field: what was sent, else the default."""
    value = values.get(field.name, field.default)
    parts = value if isinstance(value, list | tuple) else [value]
    texts = ["" if part is None else str(part) for part in parts]
    if field.kind in ("flag", "switch"):
        return texts[-1].lower() if texts else ""
    return "\n".join(texts) if field.is_multiple else (texts[-1] if texts else "")


def _project(site: Site, topic: Topic) -> Project:
    """The project with the task; a file is relative to the project folder, wherever the server was started."""
    return site.project(str(site.folder / topic.task) if topic.task.endswith(".py") else topic.task)


def _active(site: Site, topic: Topic) -> Job | None:
    """The job of this command that runs or waits; the one that runs first."""
    verb = form_of(topic.command, topic.task).command
    for status in ("running", "pending"):
        found = site.jobs.store.list(status=status, task=topic.task, command=verb, limit=1)
        if found:
            return found[0]
    return None


def _card(site: Site, topic: Topic) -> dict[str, Any]:
    verb = form_of(topic.command, topic.task).command
    newest: Sequence[Job] = site.jobs.store.list(task=topic.task, command=verb, limit=1)
    job = _active(site, topic) or (newest[0] if newest else None)
    message = (job.message or "") if job is not None else ""
    return {
        "job": job,
        "latest": {} if job is None else latest(job),
        "log": "" if job is None else _tail(job.log_path),
        "result": _result(site, topic, job),
        "step": next_step(message, topic.task),
        "card_address": f"/training/{quote(topic.slug)}/{quote(topic.command)}/card",
    }


def _result(site: Site, topic: Topic, job: Job | None) -> Result | None:
    """The run that the last job made, else the newest of the task; none while nothing was trained."""
    if topic.command not in VERBS:
        return None
    project = _project(site, topic)
    runs = list_runs(project.runs_folder, project.task.name)
    made = [run for run in runs if job is not None and run.name in job.runs]
    shown = (made or runs)[-1:]
    return _shown_run(shown[0], project.runs_folder) if shown else None


def _shown_run(run: Run, root: Path) -> Result:
    from earmark.training.production import history

    promoted = history(root, run.task)
    known = {
        name: entry["value"] for name, entry in run.metrics.items() if isinstance(entry.get("value"), float)
    }
    named = [(label, known[name]) for name, label in METRICS.items() if name in known]
    tiles = named or list(known.items())[:4]
    is_promoted = bool(promoted) and promoted[-1]["run"] == run.name
    return Result(run.name, run.algorithm, tuple(tiles), is_promoted)


def _tail(path: Path) -> str:
    """The end of a log, whole lines."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_BYTES))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
