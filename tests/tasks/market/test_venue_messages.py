"""Hand-written frames in the documented form, and what is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from exchange_clients import follows, without_loss
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.orderbook.events import BookUpdate, Candle, Trade
from earmark.tasks.market.venues import venue
from earmark.tasks.market.venues.base import Control, MessageError, UnknownSymbolError
from earmark.tasks.market.venues.joining import SnapshotJoin

BYBIT, BINANCE = venue("bybit"), venue("binance")

BYBIT_BOOK = {
    "topic": "orderbook.50.BTCUSDT",
    "type": "delta",
    "ts": 1687940967466,
    "data": {
        "s": "BTCUSDT",
        "b": [["30247.20", "30.028"], ["30245.40", "0"]],
        "a": [],
        "u": 177400507,
        "seq": 66544703342,
    },
    "cts": 1687940967464,
}
BYBIT_TRADE = {
    "topic": "publicTrade.4USDT",
    "type": "snapshot",
    "ts": 1672304486868,
    "data": [
        {
            "T": 1672304486865,
            "s": "4USDT",
            "S": "Sell",
            "v": "0.001",
            "p": "16578.50",
            "L": "ZeroMinusTick",
            "i": "20f43950-d8dd-5b31-9112-a178eb6023af",
            "BT": True,
        }
    ],
}
BYBIT_CANDLE = {
    "topic": "kline.1.BTCUSDT",
    "data": [
        {
            "start": 1672324800000,
            "end": 1672324859999,
            "interval": "1",
            "open": "16649.5",
            "close": "16677",
            "high": "16677",
            "low": "16608",
            "volume": "2.081",
            "turnover": "34666.4005",
            "confirm": True,
            "timestamp": 1672324988882,
        }
    ],
    "ts": 1672324988882,
    "type": "snapshot",
}


def test_bybit_book_times_stand_at_the_top_of_the_message():
    (update,) = BYBIT.parse(json.dumps(BYBIT_BOOK), 7)
    assert isinstance(update, BookUpdate)
    assert (update.event_ms, update.sent_ms, update.received_ns) == (1687940967464, 1687940967466, 7)
    assert (update.update_id, update.sequence, update.is_snapshot) == (177400507, 66544703342, False)
    np.testing.assert_array_equal(update.bids, [[30247.2, 30.028], [30245.4, 0.0]])
    assert update.asks.shape == (0, 2)
    inside = {**BYBIT_BOOK, "data": {**BYBIT_BOOK["data"], "cts": 1, "ts": 1}}
    del inside["cts"]
    with pytest.raises(MessageError, match="cts"):
        BYBIT.parse(json.dumps(inside), 7)


def test_bybit_update_id_1_replaces_the_book_even_as_a_delta():
    restarted = {**BYBIT_BOOK, "data": {**BYBIT_BOOK["data"], "u": 1}}
    (update,) = BYBIT.parse(json.dumps(restarted), 0)
    assert update.is_snapshot and follows(177400507, update)


def test_bybit_continuity_is_u_plus_one():
    (update,) = BYBIT.parse(json.dumps(BYBIT_BOOK), 0)
    assert [follows(before, update) for before in (177400505, 177400506, 177400507)] == [
        False,
        True,
        False,
    ]


def test_bybit_trade_with_a_leading_digit_and_block_flag():
    (trade,) = BYBIT.parse(json.dumps(BYBIT_TRADE), 3)
    expected = Trade(
        "4USDT",
        1672304486865,
        16578.5,
        0.001,
        False,
        "20f43950-d8dd-5b31-9112-a178eb6023af",
        3,
        "ZeroMinusTick",
        True,
    )
    assert trade == expected


def test_bybit_candle_is_closed_by_confirm():
    (candle,) = BYBIT.parse(json.dumps(BYBIT_CANDLE), 5)
    assert candle == Candle(
        "BTCUSDT", 1672324800000, 16649.5, 16677, 16608, 16677, 2.081, 34666.4005, True, 5
    )


@pytest.mark.parametrize(
    "change", [{"low": "16650"}, {"high": "16660"}, {"volume": "-1"}, {"open": "nan"}, {"start": 5}]
)
def test_candles_that_contradict_themselves_are_refused(change):
    message = {**BYBIT_CANDLE, "data": [{**BYBIT_CANDLE["data"][0], **change}]}
    with pytest.raises(MessageError, match="bybit"):
        BYBIT.parse(json.dumps(message), 0)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"success":true,"ret_msg":"","conn_id":"c","req_id":"r1","op":"subscribe"}', "subscribed"),
        (
            '{"success":false,"ret_msg":"error:handler not found","conn_id":"c","req_id":"r1","op":"subscribe"}',
            "refused",
        ),
        ('{"success":true,"ret_msg":"","conn_id":"c","req_id":"r1","op":"unsubscribe"}', "unsubscribed"),
        ('{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"r1","op":"ping"}', "pong"),
        ('{"req_id":"r1","op":"ping"}', "ping"),
    ],
)
def test_bybit_controls(text, kind):
    control = BYBIT.parse(text, 0)
    assert isinstance(control, Control) and (control.kind, control.request_id) == (kind, "r1")
    assert control.reply == ('{"op":"pong"}' if kind == "ping" else None)


@pytest.mark.parametrize("made", [BYBIT, BINANCE], ids=["bybit", "binance"])
@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "7", '{"topic":"orderbook.200.X","type":"delta","data":{"s":"X","b":[["1', '{"topic":5}',
     '{"topic":"orderbook.50.X","type":"delta","ts":1,"cts":1,"data":{"s":"X","b":[["-1","2"]],"a":[],"u":2}}',
     '{"topic":"orderbook.50.X","type":"delta","ts":1,"cts":1,"data":{"s":"X","b":[["1"]],"a":[],"u":2}}',
     '{"topic":"orderbook.50.X","type":"delta","ts":1,"cts":1,"data":{"s":"X","b":[["1","inf"]],"a":[],"u":2}}',
     '{"topic":"tickers.X","data":{}}', '{"e":"unheard"}', b"\xff\xfe"],
)  # fmt: skip
def test_malformed_messages_are_an_error_that_quotes_them(made, text):
    with pytest.raises(MessageError, match=f"{made.name} cannot be read"):
        made.parse(text, 0)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from([BYBIT_BOOK, BYBIT_TRADE, BYBIT_CANDLE]), st.data())
def test_any_value_in_any_field_parses_or_is_a_message_error(message, data):
    message = json.loads(json.dumps(message))
    place = data.draw(
        st.sampled_from(
            [message, *([message["data"]] if isinstance(message["data"], dict) else message["data"])]
        )
    )
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(_JSON)
    try:
        parsed = BYBIT.parse(json.dumps(message), 0)
    except MessageError as error:
        assert len(str(error)) < 600
    else:
        assert isinstance(parsed, list)


def test_bybit_connections_hold_ten_symbols_and_depth_500_is_retired():
    symbols = [f"{number}USDT" for number in range(23)]
    connections = BYBIT.connections(symbols, 200)
    assert [len(connection.symbols) for connection in connections] == [10, 10, 3]
    assert connections[2].topics[:3] == ("orderbook.200.20USDT", "publicTrade.20USDT", "kline.1.20USDT")
    assert json.loads(BYBIT.subscribe_message(connections[2].topics, "x"))["args"] == list(
        connections[2].topics
    )
    with pytest.raises(UsageError, match="retired"):
        BYBIT.check_depth(500)
    with pytest.raises(UnknownSymbolError, match="capital letters"):
        BYBIT.subscriptions(["../BTC"], 200)


def test_addresses_of_testnet_and_simulator():
    testnet = venue("bybit", testnet=True)
    assert (testnet.websocket_url, testnet.rest_url) == (
        "wss://stream-testnet.bybit.com/v5/public/linear",
        "https://api-testnet.bybit.com",
    )
    assert venue("bybit", websocket_url="ws://127.0.0.1:1/x").websocket_url == "ws://127.0.0.1:1/x"
    with pytest.raises(UsageError, match="kraken"):
        venue("kraken")


def _binance_book(first: int, last: int, previous: int) -> str:
    return json.dumps(
        {"e": "depthUpdate", "E": 1571889248277, "T": 1571889248276, "s": "BTCUSDT", "U": first, "u": last,
         "pu": previous, "b": [["7403.89", "0.002"]], "a": [["7405.96", "0"]]}
    )  # fmt: skip


def test_binance_messages():
    (update,) = BINANCE.parse(_binance_book(390497796, 390497878, 390497794), 4)
    assert (update.event_ms, update.sent_ms) == (1571889248276, 1571889248277)
    assert [follows(before, update) for before in (390497794, 390497795)] == [True, False]
    trade = {"e": "aggTrade", "E": 123456789, "a": 5933014, "s": "BTCUSDT", "p": "0.001", "q": "100", "f": 100,
             "l": 105, "T": 123456785, "m": True}  # fmt: skip
    assert BINANCE.parse(json.dumps(trade), 4) == [
        Trade("BTCUSDT", 123456785, 0.001, 100.0, False, "5933014", 4)
    ]
    candle = {"e": "kline", "E": 1638747660000, "s": "BTCUSDT", "k": {
        "t": 1638747660000, "T": 1638747719999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200, "o": "0.0010",
        "c": "0.0020", "h": "0.0025", "l": "0.0005", "v": "1000", "n": 100, "x": False, "q": "1.5"}}  # fmt: skip
    assert BINANCE.parse(json.dumps({"stream": "btcusdt@kline_1m", "data": candle}), 4) == [
        Candle("BTCUSDT", 1638747660000, 0.001, 0.0025, 0.0005, 0.002, 1000.0, 1.5, False, 4)
    ]
    assert BINANCE.parse('{"result":null,"id":"r1"}', 0) == Control("subscribed", "r1")
    assert BINANCE.parse('{"error":{"code":2,"msg":"bad"},"id":"r1"}', 0) == Control("refused", "r1", "bad")


def test_binance_books_and_trades_come_from_two_addresses():
    books, others = BINANCE.connections(["BTCUSDT"], 200)
    assert (books.url, books.topics) == ("wss://fstream.binance.com/public/ws", ("btcusdt@depth@100ms",))
    assert others.url.endswith("/market/ws") and others.topics == ("btcusdt@aggTrade", "btcusdt@kline_1m")


def _snapshot(update_id: int) -> BookUpdate:
    none = np.empty((0, 2))
    return BookUpdate("BTCUSDT", True, none, none, update_id, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("snapshot_id", "expected"),
    [
        (5, None),  # older than all that is held: ask again
        (10, [10, 20, 30]),  # at the border of the first
        (15, [15, 20, 30]),  # within the first
        (20, [20, 20, 30]),  # the first ends with it
        (25, [25, 30]),
        (35, [35]),  # newer than all
    ],
)
def test_snapshot_is_joined_to_the_delta_that_spans_it(snapshot_id, expected):
    join = SnapshotJoin()
    for first, last, previous in ((12, 20, 10), (22, 30, 20)):
        join.hold(BINANCE.parse(_binance_book(first, last, previous), 0)[0])
    joined = join.join(_snapshot(snapshot_id))
    assert (joined and [update.update_id for update in joined]) == expected
    assert without_loss(joined or [], "BTCUSDT")
