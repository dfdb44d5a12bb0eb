"""Sockets: refusals, silence, dead servers, and what is asked by REST for what they cost."""

from __future__ import annotations

import asyncio
import itertools

import pytest

pytest.importorskip("aiohttp")
import aiohttp.web
from collecting import START_MS, all_live, collect, options

SYMBOLS = ("BTCUSDT", "ETHUSDT")


def test_a_refused_subscription_is_tried_again(tmp_path):
    collector, _, ledger = collect(
        options(tmp_path, SYMBOLS),
        all_live,
        speed=20,
        faults="refuse_subscription@0=2",
        wait_for_subscription=False,  # the fault is there before anyone has subscribed
    )
    assert collector.counts["lost_connections"] >= 1
    assert ledger["sockets"]["opened"] >= 2
    assert {health.state for health in collector.health.values()} == {"live"}


def test_one_dead_connection_stops_no_other(tmp_path):
    symbols = tuple(f"S{number}USDT" for number in range(11))  # ten on one socket, one on the other

    def until(collector):
        return collector.counts["lost_connections"] and all_live(collector)

    collector, _, _ = collect(options(tmp_path, symbols), until, speed=4, faults="close@6:S0USDT")
    assert collector.counts["lost_connections"] == 1
    assert collector.pipelines["S0USDT"].counts["gaps"] == 1
    assert collector.pipelines["S10USDT"].counts["gaps"] == 0
    assert collector.health["S10USDT"].n_reconnects == 0


def test_a_silent_book_is_asked_for_anew(tmp_path):
    def until(collector):
        return collector.health["BTCUSDT"].n_resyncs and all_live(collector)

    chosen = options(tmp_path, SYMBOLS, book_stale_s=5)
    collector, _, _ = collect(chosen, until, speed=10, faults="stall@10+8:BTCUSDT")
    assert collector.health["BTCUSDT"].n_resyncs >= 1
    assert collector.health["BTCUSDT"].state == "live"
    assert collector.pipelines["BTCUSDT"].counts["gaps"] >= 1


def test_a_candle_that_no_socket_brings_is_asked_for(tmp_path):
    def until(collector):
        newest = collector.pipelines["BTCUSDT"].newest_minute_ms
        return newest is not None and newest >= START_MS

    collector, _, _ = collect(
        options(tmp_path, ("BTCUSDT",)), until, speed=30, faults="late_candle@30+3000:BTCUSDT"
    )
    assert collector.pipelines["BTCUSDT"].newest_minute_ms >= START_MS


def test_requests_that_fail_stop_nothing(tmp_path):
    def until(collector):
        return collector.counts["lost_connections"] and collector.buffers.total >= 2 and all_live(collector)

    _, finished, ledger = collect(
        options(tmp_path, ("BTCUSDT",)),
        until,
        speed=20,
        faults="close@8,rest_500@8=3,rest_429@9=2,server_ping@9",
    )
    assert finished.n_samples >= 2
    assert ledger["requests"]["rest_500"] >= 1


def test_a_server_that_is_gone_is_sought_with_growing_pauses(tmp_path):
    from earmark.tasks.market.collect.clock import WallClock
    from earmark.tasks.market.collect.connection import Health, Socket, Timing
    from earmark.tasks.market.venues import venue

    losses = []

    class Sink:
        def __init__(self):
            self.health = {"BTCUSDT": Health()}

        def lost(self, connection, reason):
            losses.append((asyncio.get_running_loop().time(), reason))

    async def run():
        bybit = venue("bybit", websocket_url="ws://127.0.0.1:9/none", rest_url="http://127.0.0.1:9")
        async with aiohttp.ClientSession() as session:
            socket = Socket(
                bybit,
                bybit.connections(["BTCUSDT"], 200)[0],
                200,
                sink=Sink(),
                session=session,
                rest=bybit.rest(session, WallClock().now_ns),
                clock=WallClock(),
                timing=Timing(backoff_s=0.05, backoff_max_s=0.2),
            )
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(socket.run(), 1.0)

    asyncio.run(run())
    pauses = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(losses)]
    assert pauses[0] < pauses[1] < pauses[2]
    assert pauses[2] >= 0.2
    assert "Connect call failed" in losses[0][1] or "Cannot connect" in losses[0][1]
