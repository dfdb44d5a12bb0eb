"""An exchange on this machine: a real WebSocket and REST server that speaks a venue's protocol.

::

    async with ExchangeSimulator(["BTCUSDT"], speed=60, faults="drop@30,close@60") as exchange:
        venue = exchange.venue()          # a client's `Venue`, wired to this server
        ...
        exchange.ledger.to_dict()         # exactly what was sent

Exchange time runs `speed` times as fast as the wall's; where the market cannot be made or read that fast, it falls
behind and loses nothing. With `follow_readers` its clock waits with it, so that no time passes which nobody saw.
Besides the venue's own paths the server has ``/simulator/clock``, ``/simulator/ledger`` and ``POST
/simulator/faults`` (text in the form of `earmark.tasks.market.simulator.faults`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from earmark.errors import UsageError
from earmark.tasks.market.simulator.binance import BinanceDialect
from earmark.tasks.market.simulator.bybit import BybitDialect
from earmark.tasks.market.simulator.clock import ExchangeClock
from earmark.tasks.market.simulator.dialect import NEVER_MS, Dialect, Frame, RestSource, Topic
from earmark.tasks.market.simulator.faults import Fault, FaultPlan
from earmark.tasks.market.simulator.ledger import Ledger, Tally
from earmark.tasks.market.simulator.market import MarketParameters
from earmark.tasks.market.simulator.sockets import Socket
from earmark.tasks.market.venues.base import Venue, check_symbol
from earmark.tasks.market.venues.rest import require_aiohttp

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["ExchangeSimulator", "Source"]

_MARK_MS = 250

_REST_FAULTS = frozenset({"rest_429", "rest_500", "rest_timeout", "rest_code"})

Answer = Callable[[RestSource, Mapping[str, str], int], tuple[int, Any]]


class Source(RestSource, Protocol):
    """Where frames come from: synthetic markets or a recording."""

    @property
    def next_ms(self) -> int:
        """Exchange time of what comes next."""

    def advance(self, wanted: set[Topic]) -> list[Frame]:
        """Frames that are due at `next_ms`, which moves on."""

    def opening(self, topic: Topic) -> list[Frame]:
        """What a new subscriber gets first."""

    def inject(self, fault: Fault) -> bool:
        """Let a fault of the stream happen."""


class ExchangeSimulator:
    """One simulated exchange; an async context manager.

    Parameters
    ----------
    symbols : sequence of str
        Not used with a recording, which has its own.
    venue : {"bybit", "binance"}
    seed : int
        The same seed, symbol and start give the same market.
    speed : float
        Exchange seconds per second of the wall.
    start_ms : int, optional
        Exchange time at the start; the wall's time where absent, the recording's for a recording.
    clock_offset_ms : int
        How far the exchange's clock is ahead of the one served at ``/simulator/clock``.
    parameters : MarketParameters
    faults : str or sequence of Fault
    recording : str or Path, optional
        A file of `earmark.tasks.market.simulator.recording`: replayed in place of synthetic markets. Faults of sockets
        and requests befall it; those of the stream do not.
    wait_for_subscription : bool, optional
        Hold the market until the first subscription, so that a client sees it from its first message; the clock
        runs on, and the market then catches up as fast as it can. The default holds recordings alone, and markets
        that follow their readers.
    follow_readers : bool
        The exchange's time never runs more than half a second ahead of what its clients have read (they answer pings,
        as every client does), whatever the load of the machine; `speed` is then the most it reaches.
    host, port : str, int
        Port 0 takes one that is free.

    Attributes
    ----------
    ledger : Ledger
    clock : ExchangeClock
        The one that is served; set when the server has started.
    finished : asyncio.Event
        Set when a recording has come to its end.
    """

    clock: ExchangeClock

    def __init__(
        self,
        symbols: Sequence[str] = ("BTCUSDT", "ETHUSDT"),
        *,
        venue: str = "bybit",
        seed: int = 0,
        speed: float = 1.0,
        start_ms: int | None = None,
        clock_offset_ms: int = 0,
        parameters: MarketParameters | None = None,
        faults: str | Sequence[Fault] = "",
        recording: str | Path | None = None,
        wait_for_subscription: bool | None = None,
        follow_readers: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if not speed > 0:
            raise UsageError(f"a speed of {speed:g} leads nowhere: expected a number above 0.")
        self.symbols = tuple(check_symbol(symbol) for symbol in symbols)
        self.ledger = Ledger()
        self._dialect = _dialect(venue)
        self._seed, self._speed, self._start_ms, self._offset_ms = seed, speed, start_ms, clock_offset_ms
        self._parameters = parameters or MarketParameters()
        self._faults = FaultPlan.parse(faults, self.symbols) if isinstance(faults, str) else FaultPlan(faults)
        self._recording = recording
        self._follows = follow_readers
        self._waits = (
            follow_readers or recording is not None
            if wait_for_subscription is None
            else wait_for_subscription
        )
        self._host, self._port = host, port
        self._sockets: set[Socket] = set()
        self._rest_faults: Counter[str] = Counter()
        self._n_refuse = 0
        self._refused_until_ms = self._next_mark_ms = 0
        self._first_subscription = asyncio.Event()
        self.finished = asyncio.Event()

    async def __aenter__(self) -> ExchangeSimulator:
        require_aiohttp("the simulated exchange")
        from aiohttp import web

        self._clock_starts()
        self._origin_ms = self._exchange_clock.exchange_origin_ns // 1_000_000
        self._source = self._make_source()
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port)
        await site.start()
        self._runner = runner
        self._port = runner.addresses[0][1]
        self._market = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._market.cancel()
        (ended,) = await asyncio.gather(self._market, return_exceptions=True)
        for socket in list(self._sockets):
            socket.end()
        await self._runner.cleanup()
        if isinstance(ended, Exception):
            raise ended

    def venue(self) -> Venue:
        """The client's side of this exchange."""
        return self._dialect.venue(f"{self._host}:{self._port}")

    @property
    def websocket_url(self) -> str:
        """As `Venue.websocket_url`."""
        return self.venue().websocket_url

    @property
    def rest_url(self) -> str:
        """``http://host:port``."""
        return self.venue().rest_url

    @property
    def lag_ms(self) -> int:
        """How far the market is behind its clock."""
        return max(0, self._exchange_clock.now_ms() - self._source.next_ms)

    def now_ns(self) -> int:
        """Exchange time; that of a market which follows its readers does not run ahead of it."""
        now_ns = self._exchange_clock.now_ns()
        return min(now_ns, self._source.next_ms * 1_000_000) if self._follows else now_ns

    def inject(self, fault: Fault) -> None:
        """Let `fault` happen now, whatever its time."""
        if fault.kind in _REST_FAULTS:
            self._rest_faults[fault.kind] += fault.value
        elif fault.kind == "refuse_subscription":
            self._n_refuse += fault.value
        elif fault.kind == "refuse":
            self._refused_until_ms = self._source.next_ms + int(fault.duration_s * 1_000)
        elif fault.kind in ("close", "malformed", "server_ping"):
            if not self._strike(fault):
                return
        elif not self._source.inject(fault):
            return
        self.ledger.fault(fault.symbol, fault.kind)

    def _strike(self, fault: Fault) -> bool:
        """A fault of the sockets that carry its symbol; False where there is none."""
        struck = [socket for socket in self._sockets if socket.carries(fault.symbol)]
        for socket in struck:
            if fault.kind == "close":
                self.ledger.sockets["closed_by_fault"] += 1
                socket.topics.clear()
                socket.end()
            elif fault.kind == "server_ping":
                if self._dialect.server_ping:
                    socket.put(self._dialect.server_ping)
            else:
                symbol = fault.symbol or self._source.symbols[0]
                half = f'{{"topic":"orderbook.200.{symbol}","type":"delta","data":{{"s":"{symbol}","b":[["1'
                socket.put(Frame(Topic(symbol, "book"), half, Tally(symbol, "malformed")))
        return bool(struck)

    def _clock_starts(self) -> None:
        self.clock = ExchangeClock.start(self._speed, self._start_ms)
        self._exchange_clock = self.clock.ahead(self._offset_ms)

    def _make_source(self) -> Source:
        from earmark.tasks.market.simulator.source import SyntheticSource

        if self._recording is not None:
            return self._replay(Path(self._recording))
        return SyntheticSource(
            self.symbols,
            self._dialect,
            self.ledger,
            seed=self._seed,
            start_ms=self._origin_ms,
            parameters=self._parameters,
        )

    def _replay(self, path: Path) -> Source:
        """A recording as source; the clock starts at its first message."""
        from earmark.tasks.market.simulator.replay import ReplaySource

        source = ReplaySource(path, self.venue(), self._dialect, self.ledger)
        self.symbols, self._start_ms = source.symbols, source.next_ms
        self._clock_starts()
        self._origin_ms = source.next_ms
        return source

    async def _run(self) -> None:
        """Step the market whenever its clock says so, as far as sockets have room."""
        if self._waits:
            await self._first_subscription.wait()
        while self._source.next_ms < NEVER_MS:
            wait_s = self._exchange_clock.wall_s_until(self._source.next_ms)
            await asyncio.sleep(wait_s)
            self._wait_with_market()
            for fault in self._faults.due((self._source.next_ms - self._origin_ms) / 1_000):
                self.inject(fault)
            self._distribute(self._source.advance(self._wanted()))
            for socket in list(self._sockets):
                await socket.room()
            await self._be_read()
        self.finished.set()

    def _wait_with_market(self) -> None:
        """Set the clock back by what the market is behind, where it follows its readers."""
        lag_ms = self.lag_ms
        if self._follows and lag_ms:
            self.clock, self._exchange_clock = self.clock.ahead(-lag_ms), self._exchange_clock.ahead(-lag_ms)

    async def _be_read(self) -> None:
        """Every `_MARK_MS` let the clients tell what they have read, and wait for all but their last answer."""
        if not self._follows or self._source.next_ms < self._next_mark_ms:
            return
        self._next_mark_ms = self._source.next_ms + _MARK_MS
        listening = [socket for socket in self._sockets if socket.topics]
        for socket in listening:
            socket.mark()
        for socket in listening:
            await socket.read(1)

    def _wanted(self) -> set[Topic]:
        return {topic for socket in self._sockets for topic in socket.topics}

    def _distribute(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            for socket in self._sockets:
                if frame.topic in socket.topics:
                    socket.put(frame)

    def _application(self) -> web.Application:
        from aiohttp import web

        application = web.Application()
        for path in self._dialect.socket_paths:
            application.router.add_get(path, self._serve_socket)
        for path, answer in self._dialect.rest().items():
            application.router.add_get(path, self._answering(answer))
        application.router.add_get("/simulator/clock", self._serve_clock)
        application.router.add_get("/simulator/ledger", self._serve_ledger)
        application.router.add_post("/simulator/faults", self._serve_faults)
        return application

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        if self._source.next_ms < self._refused_until_ms:
            self.ledger.sockets["refused"] += 1
            return web.Response(status=503, text="the exchange refuses connections")
        web_socket = web.WebSocketResponse(compress=False, autoping=False)  # pongs tell what was read
        await web_socket.prepare(request)
        self.ledger.sockets["opened"] += 1
        socket = Socket(web_socket, self._dialect, self.ledger, self._source.symbols, self._open)
        socket.n_refuse, self._n_refuse = self._n_refuse, 0
        self._sockets.add(socket)
        try:
            await socket.serve()
        finally:
            self._sockets.discard(socket)
            self.ledger.sockets["ended"] += 1
        return web_socket

    def _open(self, topic: Topic) -> list[Frame]:
        frames = self._source.opening(topic)
        self._first_subscription.set()
        return frames

    def _answering(self, answer: Answer) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            from aiohttp import web

            self.ledger.requests["received"] += 1
            status, payload = await self._faulty() or answer(self._source, request.query, self.now_ns())
            return web.json_response(payload, status=status)

        return handle

    async def _faulty(self) -> tuple[int, Any] | None:
        """The answer of a REST fault that waits to happen."""
        kind = next((kind for kind in sorted(_REST_FAULTS) if self._rest_faults[kind] > 0), None)
        if kind is None:
            return None
        self._rest_faults[kind] -= 1
        self.ledger.requests[kind] += 1
        if kind == "rest_timeout":
            await asyncio.sleep(3_600)
        if kind == "rest_code":
            return self._dialect.rest_error()
        status = int(kind.removeprefix("rest_")) if kind != "rest_timeout" else 504
        return status, {"error": "a scripted fault"}

    async def _serve_clock(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response(self.clock.to_dict() | {"now_ns": self.now_ns(), "lag_ms": self.lag_ms})

    async def _serve_ledger(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.json_response(self.ledger.to_dict())

    async def _serve_faults(self, request: web.Request) -> web.Response:
        from aiohttp import web

        try:
            faults = [Fault.parse(part) for part in (await request.text()).split(",")]
        except UsageError as error:
            return web.json_response({"error": str(error)}, status=400)
        for fault in faults:
            self.inject(fault)
        return web.json_response({"injected": len(faults)})


def _dialect(venue: str) -> Dialect:
    known: dict[str, type[BybitDialect] | type[BinanceDialect]] = {
        "bybit": BybitDialect,
        "binance": BinanceDialect,
    }
    if venue not in known:
        raise UsageError(f"the exchange `{venue}` cannot be simulated. Known are {', '.join(known)}.")
    return known[venue]()
