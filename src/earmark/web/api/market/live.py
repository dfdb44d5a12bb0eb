"""Progress of trainings by WebSocket: a message per epoch, to any number of listeners.

::

    {"type": "training_progress", "task_id", "model_type", "epoch", "total_epochs", "progress_pct", "metrics",
     "status": "started" | "training" | "completed" | "failed", "message"}

A listener is told what the trainings that run have told so far, then what they tell. One that was cancelled has
``failed``, with the reason as its message.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Container, Mapping
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from earmark.web.api.market.progress import DEFAULT_MODEL, metrics_of
from earmark.web.api.market.starting import TASK
from earmark.web.jobs.job import OVER
from earmark.web.site import Site

if TYPE_CHECKING:
    from asyncio import Queue, Task

__all__ = ["messages", "serve"]

Message = dict[str, Any]

N_WAITING = 1000
"""Messages that a listener may be behind; more hold up its trainings' readers, and nothing else."""


async def messages(site: Site, models: Container[str] | None = None) -> AsyncIterator[Message]:
    """Messages of the trainings that run now or later, without end; of `models` alone where they are named."""
    queue: Queue[Message] = asyncio.Queue(N_WAITING)
    followers: dict[str, Task[None]] = {}
    watcher = asyncio.create_task(_watch(site, models, queue, followers))
    try:
        while True:
            yield await queue.get()
    finally:
        for task in (watcher, *followers.values()):
            task.cancel()


async def serve(socket: WebSocket, source: AsyncIterator[Message]) -> None:
    """Send messages until the listener leaves; what it sends is not looked at."""
    await socket.accept()
    sending = asyncio.create_task(_send(socket, source))
    try:
        while True:
            await socket.receive_text()
    except (WebSocketDisconnect, KeyError):  # KeyError: a binary message, which Starlette does not expect
        pass
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
            await sending


async def _send(socket: WebSocket, source: AsyncIterator[Message]) -> None:
    async with contextlib.aclosing(source) as listened:  # type: ignore[type-var]
        async for message in listened:
            await socket.send_json(message)


async def _watch(
    site: Site, models: Container[str] | None, queue: Queue[Message], followers: dict[str, Task[None]]
) -> None:
    """Begin to follow each training that runs or waits."""
    async for event in site.feed.subscribe():
        job = event.get("job")
        if not isinstance(job, Mapping) or job["id"] in followers or job["status"] in OVER:
            continue
        model = _model(job)
        if _is_training(job) and (models is None or model in models):
            followers[job["id"]] = asyncio.create_task(_follow(site, job["id"], model, queue))


async def _follow(site: Site, job_id: str, model: str, queue: Queue[Message]) -> None:
    """Messages of one training, to its end."""
    last: Message = {"epoch": 0, "total_epochs": None}
    async for event in site.feed.subscribe(job_id):
        if event["type"] == "epoch":
            last = {"epoch": event["epoch"], "total_epochs": event.get("total_epochs")}
            await queue.put(_message(job_id, model, "training", last, metrics_of(event)))
        elif event["type"] == "status" and event["status"] != "pending":
            status = {"running": "started", "completed": "completed"}.get(event["status"], "failed")
            said = None if status in ("started", "completed") else event["job"]["message"] or event["status"]
            await queue.put(_message(job_id, model, status, last, {}, said))


def _message(
    job_id: str,
    model: str,
    status: str,
    at: Mapping[str, Any],
    metrics: Mapping[str, Any],
    said: str | None = None,
) -> Message:
    epoch, total = at["epoch"], at["total_epochs"]
    share = 100.0 if status == "completed" else round(100 * epoch / total, 1) if total else 0.0
    return {
        "type": "training_progress",
        "task_id": job_id,
        "model_type": model,
        "epoch": epoch,
        "total_epochs": total,
        "progress_pct": share,
        "metrics": dict(metrics),
        "status": status,
        "message": said,
    }


def _is_training(job: Mapping[str, Any]) -> bool:
    return (job["command"], job["task"], job["kind"]) == ("train", TASK, "job")


def _model(job: Mapping[str, Any]) -> str:
    prefix = "--set=model_name="
    return next((word.removeprefix(prefix) for word in job["argv"] if word.startswith(prefix)), DEFAULT_MODEL)
