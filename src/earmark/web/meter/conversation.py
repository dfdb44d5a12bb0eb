"""A WebSocket and the worker that listens for it: samples in, messages out, until one side ends it.

Two things go on at once: samples are received into a bounded buffer, and whatever has come since the last answer is
given to the worker in one piece, so that a worker that was late stays with the present. While the buffer is full
nothing is received, and the socket's flow control holds the sender back.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from pathlib import Path

from starlette.websockets import WebSocket, WebSocketDisconnect

from earmark.cli.output import to_json
from earmark.errors import DecodeError, EarmarkError
from earmark.web.answers import Answers
from earmark.web.meter.ears import Ears, TooManyError
from earmark.web.meter.listener import begin, hear

__all__ = ["converse"]

LARGEST_MESSAGE = 1 << 20
MOST_WAITING = 30 * 22_050 * 4
"""Bytes, of half a minute: also what comes while a worker starts."""

IDLE_S = 60.0

IS_TEXT, IS_NO_SOUND, IS_IDLE, IS_TOO_LARGE, IS_BROKEN, IS_FULL = 1003, 1007, 1008, 1009, 1011, 1013
"""Codes with which the socket is closed (RFC 6455, 7.4.1)."""


class _EndError(Exception):
    """The conversation is over; with a sentence where the client is still there to be told."""

    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class _Waiting:
    """Bytes that came and were not heard yet."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._changed = asyncio.Condition()

    async def put(self, data: bytes) -> None:
        """Add bytes, as soon as there is room."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._data) < MOST_WAITING)
            self._data += data
            self._changed.notify_all()

    async def take(self) -> bytes:
        """All that waits, as soon as there is anything."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._data)
            taken = bytes(self._data)
            self._data.clear()
            self._changed.notify_all()
            return taken


async def converse(socket: WebSocket, ears: Ears, folder: Path) -> None:
    """Listen to an accepted socket until it ends.

    Parameters
    ----------
    socket : WebSocket
    ears : Ears
    folder : Path
        The project that answers.
    """
    try:
        async with ears.lent() as ear:
            await _listen(socket, ear, folder)
    except WebSocketDisconnect:
        return
    except _EndError as end:
        await _close(socket, end.code, str(end))
    except EarmarkError as error:
        await _close(socket, _code_of(error), str(error))


async def _listen(socket: WebSocket, ear: Answers, folder: Path) -> None:
    """Until either side raises what ends it: a client that leaves need not wait for what it asked."""
    waiting = _Waiting()
    both = [
        asyncio.create_task(_receive(socket, waiting)),
        asyncio.create_task(_answer(socket, waiting, ear, folder)),
    ]
    try:
        await asyncio.gather(*both)
    finally:
        for task in both:
            task.cancel()


async def _receive(socket: WebSocket, waiting: _Waiting) -> None:
    while True:
        await waiting.put(await _samples(socket))


async def _answer(socket: WebSocket, waiting: _Waiting, ear: Answers, folder: Path) -> None:
    key = secrets.token_hex(8)
    messages = [await ear.ask(begin, key, folder)]
    while True:
        for message in messages:
            await socket.send_text(to_json(message, indent=None))
        messages = await ear.ask(hear, key, await waiting.take())


async def _samples(socket: WebSocket) -> bytes:
    try:
        async with asyncio.timeout(IDLE_S):
            message = await socket.receive()
    except TimeoutError:
        raise _EndError(IS_IDLE, f"Nothing came for {IDLE_S:g} s. Connect again to go on.") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    data: bytes | None = message.get("bytes")
    if data is None:
        raise _EndError(
            IS_TEXT,
            "A text was sent. Expected binary messages of mono float32 samples, little endian, at 22050 Hz.",
        )
    if len(data) > LARGEST_MESSAGE:
        raise _EndError(
            IS_TOO_LARGE,
            f"A message of {len(data)} bytes was sent; expected {LARGEST_MESSAGE} at most. Divide it.",
        )
    return data


def _code_of(error: EarmarkError) -> int:
    if isinstance(error, DecodeError):
        return IS_NO_SOUND
    return IS_FULL if isinstance(error, TooManyError) else IS_BROKEN


async def _close(socket: WebSocket, code: int, sentence: str) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # the client may have left in the meantime
        await socket.send_json({"type": "error", "detail": sentence})
        await socket.close(code)
