"""Reading what a job tells: lines of JSON that its command appends while it works.

A line that is being written, or that a full disk tore, is not an event; the first is read again later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earmark.web.jobs.job import Job

__all__ = ["latest", "numbered", "read", "whole_lines"]

READ_BYTES = 1 << 20
TAIL_BYTES = 256 << 10
"""Of the end of the file that `latest` looks at: a minute and more of the fastest progress."""

_NO_NEWS = ("type", "time")


def read(job: Job, after: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Events behind the byte `after`, at most a mebibyte of them, and the offset to go on from."""
    data = whole_lines(job.events_path, after, READ_BYTES)
    return [event for _, event in numbered(data)], after + len(data)


def latest(job: Job) -> dict[str, Any]:
    """What is known of the job now: the newest value of everything that its events name.

    Returns
    -------
    dict
        ``stage``, ``done``, ``total``, ``failed``, ``message``, ``epoch``, ``total_epochs`` and
        metrics, as far as told.
    """
    size = job.events_path.stat().st_size if job.events_path.exists() else 0
    known: dict[str, Any] = {}
    for _, event in numbered(whole_lines(job.events_path, max(0, size - TAIL_BYTES), TAIL_BYTES)):
        known |= _news(event)
    return known


def _news(event: dict[str, Any]) -> dict[str, Any]:
    if event["type"] == "note":
        return {"message": event.get("text")}
    return {name: value for name, value in event.items() if name not in _NO_NEWS}


def whole_lines(path: Path, offset: int, n_bytes: int) -> bytes:
    """Bytes of a file from `offset` to the last end of a line among the next `n_bytes`; empty where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(n_bytes)
    except FileNotFoundError:
        return b""
    return data[: data.rfind(b"\n") + 1]


def numbered(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """The events among some lines, each with the number of bytes up to its end."""
    end = 0
    for line in data.splitlines(keepends=True):
        end += len(line)
        try:
            event = json.loads(line)
        except ValueError:  # a torn line
            continue
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            yield end, event
