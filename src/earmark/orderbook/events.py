"""What happens on a market, in one form for every venue and every recorded data set.

Conventions
-----------
Two clocks: ``*_ms`` is exchange time, milliseconds since 1970 UTC; ``received_ns`` is this machine's clock in
nanoseconds since 1970, the time at which the message was read from the socket (for recorded data that lack it: the
exchange time). Prices are in quote currency, quantities in base coin, both float64. Levels are arrays of shape
(n, 2), price and quantity, in any order; quantity 0 deletes a level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["BestQuote", "BookUpdate", "Candle", "Event", "Levels", "Trade"]

Levels = npt.NDArray[np.float64]
"""Price and quantity per row, shape (n, 2)."""


@dataclass(frozen=True, slots=True, eq=False)
class BookUpdate:
    """A snapshot, which replaces the book, or a delta.

    Attributes
    ----------
    symbol : str
    is_snapshot : bool
    bids, asks : ndarray, shape (n, 2)
    update_id : int
        Continuous per symbol where the venue says so; 1 after a restart of the venue's service.
    sequence : int
        Of the matching engine, comparable between depths; 0 where the venue has none.
    event_ms : int
        Time of the matching engine (Bybit `cts`), comparable with `Trade.time_ms`.
    sent_ms : int
        Time at which the venue sent it (Bybit `ts`).
    received_ns : int
    previous_update_id : int or None
        The update that this one follows, where the venue names it (Binance `pu`).
    """

    symbol: str
    is_snapshot: bool
    bids: Levels
    asks: Levels
    update_id: int
    sequence: int
    event_ms: int
    sent_ms: int
    received_ns: int
    previous_update_id: int | None = None


@dataclass(frozen=True, slots=True)
class Trade:
    """One public trade; `is_buy` tells the taker's side, None where the source does not."""

    symbol: str
    time_ms: int
    price: float
    quantity: float
    is_buy: bool | None
    trade_id: str
    received_ns: int
    tick_direction: str = ""
    is_block: bool = False


@dataclass(frozen=True, slots=True)
class Candle:
    """A one-minute candle; `is_closed` once it can change no more."""

    symbol: str
    start_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    turnover: float
    is_closed: bool
    received_ns: int


@dataclass(frozen=True, slots=True)
class BestQuote:
    """A row of the price track: best prices and quantities after a change, or again as a heartbeat."""

    symbol: str
    time_ms: int
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float
    received_ns: int

    @property
    def mid(self) -> float:
        """Mean of the best prices."""
        return (self.bid + self.ask) / 2


Event: TypeAlias = BookUpdate | Trade | Candle
