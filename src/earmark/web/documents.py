"""Answers of the JSON API that are what the command line prints with ``--format json``, byte for byte."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel
from starlette.responses import Response

from earmark.cli.output import to_json

__all__ = ["CONFLICT", "RUN", "UNKNOWN", "Refusal", "RunName", "TaskName", "TaskWanted", "as_printed"]

TASK = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.py)?$"
RUN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

TaskName = Annotated[str, Path(pattern=TASK, description="A task, as pages name it.")]
TaskWanted = Annotated[str | None, Query(pattern=TASK, description="Only of this task.")]
RunName = Annotated[
    str, Path(pattern=RUN, description="Name, unique beginning or key of a run, or `latest`.")
]


class Refusal(BaseModel):
    """Why not, in one sentence."""

    detail: str


UNKNOWN: dict[int | str, dict[str, Any]] = {
    400: {"model": Refusal, "description": "A setting or an argument is wrong, or nothing is prepared"},
    404: {"model": Refusal, "description": "There is no such thing"},
}
CONFLICT: dict[int | str, dict[str, Any]] = {
    409: {"model": Refusal, "description": "Refused, and nothing was changed"}
}


def as_printed(document: Any) -> Response:
    """The document as ``--format json`` prints it: NaN is null, keys keep their order."""
    return Response(to_json(document), media_type="application/json")
