"""A simulated market faster than anyone reads: it waits, and the collector's clock goes by what it was told."""

from __future__ import annotations

import asyncio
import multiprocessing

import pytest

pytest.importorskip("aiohttp")
import aiohttp
from collecting import START_MS, collector_of, options

from earmark.store.raw import RawStore
from earmark.tasks.market.collect.clock import StreamClock, WallClock
from earmark.tasks.market.simulator.server import ExchangeSimulator

SYMBOLS = ("BTCUSDT", "ETHUSDT")
MINUTES = 1


def _burn(stop):
    while not stop.is_set():
        sum(range(10_000))


@pytest.fixture
def busy():
    """Twice as many processes that want the processor as it has cores."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    burners = [
        context.Process(target=_burn, args=(stop,), daemon=True)
        for _ in range(2 * multiprocessing.cpu_count())
    ]
    for burner in burners:
        burner.start()
    yield
    stop.set()
    for burner in burners:
        burner.join()


@pytest.mark.slow
@pytest.mark.parametrize("venue", ["bybit", "binance"])
def test_every_sample_comes_at_any_speed_on_a_busy_machine(tmp_path, busy, venue):
    chosen = options(tmp_path, SYMBOLS, duration_s=60 * MINUTES, collection_interval=1)

    async def run():
        exchange = ExchangeSimulator(SYMBOLS, venue=venue, speed=1e6, start_ms=START_MS, follow_readers=True)
        async with exchange:
            collector = collector_of(exchange, chosen)
            return collector, await collector.run(), exchange.ledger.to_dict()

    collector, finished, ledger = asyncio.run(run())
    statistics = finished.statistics
    assert statistics["missed_ticks"] == 0
    assert statistics["jitter_ms"] <= 1500  # a grace, and what is sent ahead of the readers
    raw = RawStore(tmp_path / "data" / "raw")
    for symbol in SYMBOLS:
        times = raw.scan("book_steps", symbol).collect()["time_ms"].to_list()
        assert times == list(range(times[0], times[-1] + 1, 3000))
        assert times[0] <= START_MS + (3000 if venue == "bybit" else 60_000)
        assert times[-1] >= START_MS + 60_000 * MINUTES - 6000
        assert collector.pipelines[symbol].counts["late"] == 0
        n_trades = raw.scan("trades", symbol).collect().height
        ranges = ledger["symbols"][symbol]["sent"]["trade_numbers"]
        assert n_trades >= sum(last - first + 1 for first, last in ranges) - 20  # the last were on their way


def test_a_client_that_never_reads_holds_the_market_and_is_not_waited_for_when_it_leaves():
    async def run():
        exchange = ExchangeSimulator(("BTCUSDT",), speed=1e6, start_ms=START_MS, follow_readers=True)
        async with exchange, aiohttp.ClientSession() as session:
            venue = exchange.venue()
            (connection,) = venue.connections(("BTCUSDT",), 200)
            async with session.ws_connect(connection.url) as socket:
                await socket.send_str(venue.subscribe_message(connection.topics, "1"))
                await asyncio.sleep(0.5)
                assert exchange.now_ns() // 10**6 <= START_MS + 2_000
            await asyncio.sleep(0.3)
            assert exchange.now_ns() // 10**6 > START_MS + 10_000

    asyncio.run(run())


@pytest.mark.parametrize(
    "text", ['{"topic":"x","ts":1700000000123,"data":{}}', '{"e":"y","E": 1700000000123}']
)
def test_a_stream_clock_shows_what_it_is_told_and_never_goes_back(text):
    clock = StreamClock(1_600_000_000_000_000_000)
    received = clock.receive_ns(text)
    assert received == 1_700_000_000_123_000_000
    older = clock.receive_ns(text.replace("123", "100"))
    assert received < older < clock.receive_ns("pong") < clock.now_ns() < received + 1000


def test_the_wall_clock_does_not_listen():
    clock = WallClock()
    assert clock.receive_ns('{"ts":1600000000000}') >= clock.now_ns() - 10**9 > 1_700_000_000_000_000_000
