"""Server-sent events: a stream of JSON objects that a page listens to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.responses import StreamingResponse

__all__ = ["KEEP_ALIVE_S", "event_stream"]

KEEP_ALIVE_S = 15.0
"""An empty comment this often tells proxies, and a server whose viewer left, that the stream is still there."""


def event_stream(
    events: AsyncIterator[Mapping[str, Any]], *, keep_alive_s: float = KEEP_ALIVE_S
) -> StreamingResponse:
    """A response that sends each object as an event named by its ``type``; its ``id``, if any, is sent along.

    A page that lost the connection names the last ``id`` in the header ``Last-Event-ID``.
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_frames(events, keep_alive_s), media_type="text/event-stream", headers=headers)


async def _frames(events: AsyncIterator[Mapping[str, Any]], keep_alive_s: float) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    coming: asyncio.Future[Mapping[str, Any]] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({coming}, timeout=keep_alive_s)
            if not done:
                yield b": still here\n\n"
                continue
            event, coming = coming.result(), None
            yield frame(event)
    except StopAsyncIteration:
        yield b"event: end\ndata: {}\n\n"
    finally:
        if coming is not None:
            await _given_up(coming)
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def _given_up(coming: asyncio.Future[Mapping[str, Any]]) -> None:
    """Cancel what was waited for, and wait until its source has noticed: only then can that be closed."""
    coming.cancel()
    await asyncio.wait({coming})


def frame(event: Mapping[str, Any]) -> bytes:
    """One event as it is sent.

    Examples
    --------
    >>> frame({"type": "epoch", "epoch": 2})
    b'event: epoch\\ndata: {"type": "epoch", "epoch": 2}\\n\\n'
    """
    head = f"event: {event.get('type', 'message')}\n"
    if "id" in event:
        head += f"id: {event['id']}\n"
    return f"{head}data: {json.dumps(event, ensure_ascii=False, allow_nan=False)}\n\n".encode()
