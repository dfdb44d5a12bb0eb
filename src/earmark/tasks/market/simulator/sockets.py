"""Sockets of the simulated exchange: one reader and one writer each, and a queue between market and writer.

The market does not wait for a socket until its queue is full; then it waits for a while, and a client that still
does not read is put out. A frame is counted as sent once it has been handed to the socket.

A market that follows its readers asks more: `mark` puts a ping behind what is queued, and since a client answers in the
order in which it reads, `read` knows from the pong that everything before has been read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark.tasks.market.simulator.dialect import Dialect, Frame, Request, Topic
from earmark.tasks.market.simulator.ledger import Ledger

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["MAX_QUEUED", "Socket"]

MAX_QUEUED = 2_000
"""Frames that wait for one socket."""

_PATIENCE_S = 10.0
"""How long a full queue may stay full."""

_READ_S = 120.0
"""How long a market that follows its readers waits for one of them."""

_SYMBOLS_PER_SOCKET = 10

Opening = Callable[[Topic], list[Frame]]


@dataclass(frozen=True, slots=True)
class _Mark:
    number: int


class Socket:
    """One client.

    Parameters
    ----------
    web_socket : aiohttp.web.WebSocketResponse
        Prepared.
    dialect : Dialect
    ledger : Ledger
    symbols : tuple of str
        Those that are traded.
    opening : callable
        Topic -> frames that a new subscriber gets first.
    """

    def __init__(
        self,
        web_socket: web.WebSocketResponse,
        dialect: Dialect,
        ledger: Ledger,
        symbols: tuple[str, ...],
        opening: Opening,
    ) -> None:
        self.topics: set[Topic] = set()
        self.n_refuse = 0
        self._socket, self._dialect, self._ledger = web_socket, dialect, ledger
        self._symbols, self._opening = symbols, opening
        self._queue: asyncio.Queue[Frame | str | _Mark | None] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._n_marks = self._n_read = 0
        self._was_read = asyncio.Event()

    def carries(self, symbol: str | None) -> bool:
        """Whether a topic of `symbol` is subscribed here; None: of any."""
        return symbol is None or any(topic.symbol == symbol for topic in self.topics)

    def put(self, item: Frame | str) -> None:
        """Queue a frame, or text that is not counted."""
        self._queue.put_nowait(item)
        if self._queue.qsize() >= MAX_QUEUED:
            self._has_room.clear()

    def end(self) -> None:
        """Close after what is queued."""
        self._queue.put_nowait(None)

    async def room(self) -> None:
        """Wait until the queue has room; a client that does not read is put out."""
        if self._has_room.is_set():
            return
        try:
            async with asyncio.timeout(_PATIENCE_S):  # `wait_for` of Python 3.11 can lose a cancellation
                await self._has_room.wait()
        except TimeoutError:
            await self._put_out()

    def mark(self) -> None:
        """Ask the client, behind what is queued, to tell when it has read so far."""
        self._n_marks += 1
        self._queue.put_nowait(_Mark(self._n_marks))

    async def read(self, n_open: int) -> None:
        """Wait until at most `n_open` marks are unanswered; a client that does not answer is put out."""
        try:
            async with asyncio.timeout(_READ_S):
                while self.topics and self._n_marks - self._n_read > n_open:
                    self._was_read.clear()
                    await self._was_read.wait()
        except TimeoutError:
            await self._put_out()

    async def _put_out(self) -> None:
        self._ledger.sockets["put_out"] += 1
        self._has_room.set()
        self.topics.clear()
        await self._socket.close()

    async def serve(self) -> None:
        """Read and write until either side closes."""
        from aiohttp import WSMsgType

        writer = asyncio.create_task(self._write())
        try:
            async for message in self._socket:
                if message.type is WSMsgType.PING:
                    await self._socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    self._note_read(message.data)
                elif isinstance(message.data, str):
                    self._answer(message.data)
        finally:
            self.topics.clear()
            self._has_room.set()
            self._was_read.set()
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self) -> None:
        while (item := await self._queue.get()) is not None:
            try:
                await self._send(item)
            except ConnectionError:
                return  # the reader sees the end too
            if isinstance(item, Frame):
                self._ledger.sent(item.tally)
            if self._queue.qsize() < MAX_QUEUED // 2:
                self._has_room.set()
        await self._socket.close()

    async def _send(self, item: Frame | str | _Mark) -> None:
        if isinstance(item, _Mark):
            await self._socket.ping(str(item.number).encode())
        else:
            await self._socket.send_str(item if isinstance(item, str) else item.text)

    def _note_read(self, payload: bytes) -> None:
        """A pong; one that answers no mark was not asked for and is let pass, as the protocol wants it."""
        if payload.isdigit():
            self._n_read = max(self._n_read, min(int(payload), self._n_marks))
            self._was_read.set()

    def _answer(self, text: str) -> None:
        try:
            request = self._dialect.read(text)
        except ValueError as error:
            self.put(self._dialect.refuse(Request("subscribe"), f"error:{error}"))
            return
        if request.operation == "ping":
            self._ledger.sockets["pings"] += 1
            self.put(self._dialect.accept(request))
        elif request.operation == "pong":
            self._ledger.sockets["pongs"] += 1
        else:
            self._change(request)

    def _change(self, request: Request) -> None:
        """Grant a subscription or its end as a whole, or refuse it as a whole."""
        try:
            topics = [self._dialect.topic(arg) for arg in request.args]
            if request.operation == "subscribe":
                self._check(topics, request)
        except ValueError as error:
            self._ledger.sockets["subscriptions_refused"] += 1
            self.put(self._dialect.refuse(request, str(error)))
            return
        self.put(self._dialect.accept(request))
        if request.operation == "unsubscribe":
            self.topics.difference_update(topics)
            return
        self.topics.update(topics)
        for topic in topics:
            for frame in self._opening(topic):
                self.put(frame)

    def _check(self, topics: list[Topic], request: Request) -> None:
        if self.n_refuse:
            self.n_refuse -= 1
            raise ValueError("error:refused by a scripted fault")
        for topic, arg in zip(topics, request.args, strict=True):
            if topic.symbol not in self._symbols:
                raise ValueError(f"error:handler not found,topic:{arg}")
            if topic in self.topics:
                raise ValueError(f"error:already subscribed,topic:{arg}")
        if len({topic.symbol for topic in self.topics.union(topics)}) > _SYMBOLS_PER_SOCKET:
            raise ValueError(f"error:more than {_SYMBOLS_PER_SOCKET} symbols on one connection")
