"""A collector that is interrupted, whose exchange restarts, or whose machine's clock is set back."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("aiohttp")

from earmark.orderbook.engine import NOT_READY
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.collect.clock import WallClock
from earmark.tasks.market.collect.collector import Collector
from earmark.tasks.market.collect.connection import Timing
from earmark.tasks.market.collect.options import CollectOptions
from earmark.tasks.market.collect.replay import replay_journal
from earmark.tasks.market.collect.stores import Places, unwritten_samples
from earmark.tasks.market.simulator import clock as exchange_clock
from earmark.tasks.market.simulator.server import ExchangeSimulator

SYMBOLS = ("BTCUSDT", "4USDT")
LONGEST_S = 90


@pytest.fixture
def chosen(tmp_path):
    quick = Timing(acknowledge_s=2.0, backoff_s=0.05, backoff_max_s=0.4, resync_s=0.5)
    places = Places(tmp_path / "data", tmp_path / "data" / "ml_training")
    return CollectOptions(SYMBOLS, places, timing=quick, collection_interval=1)


def wait_for(condition, of=None):
    deadline = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < deadline and (of is None or of.poll() is None)
        time.sleep(0.05)


def run_with(chosen, act, **exchange_options):
    """Collect at the wall's pace while `act(collector, exchange)` runs, then stop; the collector."""

    async def run():
        async with ExchangeSimulator(SYMBOLS, **exchange_options) as exchange:
            collector = Collector(exchange.venue(), chosen)
            running = asyncio.create_task(collector.run())
            try:
                await asyncio.wait_for(act(collector, exchange), LONGEST_S)
            finally:
                collector.stop()
                await running
            return collector

    return asyncio.run(run())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.02)


def all_live(collector):
    return all(health.state == "live" for health in collector.health.values())


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_ends_it_in_order(tmp_path, number):
    status = tmp_path / "data/collector/status.json"
    command = [sys.executable, "-m", "earmark", "collect", "market", "--symbols", ",".join(SYMBOLS)]
    command += ["--simulator", "--speed", "20", "--collection-interval", "1", "--format", "json"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        wait_for(lambda: status.exists() and json.loads(status.read_text())["total_samples"] >= 4, child)
        child.send_signal(number)
        said, complaints = child.communicate(timeout=LONGEST_S)
    assert child.returncode == 0, complaints
    finished = json.loads(said)
    accounted = finished["samples"]
    assert accounted["expected"] == accounted["taken"] + sum(accounted["skipped"].values())
    assert f"{accounted['expected']} samples were due: {accounted['taken']} taken" in complaints
    stored = FeatureStore(tmp_path / "data/feature_store").table("training_features").scan().collect()
    assert stored.height == accounted["taken"] == finished["total_samples"]
    assert unwritten_samples(tmp_path / "data/collector/samples") == {}
    journal = replay_journal(tmp_path / "data/collector/journal", with_features=False)
    assert not any(map(len, journal.rows.values()))
    assert json.loads(status.read_text())["is_running"] is False


def test_an_exchange_that_restarts_is_found_again(chosen):
    async def act(collector, exchange):
        await until(lambda: all_live(collector) and collector.buffers.total >= 2)
        port = exchange._port
        await exchange.__aexit__()
        await until(lambda: collector.counts["lost_connections"] >= 2)
        replaced = ExchangeSimulator(SYMBOLS, seed=1, port=port)
        async with replaced:
            n_before = collector.buffers.total
            await until(lambda: all_live(collector) and collector.buffers.total >= n_before + 2)

    collector = run_with(chosen, act)
    for symbol in SYMBOLS:
        steps = RawStore(chosen.places.data / "raw").scan("book_steps", symbol).collect()
        assert steps["follows_gap"].sum() >= 2  # the start, and behind the restart
        assert steps["time_ms"].is_unique().all()
        assert set(collector.pipelines[symbol].skipped) <= set(NOT_READY)


@pytest.mark.slow
def test_a_clock_that_is_set_back_moves_nothing(chosen, monkeypatch):
    real = time.time_ns
    # The exchange is another machine: its clock goes on.
    monkeypatch.setattr(exchange_clock, "time", SimpleNamespace(time_ns=real))

    async def act(collector, exchange):
        await until(lambda: all_live(collector) and collector.buffers.total >= 2)
        monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
        n_before = collector.buffers.total
        await until(lambda: collector.buffers.total >= n_before + 4)
        monkeypatch.undo()

    collector = run_with(chosen, act)
    for symbol in SYMBOLS:
        raw = RawStore(chosen.places.data / "raw")
        steps = raw.scan("book_steps", symbol).collect()
        assert (steps["time_ms"].diff().drop_nulls() == 3_000).all()
        assert steps["closed_ns"].is_sorted()
        assert raw.scan("trades", symbol).collect().sort("received_ns")["trade_id"].is_unique().all()
    assert collector.feature_clock.n_missed == 0


def test_the_wall_clock_keeps_the_time_of_its_start(monkeypatch):
    clock = WallClock()
    assert abs(clock.now_ns() - time.time_ns()) < 10**8
    now = clock.now_ns()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert now <= clock.now_ns() < now + 10**9


@pytest.mark.slow
def test_frames_that_cannot_be_read_cost_nothing_but_a_line(chosen, caplog):
    hostile = ('{"topic":"orderbook.200.BTCUSDT"}', "[" * 500, '{"topic":7,"data":[]}', "", "null")

    async def act(collector, exchange):
        await until(lambda: all_live(collector) and collector.buffers.total >= 2)
        socket = collector._sockets[0]
        for text in hostile:
            await socket._take(socket._socket, text)
        n_before = collector.buffers.total
        await until(lambda: collector.buffers.total >= n_before + 2)

    collector = run_with(chosen, act)
    assert sum("cannot be read" in record.getMessage() for record in caplog.records) == len(hostile)
    assert all(health.n_resyncs == health.n_reconnects == 0 for health in collector.health.values())


@pytest.mark.slow
def test_two_processes_do_not_share_a_folder(chosen, tmp_path):
    async def act(collector, exchange):
        await until(lambda: all_live(collector))
        command = [sys.executable, "-m", "earmark", "collect", "market", "--symbols", "BTCUSDT"]
        command += ["--url", exchange.websocket_url, "--rest-url", exchange.rest_url, "--duration", "5s"]
        second = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, complaints = await second.communicate()
        assert second.returncode == 2 and b"being written by process" in complaints

    assert run_with(chosen, act).health["BTCUSDT"].n_reconnects == 0


@pytest.mark.slow
def test_a_socket_that_dies_for_good_leaves_the_others_alone(tmp_path, chosen):
    """One of three; a socket has ten symbols."""
    symbols = tuple(f"S{number:02d}USDT" for number in range(21))
    wanted = replace(chosen, symbols=symbols)

    async def run():
        async with ExchangeSimulator(symbols) as exchange:
            collector = Collector(exchange.venue(), wanted)
            running = asyncio.create_task(collector.run())
            await asyncio.wait_for(
                until(lambda: all_live(collector) and collector.buffers.total >= 21), LONGEST_S
            )
            dead = collector._sockets[1]
            dead._session = _NoWay()
            await dead._socket.close()
            n_before = collector.buffers.total
            await asyncio.wait_for(until(lambda: collector.buffers.total >= n_before + 3 * 11), LONGEST_S)
            states = {symbol: health.state for symbol, health in collector.health.items()}
            collector.stop()
            await running
            return collector, states

    collector, states = asyncio.run(run())
    assert {states[symbol] for symbol in symbols[10:20]} == {"connecting"}
    assert {states[symbol] for symbol in (*symbols[:10], symbols[20])} == {"live"}
    assert all(collector.pipelines[symbol].skipped["no_book"] for symbol in symbols[10:20])
    assert not any(collector.pipelines[symbol].skipped for symbol in (*symbols[:10], symbols[20]))


class _NoWay:
    """A session whose connections are refused."""

    def ws_connect(self, *_: object, **__: object) -> object:
        raise ConnectionRefusedError("no way")
