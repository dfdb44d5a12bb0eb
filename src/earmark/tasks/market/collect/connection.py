"""One socket: opened, subscribed, kept alive, and opened again for as long as the collector runs.

Each connection is a task of its own, so a dead one stops no other. Health is per symbol: a symbol whose book breaks is
subscribed anew on the open socket while the others go on. What arrives is handed to a `Sink` at once and in order.

Times of `Timing` are seconds of this machine; ages of books are those of the collector's clock.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from earmark.orderbook.book import Applied
from earmark.orderbook.events import BookUpdate, Event
from earmark.tasks.market.collect.clock import Clock
from earmark.tasks.market.venues.base import (
    Connection,
    Control,
    MessageError,
    UnreachableError,
    Venue,
    VenueError,
    VenueRest,
)
from earmark.tasks.market.venues.joining import SnapshotJoin

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Health", "Sink", "Socket", "Timing"]

_log = logging.getLogger(__name__)

_BROKEN = (Applied.GAP, Applied.CROSSED, Applied.INVALID)
_LARGEST_MESSAGE = 16 << 20
_BURST = 20
"""Messages read in a row: those that wait are read without a pause, which must not keep the clock from its tick."""


@dataclass(frozen=True)
class Timing:
    """How long is waited for what, in seconds of this machine."""

    acknowledge_s: float = 5.0
    backoff_s: float = 5.0
    backoff_max_s: float = 60.0
    resync_s: float = 5.0


@dataclass
class Health:
    """How a symbol fares.

    Attributes
    ----------
    state : {"connecting", "live", "stale", "resyncing", "paused"}
        ``paused``: REST answers no more, and there is no other source of its candles.
    reason : str
        Why it is not live.
    updated_ns : int
        Receipt of the newest update in the book.
    n_resyncs, n_reconnects : int
    """

    state: str = "connecting"
    reason: str = ""
    updated_ns: int = 0
    n_resyncs: int = 0
    n_reconnects: int = 0

    def become(self, state: str, reason: str = "") -> None:
        """Change the state."""
        self.state, self.reason = state, reason


class Sink(Protocol):
    """What a connection hands its events to."""

    health: dict[str, Health]

    def take(self, event: Event) -> Applied | None:
        """Journal an event and give it to its pipeline."""

    def take_message(self, connection: Connection, text: str, received_ns: int) -> None:
        """Keep a message as it came, where that is wished."""

    def lost(self, connection: Connection, reason: str) -> None:
        """The socket is gone: what its symbols miss from now on is a gap."""

    def opened(self, connection: Connection, *, again: bool) -> None:
        """The socket is subscribed; `again` after it was lost."""

    def resynced(self, symbol: str) -> None:
        """A book is whole again after something was missed."""

    async def room(self) -> None:
        """Wait until the collector has kept up with what it was given."""


class Socket:
    """Keeps one `Connection` of a venue open.

    Parameters
    ----------
    venue : Venue
    connection : Connection
    depth : int
    sink : Sink
    session : aiohttp.ClientSession
    rest : VenueRest
        Of whose snapshots a book starts where the venue's socket sends deltas alone.
    clock : Clock
    timing : Timing
    """

    def __init__(
        self,
        venue: Venue,
        connection: Connection,
        depth: int,
        *,
        sink: Sink,
        session: aiohttp.ClientSession,
        rest: VenueRest,
        clock: Clock,
        timing: Timing,
    ) -> None:
        self.venue = venue
        self.connection = connection
        self.timing = timing
        self._sink = sink
        self._session = session
        self._rest = rest
        self._clock = clock
        self._book_topics = {
            symbol: topic
            for symbol in connection.symbols
            if (topic := venue.subscriptions([symbol], depth)[0]) in connection.topics
        }
        self._depth = depth
        self._joins: dict[str, SnapshotJoin] = {}
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._answers: dict[str, asyncio.Future[Control]] = {}
        self._ids = itertools.count(1)
        self._was_open = False
        self._has_succeeded = False

    @property
    def carries_books(self) -> bool:
        """Whether books come by this socket, or trades and candles alone."""
        return bool(self._book_topics)

    async def run(self) -> None:
        """Open the socket again and again, until cancelled."""
        import aiohttp

        pause_s = self.timing.backoff_s
        while True:
            self._has_succeeded = False
            reason = "closed"
            try:
                await self._once()
            except* (aiohttp.ClientError, OSError, VenueError) as errors:
                reason = "; ".join(str(error) or type(error).__name__ for error in _leaves(errors))
            self._sink.lost(self.connection, reason)
            pause_s = self.timing.backoff_s if self._has_succeeded else pause_s
            _log.warning(
                "%s: connection of %s lost (%s); again in %g s",
                self.venue.name,
                ", ".join(self.connection.symbols),
                reason,
                pause_s,
            )
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self.timing.backoff_max_s)

    def resync(self, symbol: str, reason: str) -> None:
        """Begin to get a fresh snapshot of a book of this socket, unless that is under way."""
        health = self._sink.health[symbol]
        if (
            self._tasks is None
            or symbol not in self._book_topics
            or health.state in ("resyncing", "connecting")
        ):
            return
        _log.info("%s: %s is subscribed anew: %s", self.venue.name, symbol, reason)
        health.become("resyncing", reason)
        health.n_resyncs += 1
        self._tasks.create_task(self._resync(symbol))

    async def _once(self) -> None:
        async with self._session.ws_connect(
            self.connection.url, max_msg_size=_LARGEST_MESSAGE, timeout=_close_timeout()
        ) as socket:
            self._socket = socket
            self._answers.clear()
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    tasks.create_task(self._read(socket))
                    tasks.create_task(self._keep_alive(socket))
                    tasks.create_task(self._subscribe())
            finally:
                self._socket = self._tasks = None

    async def _subscribe(self) -> None:
        if self.venue.snapshot_by_rest:
            self._joins = {symbol: SnapshotJoin() for symbol in self._book_topics}
        await self._ask(self.venue.subscribe_message, self.connection.topics)
        self._has_succeeded = True
        self._sink.opened(self.connection, again=self._was_open)
        self._was_open = True
        if self.venue.snapshot_by_rest:
            await asyncio.gather(*(self._join(symbol) for symbol in self._book_topics))

    async def _ask(self, message: object, topics: Sequence[str]) -> None:
        """Send a request and await its answer, which must not be a refusal."""
        assert self._socket is not None and callable(message)
        request_id = str(next(self._ids))
        answer: asyncio.Future[Control] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = answer
        try:
            await self._socket.send_str(message(topics, request_id))
            control = await asyncio.wait_for(answer, self.timing.acknowledge_s)
        except TimeoutError as error:
            raise UnreachableError(
                f"{self.venue.name} did not answer a request for {len(topics)} topics within "
                f"{self.timing.acknowledge_s:g} s. Expected an acknowledgement; the connection is opened again."
            ) from error
        finally:
            self._answers.pop(request_id, None)
        if control.kind == "refused":
            raise VenueError(
                f"{self.venue.name} refused {', '.join(topics[:3])}{' ...' if len(topics) > 3 else ''}: "
                f"{control.message or 'no reason given'}. Check the symbols and the depth."
            )

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        import aiohttp

        for n_read in itertools.count(1):
            if n_read % _BURST == 0:
                await asyncio.sleep(0)
            try:
                message = await socket.receive(timeout=self.venue.timeout_s)
            except TimeoutError as error:
                raise UnreachableError(
                    f"nothing came for {self.venue.timeout_s:g} s from {self.connection.url}"
                ) from error
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._take(socket, message.data)
            elif message.type is not aiohttp.WSMsgType.BINARY:
                raise UnreachableError(f"{self.connection.url} closed the connection ({message.data})")

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, text: str) -> None:
        received_ns = self._clock.receive_ns(text)
        self._sink.take_message(self.connection, text, received_ns)
        try:
            parsed = self.venue.parse(text, received_ns)
        except MessageError as error:
            _log.warning(
                "%s", error
            )  # one message that cannot be read; a gap, if it was one, shows in the next
            return
        if isinstance(parsed, Control):
            await self._take_control(socket, parsed)
            return
        for event in parsed:
            self._take_event(event)
        await self._sink.room()

    async def _take_control(self, socket: aiohttp.ClientWebSocketResponse, control: Control) -> None:
        if control.kind == "ping" and control.reply is not None:
            await socket.send_str(control.reply)
        elif control.kind in ("subscribed", "unsubscribed", "refused"):
            self._answer(control)
        elif control.message:
            _log.info("%s: %s", self.venue.name, control.message)

    def _answer(self, control: Control) -> None:
        """Give an answer to who waits; one without a number answers the oldest request."""
        request_id = control.request_id or next(iter(self._answers), "")
        answer = self._answers.get(request_id)
        if answer is not None and not answer.done():
            answer.set_result(control)

    def _take_event(self, event: Event) -> None:
        if not isinstance(event, BookUpdate):
            self._sink.take(event)
            return
        join = self._joins.get(event.symbol)
        if join is not None and not event.is_snapshot:
            join.hold(event)
            return
        self._take_update(event)

    def _take_update(self, update: BookUpdate) -> None:
        applied = self._sink.take(update)
        health = self._sink.health[update.symbol]
        if applied in (Applied.APPLIED, Applied.SNAPSHOT):
            health.updated_ns = update.received_ns
            if applied is Applied.SNAPSHOT or health.state == "stale":
                self._is_whole(update.symbol, health)
        elif applied in _BROKEN:
            health.become("live")  # so that a snapshot that is itself broken is asked for again
            self.resync(update.symbol, applied.value)

    def _is_whole(self, symbol: str, health: Health) -> None:
        was = health.state
        health.become("live")
        if was in ("resyncing", "stale"):
            self._sink.resynced(symbol)

    async def _resync(self, symbol: str) -> None:
        """Ask for a snapshot until it has come."""
        if self.venue.snapshot_by_rest:
            self._joins[symbol] = SnapshotJoin()
            await self._join(symbol)
            return
        topics = [self._book_topics[symbol]]
        health = self._sink.health[symbol]
        pause_s = self.timing.resync_s
        while health.state == "resyncing":
            await self._ask(self.venue.unsubscribe_message, topics)
            await self._ask(self.venue.subscribe_message, topics)
            deadline = asyncio.get_running_loop().time() + pause_s
            while health.state == "resyncing" and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.05)
            pause_s = min(2 * pause_s, self.timing.backoff_max_s)

    async def _join(self, symbol: str) -> None:
        """Start a book from a REST snapshot and the deltas that have come since."""
        pause_s = self.timing.resync_s
        while True:
            await asyncio.sleep(0.1)  # let deltas come that the snapshot can be joined to
            try:
                updates = self._joins[symbol].join(
                    await self._rest.book(symbol, self.venue.kept_depth(self._depth))
                )
            except VenueError as error:
                _log.warning("%s: no snapshot of %s: %s", self.venue.name, symbol, error)
                updates = None
            if updates is not None:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self.timing.backoff_max_s)
        del self._joins[symbol]
        for update in updates:
            self._take_update(update)

    async def _keep_alive(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        ping, interval_s = self.venue.ping_message(), self.venue.ping_interval_s
        while ping is not None and interval_s is not None:
            await asyncio.sleep(interval_s)
            await socket.send_str(ping)


def _close_timeout() -> aiohttp.ClientWSTimeout:
    import aiohttp

    return aiohttp.ClientWSTimeout(ws_close=1.0)


def _leaves(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors of a group of groups."""
    found: list[BaseException] = []
    for error in errors.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
