"""Records to whoever listens: a WebSocket server for this machine, in a thread of its own.

A listener that does not read loses its oldest records, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError
from earmark.tasks.market.venues.rest import require_aiohttp

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["Broadcast", "broadcasting"]

WAITING = 1000
"""Records that wait for a slow listener."""


class Broadcast:
    """The server; `port` is where it listens."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self._loop = loop
        self._queues: set[asyncio.Queue[str]] = set()

    def send(self, record: dict[str, Any]) -> None:
        """Give a record to all that listen; from any thread."""
        self._loop.call_soon_threadsafe(self._put, json.dumps(record))

    def _put(self, text: str) -> None:
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(text)

    async def answer(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one listener until it leaves."""
        from aiohttp import web

        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        queue: asyncio.Queue[str] = asyncio.Queue(WAITING)
        self._queues.add(queue)
        sending = asyncio.create_task(_send_all(socket, queue))
        try:
            async for _ in socket:
                pass  # what a listener says means nothing; the loop ends when it leaves
        finally:
            self._queues.discard(queue)
            sending.cancel()
        return socket


async def _send_all(socket: web.WebSocketResponse, queue: asyncio.Queue[str]) -> None:
    with suppress(ConnectionError):
        while True:
            await socket.send_str(await queue.get())


@contextmanager
def broadcasting(port: int) -> Iterator[Broadcast]:
    """Serve at ``ws://127.0.0.1:<port>/`` while the context lasts; port 0 takes one that is free.

    Raises
    ------
    MissingExtraError
        `aiohttp` is not installed.
    UsageError
        The port is taken.
    """
    require_aiohttp("Sending records to WebSockets")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="broadcast", daemon=True)
    thread.start()
    server = Broadcast(loop)
    try:
        runner = asyncio.run_coroutine_threadsafe(_start(server, port), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(server: Broadcast, port: int) -> web.AppRunner:
    from aiohttp import web

    app = web.Application()
    app.router.add_get("/", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        await runner.cleanup()
        raise UsageError(
            f"Port {port} cannot be listened to ({error}). Give another one, or 0 for any."
        ) from error
    server.port = runner.addresses[0][1]
    return runner
