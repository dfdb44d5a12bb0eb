"""Synthetic markets as a stream of frames, with the faults that befall the stream."""

from __future__ import annotations

import zlib
from collections.abc import Container, Sequence

import numpy as np

from earmark.orderbook.events import BookUpdate, Candle, Levels, Trade
from earmark.tasks.market.simulator.channel import BookChannel, BookMessage
from earmark.tasks.market.simulator.dialect import Dialect, Frame, Topic
from earmark.tasks.market.simulator.faults import Fault
from earmark.tasks.market.simulator.ledger import Ledger, Tally
from earmark.tasks.market.simulator.market import CandleRow, Fill, MarketParameters, Step, SyntheticMarket
from earmark.tasks.market.venues.base import Instrument

__all__ = ["SyntheticSource"]

_FORMING_EVERY_MS = 1_000
"""How often a candle that is not closed is sent."""

_SENT_AFTER_MS = 3
"""A message leaves the exchange this long after the matching engine stamped it."""

_BOOK_FAULTS = frozenset({"drop", "duplicate", "reorder", "restart", "crossed", "stall", "delay"})


class SyntheticSource:
    """Frames of several markets that step together.

    Parameters
    ----------
    symbols : sequence of str
    dialect : Dialect
    ledger : Ledger
    seed : int
    start_ms : int
    parameters : MarketParameters
    """

    def __init__(
        self,
        symbols: Sequence[str],
        dialect: Dialect,
        ledger: Ledger,
        *,
        seed: int,
        start_ms: int,
        parameters: MarketParameters,
    ) -> None:
        self.symbols = tuple(symbols)
        self._dialect, self._ledger, self._parameters = dialect, ledger, parameters
        origin_ms = start_ms // parameters.step_ms * parameters.step_ms
        self.markets = {symbol: SyntheticMarket(symbol, seed, origin_ms, parameters) for symbol in symbols}
        self._channels: dict[str, dict[int, BookChannel]] = {symbol: {} for symbol in symbols}
        self._late_candles: dict[str, float] = {}
        self._waiting: list[tuple[int, Frame]] = []
        self.next_ms = origin_ms + parameters.step_ms

    def advance(self, wanted: Container[Topic]) -> list[Frame]:
        """Frames of the step at `next_ms` for the topics that are `wanted`."""
        frames = self._released()
        for symbol, market in self.markets.items():
            step = market.step()
            self._count(symbol, step)
            for depth, channel in self._channels[symbol].items():
                frames += self._book_frames(Topic(symbol, "book", depth), channel, step, wanted)
            if step.fills and Topic(symbol, "trades") in wanted:
                frames += self._trade_frames(market, step.fills)
            if Topic(symbol, "candles") in wanted:
                frames += self._candle_frames(market, step)
        self.next_ms += self._parameters.step_ms
        return frames

    def opening(self, topic: Topic) -> list[Frame]:
        """What a new subscriber gets first: a snapshot of the book, where the venue sends one."""
        if topic.kind != "book":
            return []
        channel = self._channel(topic.symbol, topic.depth)
        if not self._dialect.opens_with_snapshot:
            return []
        return [self._book_frame(topic, channel.snapshot())]

    def inject(self, fault: Fault) -> bool:
        """Let `fault` happen; False if it is not of the stream, or there is nothing it could befall."""
        symbols = [fault.symbol] if fault.symbol else list(self.symbols)
        if fault.kind == "late_candle":
            self._late_candles |= dict.fromkeys(symbols, fault.duration_s)
            return True
        if fault.kind not in _BOOK_FAULTS:
            return False
        channels = [channel for symbol in symbols for channel in self._channels.get(symbol, {}).values()]
        for channel in channels:
            channel.inject(fault)
        return bool(channels)

    def candles(self, symbol: str) -> list[Candle]:
        """Closed ones, oldest first, and the forming one."""
        market = self.markets[symbol]
        closed = [self._candle(market, row, True) for row in market.candles]
        return [*closed, self._candle(market, market.forming, False)]

    def book(self, symbol: str, depth: int) -> BookUpdate:
        """The book under the id that the socket's channel of this depth has."""
        message = self._channel(symbol, depth).snapshot()
        return BookUpdate(
            symbol=symbol,
            is_snapshot=True,
            bids=self._levels(symbol, sorted(message.bids.items(), reverse=True)[:depth]),
            asks=self._levels(symbol, sorted(message.asks.items())[:depth]),
            update_id=message.update_id,
            sequence=message.sequence,
            event_ms=message.event_ms,
            sent_ms=self._sent_ms(message.event_ms),
            received_ns=0,
        )

    def trades(self, symbol: str) -> list[Trade]:
        """The newest thousand, oldest first."""
        market = self.markets[symbol]
        return [
            Trade(
                symbol=symbol,
                time_ms=fill.time_ms,
                price=fill.tick / 10**market.price_decimals,
                quantity=fill.lots / 10**market.quantity_decimals,
                is_buy=fill.is_buy,
                trade_id=self._dialect.trade_id(symbol, fill.number),
                received_ns=0,
                tick_direction=fill.tick_direction,
            )
            for fill in market.fills
        ]

    def instruments(self) -> list[Instrument]:
        """One per symbol."""
        return [
            Instrument(symbol, 10.0**-market.price_decimals, 10.0**-market.quantity_decimals, True)
            for symbol, market in self.markets.items()
        ]

    def _channel(self, symbol: str, depth: int) -> BookChannel:
        """The channel of a depth, made when it is first asked for; its ids start at a number of its own."""
        channels = self._channels[symbol]
        if depth not in channels:
            first = 1_000_000 + zlib.crc32(f"{symbol}.{depth}".encode()) % 1_000_000
            channels[depth] = BookChannel(self.markets[symbol], depth, first)
        return channels[depth]

    def _book_frames(
        self, topic: Topic, channel: BookChannel, step: Step, wanted: Container[Topic]
    ) -> list[Frame]:
        published = channel.advance(step)
        if topic not in wanted:
            return []
        for message in published.withheld:
            self._ledger.withheld(_book_tally(topic, message))
        return [self._book_frame(topic, message) for message in published.messages]

    def _book_frame(self, topic: Topic, message: BookMessage) -> Frame:
        market, sent_ms = self.markets[topic.symbol], self._sent_ms(self.markets[topic.symbol].time_ms)
        return Frame(topic, self._dialect.book(topic, message, market, sent_ms), _book_tally(topic, message))

    def _trade_frames(self, market: SyntheticMarket, fills: list[Fill]) -> list[Frame]:
        written = self._dialect.trades(fills, market, self._sent_ms(market.time_ms))
        return [Frame(Topic(market.symbol, "trades"), text, tally) for text, tally in written]

    def _candle_frames(self, market: SyntheticMarket, step: Step) -> list[Frame]:
        frames = []
        if step.closed is not None:
            frame = self._candle_frame(market, step.closed, True)
            late_s = self._late_candles.pop(market.symbol, 0.0)
            if late_s:
                self._waiting.append((step.time_ms + int(late_s * 1_000), frame))
            else:
                frames.append(frame)
        if step.time_ms % _FORMING_EVERY_MS == 0:
            frames.append(self._candle_frame(market, market.forming, False))
        return frames

    def _candle_frame(self, market: SyntheticMarket, row: CandleRow, is_closed: bool) -> Frame:
        text = self._dialect.candle(row, is_closed, market, self._sent_ms(market.time_ms))
        tally = Tally(market.symbol, "candle_closed" if is_closed else "candle_forming")
        return Frame(Topic(market.symbol, "candles"), text, tally)

    def _released(self) -> list[Frame]:
        """Late candles whose time has come."""
        due = [frame for at_ms, frame in self._waiting if at_ms <= self.next_ms]
        self._waiting = [(at_ms, frame) for at_ms, frame in self._waiting if at_ms > self.next_ms]
        return due

    def _count(self, symbol: str, step: Step) -> None:
        self._ledger.made(symbol, "steps")
        self._ledger.made(symbol, "trades", len(step.fills))
        self._ledger.made(symbol, "candles", step.closed is not None)

    def _candle(self, market: SyntheticMarket, row: CandleRow, is_closed: bool) -> Candle:
        price, quantity = 10**market.price_decimals, 10**market.quantity_decimals
        return Candle(
            symbol=market.symbol,
            start_ms=row.start_ms,
            open=row.open / price,
            high=row.high / price,
            low=row.low / price,
            close=row.close / price,
            volume=row.volume / quantity,
            turnover=row.turnover / (price * quantity),
            is_closed=is_closed,
            received_ns=0,
        )

    def _levels(self, symbol: str, rows: Sequence[tuple[int, int]]) -> Levels:
        market = self.markets[symbol]
        scale = 10.0**market.price_decimals, 10.0**market.quantity_decimals
        return np.asarray(rows, np.float64).reshape(-1, 2) / scale

    def _sent_ms(self, event_ms: int) -> int:
        return event_ms + _SENT_AFTER_MS


def _book_tally(topic: Topic, message: BookMessage) -> Tally:
    return Tally(topic.symbol, "book_snapshot" if message.is_snapshot else "book_delta", message.n_levels)
