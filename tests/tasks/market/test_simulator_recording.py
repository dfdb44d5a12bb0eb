"""What was recorded is what is replayed, text for text."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from exchange_clients import Heard, NaiveBook, listen

from earmark.errors import InputError
from earmark.tasks.market.simulator import ExchangeSimulator
from earmark.tasks.market.simulator.market import MarketParameters
from earmark.tasks.market.simulator.recording import read_recording, record_session
from earmark.tasks.market.venues.base import VenueError

SYMBOLS = ["BTCUSDT", "ETHUSDT"]


def _record(path, *, faults: str = "") -> int:
    async def scenario() -> int:
        exchange = ExchangeSimulator(
            SYMBOLS,
            speed=20,
            faults=faults,
            parameters=MarketParameters(levels=60),
            wait_for_subscription=True,
        )
        async with exchange:
            now_ns = exchange.clock.now_ns
            return await record_session(path, exchange.venue(), SYMBOLS, duration_s=1.5, now_ns=now_ns)

    return asyncio.run(scenario())


def _replay(path, speed: float) -> tuple[Heard, NaiveBook, dict]:
    async def scenario() -> tuple[Heard, NaiveBook, dict]:
        async with ExchangeSimulator(recording=path, speed=speed) as exchange:
            listening = asyncio.create_task(listen(exchange.venue(), SYMBOLS, seconds=30))
            await asyncio.wait_for(exchange.finished.wait(), 30)
            async with aiohttp.ClientSession() as session:
                rest = exchange.venue().rest(session, exchange.clock.now_ns)
                asked, candles = await rest.book("BTCUSDT", 200), await rest.candles("BTCUSDT", 100)
            assert len(candles) == 100
            for socket in list(exchange._sockets):
                socket.end()
            heard, book = await listening, NaiveBook()
            book.apply(asked)
            return heard, book, exchange.ledger.to_dict()

    return asyncio.run(scenario())


@pytest.mark.parametrize("speed", [60, 400])
def test_replay_equals_the_recording(tmp_path, speed):
    path = tmp_path / "session.jsonl.zst"
    n_messages = _record(path, faults="drop@5,malformed@7")
    header, messages = read_recording(path)
    recorded = list(messages)
    assert header.symbols == tuple(SYMBOLS) and len(recorded) == n_messages > 200
    assert [ns for ns, _ in recorded] == sorted(ns for ns, _ in recorded)
    heard, book, ledger = _replay(path, speed)
    readable = [text for _, text in recorded if text.endswith("}")]
    assert heard.texts == readable and len(readable) == n_messages - 1
    rebuilt = NaiveBook()
    for update in heard.books:
        if update.symbol == "BTCUSDT":
            rebuilt.apply(update)
    assert rebuilt.sides == book.sides and rebuilt.update_id == book.update_id
    sent = [ledger["symbols"][symbol]["sent"] for symbol in SYMBOLS]
    assert sum(account["trades"] for account in sent) == len(heard.trades)


def test_a_recording_that_is_cut_off_says_so(tmp_path):
    path = tmp_path / "session.jsonl.zst"
    _record(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cut off|cannot be read"):
        list(read_recording(path)[1])
    path.write_bytes(b"not zstd at all")
    with pytest.raises(InputError, match="session"):
        read_recording(path)


def test_a_socket_that_ends_early_leaves_no_recording(tmp_path):
    path = tmp_path / "session.jsonl.zst"
    with pytest.raises(VenueError, match="before the recording ended"):
        _record(path, faults="close@5")
    assert [file.name for file in tmp_path.iterdir()] == ["session.jsonl.zst.partial"]
