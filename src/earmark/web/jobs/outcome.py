"""How a command ended, from its exit code, its log and what it left."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from earmark.errors import EarmarkError
from earmark.web.jobs.events import read
from earmark.web.jobs.job import Job, Status

__all__ = ["Outcome", "outcome_of"]

LOG_TAIL_BYTES = 64 << 10
DOCUMENT_BYTES = 32 << 20
"""A larger document holds rows, not a training."""

_SENTENCES = {1: "Some inputs failed; the log names them.", 3: "A quality gate failed; the log says which."}


@dataclass(frozen=True)
class Outcome:
    """What is written down of an end; fields as of `earmark.web.jobs.job.Job`."""

    status: Status
    exit_code: int
    message: str | None
    runs: tuple[str, ...]


def outcome_of(job: Job, exit_code: int) -> Outcome:
    """How a job ended whose command left with `exit_code`."""
    status = _status(job, exit_code)
    message = None if exit_code == 0 or status == "cancelled" else _message(job, exit_code)
    return Outcome(status, exit_code, message, tuple(_runs(job)))


def _status(job: Job, exit_code: int) -> Status:
    """Codes 1 and 3 are answers: the work was done, and something is to be known of it."""
    if job.is_cancelled:
        return "cancelled"
    if exit_code in (0, 1, 3):
        return "completed"
    return "interrupted" if exit_code in (130, -signal.SIGINT, -signal.SIGTERM) else "failed"


def _message(job: Job, exit_code: int) -> str:
    """The last sentence of an error in the log, else what the exit code says."""
    lines = _tail(job.log_path).splitlines()
    errors = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    if errors and exit_code != 1:
        return errors[-1]
    if exit_code == -signal.SIGKILL:
        return "The system killed the command, mostly because the memory was full. Run it with fewer workers."
    if exit_code < 0:
        return f"The command was ended by {signal.Signals(-exit_code).name}. Resume runs it again."
    said = next((line for line in reversed(lines) if line.strip()), f"The command left with {exit_code}.")
    return _SENTENCES.get(exit_code, said)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


def _runs(job: Job) -> list[str]:
    """Names of runs that the command's document or its events name, else of those that appeared meanwhile.

    Folders are the last resort, since another job or a terminal may make runs at the same time.
    """
    folders = _run_folders(job.project)
    known = {folder.name for folder in folders}
    named = [name for name in (*_named_in(_document(job)), *_told(job)) if name in known]
    if not named and job.started is not None:
        since = datetime.fromisoformat(job.started).timestamp()
        named = sorted(folder.name for folder in folders if (folder / "run.toml").stat().st_mtime >= since)
    return list(dict.fromkeys(named))


def _run_folders(project: Path) -> list[Path]:
    """Finished runs of all tasks; none where the settings cannot be read, as the command then has said."""
    from earmark.tasks.settings import load_settings

    try:
        root = load_settings(project).path("runs")
    except EarmarkError:
        return []
    return [path.parent for path in root.glob("*/[!.]*/run.toml")]


def _document(job: Job) -> Mapping[str, Any]:
    """The JSON object that the command printed, or an empty one."""
    if job.output_path.stat().st_size > DOCUMENT_BYTES:
        return {}
    try:
        document = json.loads(job.output_path.read_bytes())
    except ValueError:  # nothing, or lines of a service
        return {}
    return document if isinstance(document, Mapping) else {}


def _named_in(document: Mapping[str, Any]) -> Iterator[str]:
    """What may be the name of a run, from the keys by which commands name runs."""
    for key in ("run", "best", "winner"):
        if isinstance(document.get(key), str):
            yield document[key]
    if isinstance(document.get("path"), str):
        yield Path(document["path"]).name
    listed = document.get("runs")
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, Mapping):
            yield from _named_in(entry)


def _told(job: Job) -> Iterator[str]:
    """Names in the events ``run`` of trainings."""
    events, after = read(job)
    while events:
        yield from (str(event["name"]) for event in events if event["type"] == "run" and "name" in event)
        events, after = read(job, after)
