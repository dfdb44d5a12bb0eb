"""The raw store: rows come back as they were, each once, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import SchemaError, UsageError
from earmark.orderbook.events import BestQuote, Candle, Trade
from earmark.orderbook.state import BookState
from earmark.store.raw import STREAMS, Message, RawStore

MIDNIGHT = 1_735_689_600_000
SYMBOL = "4USDT"


def _trades(n: int, start_ms: int = MIDNIGHT) -> list[Trade]:
    return [
        Trade(
            SYMBOL,
            start_ms + i,
            1.5 + i,
            0.1,
            (True, False, None)[i % 3],
            str(i),
            (start_ms + i) * 10**6,
            "PlusTick",
        )
        for i in range(n)
    ]


def test_every_stream_gives_back_its_rows(tmp_path: Path) -> None:
    store = RawStore(tmp_path)
    at, ns = MIDNIGHT, MIDNIGHT * 10**6
    rows = {
        "trades": _trades(5),
        "candles": [
            Candle(SYMBOL, at, 1, 3, 0.5, 2, 10, 20, closed, ns + closed) for closed in (False, True)
        ],
        "bbo": [BestQuote(SYMBOL, at + i, 1.0, 2.0, 3.0 + i, 4.0, ns + i) for i in range(3)],
        "messages": [Message(SYMBOL, at, ns, "public-0", '{"op": "pong"}')],
    }
    for stream, given_rows in rows.items():
        store.append(stream, SYMBOL, given_rows)
        assert store.read_rows(stream, SYMBOL) == given_rows
    assert store.symbols() == [SYMBOL]


def test_the_newest_row_is_known_without_reading_any(tmp_path: Path) -> None:
    store = RawStore(tmp_path)
    assert store.newest_ms("trades", SYMBOL) is None
    store.append("trades", SYMBOL, _trades(5, MIDNIGHT + 86_400_000))
    store.append("trades", SYMBOL, _trades(3))
    assert store.newest_ms("trades", SYMBOL) == MIDNIGHT + 86_400_004
    assert store.newest_ms("candles", SYMBOL) is None
    (newest,) = store.files("trades", SYMBOL, MIDNIGHT + 86_400_000)
    (older,) = store.files("trades", SYMBOL, end_ms=MIDNIGHT)
    older.write_bytes(older.read_bytes()[:-1])
    assert store.newest_ms("trades", SYMBOL) == MIDNIGHT + 86_400_004 and not store.set_aside()
    newest.write_bytes(b"")
    assert store.newest_ms("trades", SYMBOL) is None
    assert len(store.set_aside()) == 2, "a day whose files are cut off has no rows"


def test_books_of_any_depth_come_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    states = [
        BookState(MIDNIGHT + 3000 * i, i, rng.random((i, 2)), rng.random((50 - i, 2)), i, 3, i == 2, 1)
        for i in range(4)
    ]
    store = RawStore(tmp_path)
    store.append("book_steps", SYMBOL, states)
    for found, state in zip(store.read_rows("book_steps", SYMBOL), states, strict=True):
        for name in BookState.__slots__:
            np.testing.assert_array_equal(getattr(found, name), getattr(state, name))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5), compacted=st.booleans())
def test_what_a_writer_repeats_counts_once(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]], compacted: bool
) -> None:
    trades = _trades(30, MIDNIGHT - 15)
    store = RawStore(tmp_path_factory.mktemp("raw"))
    for low, high in cuts:
        store.append("trades", SYMBOL, trades[low:high])
    if compacted:
        for date in store.dates("trades", SYMBOL):
            store.compact("trades", SYMBOL, date)
    written = sorted({i for low, high in cuts for i in range(low, high)})
    assert store.read_rows("trades", SYMBOL) == [trades[i] for i in written]
    assert store.read_rows("trades", SYMBOL, MIDNIGHT, MIDNIGHT + 4) == [
        trades[i] for i in written if 15 <= i < 20
    ]


def test_rows_of_two_days_lie_in_two_folders(tmp_path: Path) -> None:
    files = RawStore(tmp_path).append("trades", SYMBOL, _trades(4, MIDNIGHT - 2))
    folders = [path.parent.relative_to(tmp_path).as_posix() for path in files]
    assert folders == [f"{SYMBOL}/trades/date=2024-12-31", f"{SYMBOL}/trades/date=2025-01-01"]


def test_a_file_that_was_cut_off_is_set_aside(tmp_path: Path) -> None:
    store = RawStore(tmp_path)
    first, second = store.append("trades", SYMBOL, _trades(4, MIDNIGHT - 2))
    first.write_bytes(first.read_bytes()[:-1])
    assert [trade.time_ms for trade in store.read_rows("trades", SYMBOL)] == [MIDNIGHT, MIDNIGHT + 1]
    assert [record.path for record in store.set_aside()] == [first.relative_to(tmp_path).as_posix()]
    assert second.is_file()


def test_what_does_not_belong_is_refused(tmp_path: Path) -> None:
    store = RawStore(tmp_path)
    with pytest.raises(UsageError, match="expected a Trade"):
        store.append("trades", "BTCUSDT", _trades(1))
    with pytest.raises(UsageError, match="no stream"):
        store.append("quotes", SYMBOL, [])
    with pytest.raises(SchemaError, match="Rename"):
        store.append("bbo", SYMBOL, store.scan("trades", SYMBOL).collect())
    assert store.append("trades", SYMBOL, []) == ()
    assert set(STREAMS) == {"book_steps", "trades", "candles", "bbo", "messages"}
