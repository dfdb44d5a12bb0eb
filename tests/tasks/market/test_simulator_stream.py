"""A real client at the simulated exchange: what it hears is what the ledger counts, faults included."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request

import aiohttp
import pytest
from exchange_clients import Heard, NaiveBook, listen, without_loss

from earmark.errors import UsageError
from earmark.tasks.market.simulator import ExchangeSimulator
from earmark.tasks.market.simulator.faults import Fault
from earmark.tasks.market.simulator.market import MarketParameters
from earmark.tasks.market.venues import venue as venue_named
from earmark.tasks.market.venues.joining import SnapshotJoin

MINUTE_MS = 1_700_000_000_000 // 60_000 * 60_000
START_MS = MINUTE_MS + 50_000  # a candle closes after ten seconds
SMALL = MarketParameters(levels=60, history_minutes=250)


def _exchange(faults: str = "", symbols: tuple[str, ...] = ("BTCUSDT",), **options) -> ExchangeSimulator:
    given = {"speed": 40, "start_ms": START_MS, "parameters": SMALL, "wait_for_subscription": True} | options
    return ExchangeSimulator(symbols, faults=faults, **given)


def _hear(faults: str, symbols: tuple[str, ...] = ("BTCUSDT",), **options) -> tuple[Heard, dict]:
    """Listen until the exchange closes the sockets."""

    async def scenario() -> tuple[Heard, dict]:
        async with _exchange(faults, symbols, **options) as exchange:
            heard = await listen(exchange.venue(), list(symbols))
            return heard, exchange.ledger.to_dict()

    return asyncio.run(scenario())


def _check_counts(heard: Heard, account: dict, symbol: str) -> None:
    sent = account["sent"]
    books = [update for update in heard.books if update.symbol == symbol]
    deltas = [update for update in books if not update.is_snapshot]
    assert len(books) - len(deltas) == sent["book_snapshots"]
    assert len(deltas) == sent["book_deltas"]
    assert sum(len(update.bids) + len(update.asks) for update in deltas) == sent["level_changes"]
    numbers = [int(trade.trade_id.split("-")[1]) for trade in heard.trades if trade.symbol == symbol]
    assert len(numbers) == sent["trades"]
    assert sorted(numbers) == [n for low, high in sent["trade_numbers"] for n in range(low, high + 1)]
    closed = [candle for candle in heard.candles if candle.is_closed and candle.symbol == symbol]
    assert len(closed) == sent.get("candles_closed", 0)


@pytest.mark.parametrize("name", ["bybit", "binance"])
def test_ledger_counts_what_a_client_received(name):
    symbols = ("BTCUSDT", "4USDT")
    heard, ledger = _hear("close@20", symbols, venue=name)
    for symbol in symbols:
        account = ledger["symbols"][symbol]
        heard_counts = {
            "book": sum(update.symbol == symbol for update in heard.books),
            "trades": sum(trade.symbol == symbol for trade in heard.trades),
            "closed": sum(candle.is_closed and candle.symbol == symbol for candle in heard.candles),
        }
        sent = account["sent"]
        assert heard_counts["book"] == sent["book_deltas"] + sent.get("book_snapshots", 0) > 150
        assert heard_counts["trades"] == sent["trades"] > 15
        assert heard_counts["closed"] == sent["candles_closed"] == 1
    assert ledger["sockets"]["closed_by_fault"] == len(venue_named(name).connections(symbols, 200))


def test_times_and_order_of_a_healthy_stream():
    heard, ledger = _hear("close@20")
    _check_counts(heard, ledger["symbols"]["BTCUSDT"], "BTCUSDT")
    assert heard.gaps() == []
    times = [update.event_ms for update in heard.books]
    assert times == sorted(times) and set(times[1:]) <= set(range(START_MS, times[-1] + 1, 100))
    assert {trade.time_ms for trade in heard.trades} <= set(times)
    assert all(update.sent_ms >= update.event_ms for update in heard.books)


@pytest.mark.parametrize("fault", ["drop@3", "duplicate@3", "reorder@3", "restart@3", "crossed@3", "stall@3+4",
                                   "delay@3+4", "malformed@3", "server_ping@3", "late_candle@3+5"])  # fmt: skip
def test_each_fault_shows_in_the_stream_and_in_the_ledger(fault):
    kind = fault.partition("@")[0]
    heard, ledger = _hear(f"{fault}:BTCUSDT,close@18", ("BTCUSDT",))
    account = ledger["symbols"]["BTCUSDT"]
    assert account["faults"] == {kind: 1}
    _check_counts(heard, account, "BTCUSDT")
    _SIGNS[kind](heard, ledger)


def _sees_gaps(*expected: int):
    def check(heard: Heard, ledger: dict) -> None:
        assert [after - before for before, after in heard.gaps()] == list(expected)

    return check


def _sees_restart(heard: Heard, ledger: dict) -> None:
    at = [update.update_id for update in heard.books].index(1)
    assert heard.books[at].is_snapshot and heard.books[at + 1].update_id == 2


def _sees_crossed(heard: Heard, ledger: dict) -> None:
    book, crossed = NaiveBook(), []
    for update in heard.books:
        book.apply(update)
        crossed.append(book.is_crossed)
    assert sum(crossed) == 1 and not crossed[-1]


def _sees_silence(heard: Heard, ledger: dict) -> None:
    steps = [two.event_ms - one.event_ms for one, two in zip(heard.books, heard.books[1:], strict=False)]
    assert max(steps) > 3_500 and heard.gaps() == []


def _sees_whole(heard: Heard, ledger: dict) -> None:
    steps = [two.event_ms - one.event_ms for one, two in zip(heard.books[1:], heard.books[2:], strict=False)]
    assert set(steps) == {100} and heard.gaps() == []


def _sees_malformed(heard: Heard, ledger: dict) -> None:
    assert heard.n_malformed == ledger["symbols"]["BTCUSDT"]["sent"]["malformed"] == 1


def _sees_ping(heard: Heard, ledger: dict) -> None:
    assert ledger["sockets"]["pongs"] == 1


def _sees_late_candle(heard: Heard, ledger: dict) -> None:
    kinds = [candle.is_closed for candle in heard.candles if candle.start_ms == MINUTE_MS]
    later = [candle for candle in heard.candles if candle.start_ms > MINUTE_MS]
    assert kinds[-1] and heard.candles.index(later[0]) < [c.is_closed for c in heard.candles].index(True)


_SIGNS = {
    "drop": _sees_gaps(2),
    "duplicate": _sees_gaps(0),
    "reorder": _sees_gaps(2, -1, 2),
    "restart": _sees_restart,
    "crossed": _sees_crossed,
    "stall": _sees_silence,
    "delay": _sees_whole,
    "malformed": _sees_malformed,
    "server_ping": _sees_ping,
    "late_candle": _sees_late_candle,
}


@pytest.mark.parametrize("depth", [1, 50, 200])
def test_book_rebuilt_from_the_stream_equals_the_one_of_rest(depth):
    async def scenario() -> None:
        async with _exchange(speed=5) as exchange, aiohttp.ClientSession() as session:
            venue = exchange.venue()
            rest = venue.rest(session, exchange.clock.now_ns)
            heard = Heard()
            (connection,) = venue.connections(["BTCUSDT"], depth)
            async with session.ws_connect(connection.url) as socket:
                await socket.send_str(venue.subscribe_message(connection.topics, "1"))
                while len(heard.books) < 20:
                    heard.take(venue, await socket.receive_str())
                asked = await rest.book("BTCUSDT", depth)
                while heard.books[-1].update_id < asked.update_id:
                    heard.take(venue, await socket.receive_str())
            book = NaiveBook()
            for update in heard.books:
                if update.update_id <= asked.update_id:
                    book.apply(update)
            assert book.update_id == asked.update_id
            for side, rows in zip(book.sides, (asked.bids, asked.asks), strict=True):
                assert side == dict(map(tuple, rows.tolist()))

    asyncio.run(scenario())


def test_subscriptions_are_granted_or_refused_as_a_whole():
    async def scenario() -> list[str]:
        async with _exchange() as exchange, aiohttp.ClientSession() as session:
            venue, kinds = exchange.venue(), []
            exchange.inject(Fault(0.0, "refuse_subscription"))
            async with session.ws_connect(exchange.websocket_url) as socket:
                for topics in (["kline.1.BTCUSDT"], ["kline.1.XUSDT"], ["kline.5.BTCUSDT"], ["kline.1.BTCUSDT"],
                               ["kline.1.BTCUSDT"]):  # fmt: skip
                    await socket.send_str(venue.subscribe_message(topics, "r"))
                    while isinstance(parsed := venue.parse(await socket.receive_str(), 0), list):
                        pass
                    kinds.append(f"{parsed.kind} {parsed.message}".split(",")[0])
                await socket.send_str("nonsense")
                while isinstance(parsed := venue.parse(await socket.receive_str(), 0), list):
                    pass
                kinds.append(parsed.kind)
            return kinds

    assert asyncio.run(scenario()) == [
        "refused error:refused by a scripted fault",
        "refused error:handler not found",
        "refused error:handler not found",
        "subscribed ",
        "refused error:already subscribed",
        "refused",
    ]


def test_connections_are_refused_for_a_while():
    async def scenario() -> None:
        async with _exchange(wait_for_subscription=False) as exchange, aiohttp.ClientSession() as session:
            exchange.inject(Fault(0.0, "refuse", duration_s=8.0))
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(exchange.websocket_url)
            while exchange.clock.now_ms() - exchange.lag_ms < START_MS + 9_000:
                await asyncio.sleep(0.05)
            await (await session.ws_connect(exchange.websocket_url)).close()
            assert exchange.ledger.sockets["refused"] == 1

    asyncio.run(scenario())


def test_the_process_serves_its_clock_and_ends_on_a_signal():
    command = [
        sys.executable,
        "-m",
        "earmark.tasks.market.simulator",
        "--symbols",
        "BTCUSDT",
        "--speed",
        "60",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        urls = json.loads(process.stdout.readline())
        with urllib.request.urlopen(urls["rest_url"] + "/simulator/clock", timeout=10) as answer:
            clock = json.load(answer)
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=10)
    assert process.returncode == 0 and complaints == ""
    assert clock["speed"] == 60 and clock["exchange_origin_ns"] == clock["wall_origin_ns"]


def test_what_cannot_be_simulated_is_refused():
    for wrong in ({"speed": 0}, {"venue": "kraken"}, {"faults": "explode@1"}):
        with pytest.raises(UsageError):
            _exchange(**wrong)


def test_binance_book_joined_to_a_rest_snapshot_follows_without_a_gap():
    async def scenario() -> None:
        async with _exchange(speed=5, venue="binance") as exchange, aiohttp.ClientSession() as session:
            venue, join, heard = exchange.venue(), SnapshotJoin(), Heard()
            rest = venue.rest(session, exchange.clock.now_ns)
            books, _ = venue.connections(["BTCUSDT"], 200)
            async with session.ws_connect(books.url) as socket:
                await socket.send_str(venue.subscribe_message(books.topics, "1"))
                while len(heard.books) < 10:
                    heard.take(venue, await socket.receive_str())
                snapshot = await rest.book("BTCUSDT", 1000)
                while heard.books[-1].update_id < snapshot.update_id + 20:
                    heard.take(venue, await socket.receive_str())
                for update in heard.books:
                    join.hold(update)
                joined, last = join.join(snapshot), await rest.book("BTCUSDT", 1000)
                while heard.books[-1].update_id < last.update_id:
                    heard.take(venue, await socket.receive_str())
            joined += [update for update in heard.books if update.update_id > joined[-1].update_id]
            assert without_loss(joined, "BTCUSDT")
            book = NaiveBook()
            for update in joined:
                if update.update_id <= last.update_id:
                    book.apply(update)
            assert book.sides == tuple(dict(map(tuple, rows.tolist())) for rows in (last.bids, last.asks))

    asyncio.run(scenario())


def test_random_faults_and_reconnections_reconcile_exactly():
    symbols = ("BTCUSDT", "4USDT")

    async def scenario() -> tuple[Heard, list[dict], dict]:
        heard = Heard()
        async with _exchange("random:7/2", symbols, speed=60) as exchange:
            while exchange.ledger.sockets["closed_by_fault"] < 2:
                part = await listen(exchange.venue(), list(symbols))
                heard.books += part.books
                heard.trades += part.trades
                heard.n_malformed += part.n_malformed
            ledger = exchange.ledger.to_dict()
        return heard, [ledger["symbols"][symbol] for symbol in symbols], ledger["sockets"]

    heard, accounts, sockets = asyncio.run(scenario())
    sent = [account["sent"] for account in accounts]
    assert len(heard.books) == sum(each["book_snapshots"] + each["book_deltas"] for each in sent)
    assert len(heard.trades) == sum(each["trades"] for each in sent)
    assert heard.n_malformed == sum(each.get("malformed", 0) for each in sent)
    assert sockets["opened"] == sockets["closed_by_fault"]
    assert sum(sum(account["faults"].values()) for account in accounts) > 5
