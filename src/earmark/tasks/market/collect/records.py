"""What the collector's journal holds: events as they came, and what the collector itself decided.

Everything that the pipelines are told is one record, in the order in which they were told: events of the market, gaps,
heartbeats and the closing of ticks. The pipelines are pure, so the records of a journal give the same rows again.

=========== ====================================================== ==================================
kind        payload                                                `received_ns`
=========== ====================================================== ==================================
`CONFIG`    JSON: depth, track_ms                                  start of the segment
`STATE`     JSON: one pipeline at the start of a segment           start of the segment
`BOOK`      a `BookUpdate`                                         of the event
`TRADE`     a `Trade`                                              of the event
`CANDLE`    a `Candle`                                             of the event
`GAP`       JSON: symbol; what follows is a new history            when it was noticed
`TICK`      a tick of one symbol (ms), whether it is a sample      when the tick was closed
`BEAT`      all symbols: price tracks are known up to this time    when it was decided
=========== ====================================================== ==================================
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from earmark.errors import InputError
from earmark.orderbook.events import BookUpdate, Candle, Event, Levels, Trade

__all__ = [
    "BEAT",
    "BOOK",
    "CANDLE",
    "CONFIG",
    "GAP",
    "STATE",
    "TICK",
    "TRADE",
    "decode_event",
    "decode_tick",
    "encode_event",
    "encode_json",
    "encode_tick",
]

CONFIG, STATE, BOOK, TRADE, CANDLE, GAP, TICK, BEAT = range(1, 9)

_BOOK = struct.Struct("<BBqqqqqII")
_TRADE = struct.Struct("<BBBBBqdd")
_CANDLE = struct.Struct("<BBqdddddd")
_TICK = struct.Struct("<qB")
_NO_ID = -1  # `previous_update_id` is absent; no venue counts below 0
_SIDES = {None: 0, False: 1, True: 2}
_SIDE_OF = {code: side for side, code in _SIDES.items()}


def encode_event(event: Event) -> tuple[int, bytes]:
    """Kind and payload of an event; its `received_ns` goes into the record's head."""
    if isinstance(event, BookUpdate):
        return BOOK, _encode_book(event)
    if isinstance(event, Trade):
        return TRADE, _encode_trade(event)
    return CANDLE, _encode_candle(event)


def decode_event(kind: int, received_ns: int, payload: bytes) -> Event:
    """The event of a record of kind `BOOK`, `TRADE` or `CANDLE`."""
    if kind == BOOK:
        return _decode_book(received_ns, payload)
    if kind == TRADE:
        return _decode_trade(received_ns, payload)
    if kind == CANDLE:
        return _decode_candle(received_ns, payload)
    raise InputError(f"a record of kind {kind} holds no event; expected {BOOK}, {TRADE} or {CANDLE}.")


def encode_tick(time_ms: int, symbol: str = "", is_sample: bool = False) -> bytes:
    """Payload of `TICK`, and of `BEAT`, which is of no symbol."""
    return _TICK.pack(time_ms, is_sample) + symbol.encode()


def decode_tick(payload: bytes) -> tuple[int, str, bool]:
    """Time in ms, symbol, and whether the tick is a sample."""
    time_ms, is_sample = _TICK.unpack_from(payload)
    return time_ms, payload[_TICK.size :].decode(), bool(is_sample)


def encode_json(value: Any) -> bytes:
    """Payload of `CONFIG`, `STATE` and `GAP`; floats keep every bit."""
    return json.dumps(value, separators=(",", ":")).encode()


def _encode_book(update: BookUpdate) -> bytes:
    symbol = update.symbol.encode()
    previous = _NO_ID if update.previous_update_id is None else update.previous_update_id
    head = _BOOK.pack(
        len(symbol),
        update.is_snapshot,
        update.update_id,
        update.sequence,
        update.event_ms,
        update.sent_ms,
        previous,
        len(update.bids),
        len(update.asks),
    )
    return b"".join((head, symbol, _level_bytes(update.bids), _level_bytes(update.asks)))


def _level_bytes(levels: Levels) -> bytes:
    return np.ascontiguousarray(levels, dtype="<f8").tobytes()


def _decode_book(received_ns: int, payload: bytes) -> BookUpdate:
    size, is_snapshot, update_id, sequence, event_ms, sent_ms, previous, n_bids, n_asks = _BOOK.unpack_from(
        payload
    )
    start = _BOOK.size + size
    levels = np.frombuffer(payload, dtype="<f8", offset=start).reshape(-1, 2)
    return BookUpdate(
        payload[_BOOK.size : start].decode(),
        bool(is_snapshot),
        levels[:n_bids],
        levels[n_bids : n_bids + n_asks],
        update_id,
        sequence,
        event_ms,
        sent_ms,
        received_ns,
        None if previous == _NO_ID else previous,
    )


def _encode_trade(trade: Trade) -> bytes:
    texts = [text.encode() for text in (trade.symbol, trade.trade_id, trade.tick_direction)]
    head = _TRADE.pack(
        *(len(text) for text in texts),
        _SIDES[trade.is_buy],
        trade.is_block,
        trade.time_ms,
        trade.price,
        trade.quantity,
    )
    return b"".join((head, *texts))


def _decode_trade(received_ns: int, payload: bytes) -> Trade:
    *sizes, side, is_block, time_ms, price, quantity = _TRADE.unpack_from(payload)
    texts = []
    start = _TRADE.size
    for size in sizes:
        texts.append(payload[start : start + size].decode())
        start += size
    symbol, trade_id, tick_direction = texts
    return Trade(
        symbol,
        time_ms,
        price,
        quantity,
        _SIDE_OF[side],
        trade_id,
        received_ns,
        tick_direction,
        bool(is_block),
    )


def _encode_candle(candle: Candle) -> bytes:
    symbol = candle.symbol.encode()
    values = (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.turnover)
    return _CANDLE.pack(len(symbol), candle.is_closed, candle.start_ms, *values) + symbol


def _decode_candle(received_ns: int, payload: bytes) -> Candle:
    size, is_closed, start_ms, first, high, low, last, volume, turnover = _CANDLE.unpack_from(payload)
    symbol = payload[_CANDLE.size : _CANDLE.size + size].decode()
    return Candle(symbol, start_ms, first, high, low, last, volume, turnover, bool(is_closed), received_ns)
