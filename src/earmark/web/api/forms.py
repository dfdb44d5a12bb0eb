"""`GET /api/forms`: what may be started, and the fields of each command, as `POST /api/jobs` takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter

from earmark.errors import UsageError
from earmark.web.documents import UNKNOWN
from earmark.web.errors import NotFoundError
from earmark.web.forms import OFFERED, Form, commands_of, form_of, installed_tasks

__all__ = ["router"]

router = APIRouter(prefix="/api/forms", tags=["forms"], responses={404: UNKNOWN[404]})


@dataclass(frozen=True)
class Offer:
    """A command that may be started."""

    command: str
    task: str | None
    title: str
    kind: Literal["job", "service"]


@router.get("")
def offers(task: str | None = None) -> list[Offer]:
    """Commands of a task, or of all tasks and of none."""
    tasks = installed_tasks() if task is None else (task,)
    pairs: list[tuple[str, str | None]] = [
        (command, known) for known in tasks for command in commands_of(known)
    ]
    if task is None:
        pairs += [(command, None) for command in OFFERED if not any(command == one for one, _ in pairs)]
    forms = [(command, form_of(command, known)) for command, known in pairs]
    return [Offer(command, form.task, form.title, form.kind) for command, form in forms]


@router.get("/{command}")
def form(command: str, task: str | None = None) -> Form:
    """The fields of a command, such as ``train`` or ``cache gc``: kinds, ranges, defaults and help."""
    try:
        return form_of(command, task)
    except UsageError as error:
        raise NotFoundError(str(error)) from error
