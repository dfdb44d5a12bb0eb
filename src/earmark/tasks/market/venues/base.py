"""What the collector needs of a venue: its addresses, its messages and its requests.

A venue turns text from the wire into `earmark.orderbook.events` and says nothing about sockets, so that the same
parser reads the exchange, the simulator and a recording. Times are exchange milliseconds (``*_ms``) and this
machine's nanoseconds (``received_ns``) as in `events`. Whether an update follows the one before is for
`earmark.orderbook.book.OrderBook.apply` to say, of every venue.

::

    EarmarkError
    ├── UsageError
    │   └── UnknownSymbolError    the venue does not list it, or the symbol is not written as the venue writes it
    └── InputError
        └── VenueError            what a venue sent, or failed to send
            ├── MessageError      text on the socket that is not in the documented form
            ├── UnreachableError  no answer within the time and tries given
            └── ResponseError     an answer that says no: HTTP status or the venue's own code
                └── RateLimitError    too many requests; `retry_after_s` where the venue names it
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from earmark.errors import InputError, UsageError
from earmark.orderbook.events import BookUpdate, Candle, Event, Trade

if TYPE_CHECKING:
    import aiohttp

__all__ = [
    "POLICIES",
    "Connection",
    "Control",
    "Instrument",
    "MessageError",
    "Parsed",
    "Policies",
    "RateLimitError",
    "ResponseError",
    "RetryPolicy",
    "ServerTime",
    "UnknownSymbolError",
    "UnreachableError",
    "Venue",
    "VenueError",
    "VenueRest",
    "check_symbol",
    "groups_of",
    "head_of",
]


class UnknownSymbolError(UsageError):
    """The venue does not list the symbol, or it is not written as the venue writes symbols."""


class VenueError(InputError):
    """What a venue sent cannot be used, or it sent nothing."""


class MessageError(VenueError):
    """Text on the socket that is not in the documented form; the message quotes its head."""


class UnreachableError(VenueError):
    """No answer within the time and the tries given."""


class ResponseError(VenueError):
    """An answer that says no.

    Parameters
    ----------
    message : str
    code : int
        HTTP status, or the venue's own code where the status was 200.
    may_pass : bool
        Whether the same request may succeed later.
    """

    def __init__(self, message: str, code: int, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.may_pass = may_pass


class RateLimitError(ResponseError):
    """Too many requests; `retry_after_s` is how long the venue asks to wait, None where it does not say."""

    def __init__(self, message: str, code: int, retry_after_s: float | None = None) -> None:
        super().__init__(message, code, may_pass=True)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Connection:
    """One socket to open: where, and what to ask for. A venue may serve books and candles at different addresses."""

    url: str
    symbols: tuple[str, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Control:
    """A message that is about the connection and not about the market.

    Attributes
    ----------
    kind : {"subscribed", "unsubscribed", "refused", "pong", "ping", "notice"}
        ``notice`` asks for nothing.
    request_id : str
        Of the request that is answered; "" where the venue names none.
    message : str
        The venue's reason, for ``refused`` and ``notice``.
    reply : str or None
        What to send back, for ``ping``.
    """

    kind: Literal["subscribed", "unsubscribed", "refused", "pong", "ping", "notice"]
    request_id: str = ""
    message: str = ""
    reply: str | None = None


Parsed: TypeAlias = list[Event] | Control
"""Events of one message, in its order, or a control."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """A contract that the venue trades; sizes of a tick and of a lot in quote currency and base coin."""

    symbol: str
    tick_size: float
    quantity_step: float
    is_trading: bool


@dataclass(frozen=True, slots=True)
class ServerTime:
    """One reading of the venue's clock, between two readings of ours."""

    server_ns: int
    sent_ns: int
    received_ns: int

    @property
    def round_trip_ms(self) -> float:
        """Time the request took; half of it bounds the error of `offset_ms`."""
        return (self.received_ns - self.sent_ns) / 1e6

    @property
    def offset_ms(self) -> float:
        """Venue's clock minus ours, if both ways took equally long; positive where the venue is ahead."""
        return (self.server_ns - (self.sent_ns + self.received_ns) / 2) / 1e6


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long one try may take, how many there are, and the pause after the first, doubled after each."""

    timeout_s: float
    tries: int = 3
    pause_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Policies:
    """Candles are asked for by many symbols at once and so wait less; `concurrency` bounds requests in flight."""

    candles: RetryPolicy = RetryPolicy(timeout_s=10.0)
    others: RetryPolicy = RetryPolicy(timeout_s=30.0)
    concurrency: int = 8


POLICIES = Policies()


class VenueRest(Protocol):
    """Requests to a venue; each retries what may pass and raises a `VenueError` of what does not.

    `refused_rows` counts rows of answers that were left out because they contradict themselves.
    """

    refused_rows: int

    async def candles(
        self, symbol: str, limit: int = 200, *, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Candle]:
        """Up to `limit` one-minute candles, oldest first; only the forming one has ``is_closed`` false."""

    async def book(self, symbol: str, depth: int) -> BookUpdate:
        """The book as a snapshot."""

    async def server_time(self) -> ServerTime:
        """The venue's clock."""

    async def recent_trades(self, symbol: str, limit: int = 1000) -> list[Trade]:
        """The newest trades, oldest first: what fills a gap of the socket."""

    async def instruments(self) -> dict[str, Instrument]:
        """Every linear contract by symbol."""


class Venue(Protocol):
    """One exchange, as a socket and a parser need to know it."""

    @property
    def name(self) -> str:
        """In lower case."""

    @property
    def websocket_url(self) -> str:
        """Of the exchange, its testnet or a simulator; where to connect is told by `connections`."""

    @property
    def rest_url(self) -> str:
        """Of the exchange, its testnet or a simulator."""

    @property
    def symbols_per_connection(self) -> int:
        """At most."""

    @property
    def ping_interval_s(self) -> float | None:
        """How often `ping_message` is sent; None where the venue pings."""

    @property
    def timeout_s(self) -> float:
        """A connection that is silent for so long is dead."""

    @property
    def snapshot_by_rest(self) -> bool:
        """Whether the socket sends deltas alone: the book then starts with `VenueRest.book` and is joined to them
        by `earmark.tasks.market.venues.joining.SnapshotJoin`.
        """

    def check_depth(self, depth: int) -> int:
        """`depth` if the venue has it; a UsageError that names those it has otherwise."""

    def kept_depth(self, depth: int) -> int:
        """Levels per side to keep so that the best `depth` stay right: more where the socket tells of all levels."""

    def subscriptions(self, symbols: Sequence[str], depth: int) -> list[str]:
        """Topics of book, trades and candles, those of one symbol together."""

    def connections(self, symbols: Sequence[str], depth: int) -> list[Connection]:
        """The sockets that bring all of `subscriptions`, at most `symbols_per_connection` symbols on each."""

    def subscribe_message(self, topics: Sequence[str], request_id: str) -> str:
        """One request for all of `topics`; the reply carries `request_id`."""

    def unsubscribe_message(self, topics: Sequence[str], request_id: str) -> str:
        """The opposite: with a new subscription it brings a fresh snapshot."""

    def ping_message(self) -> str | None:
        """What keeps the connection alive; None where the venue pings."""

    def parse(self, text: str | bytes, received_ns: int) -> Parsed:
        """Events of one message, or a control; a MessageError for what is neither."""

    def rest(
        self, session: aiohttp.ClientSession, now_ns: Callable[[], int], policies: Policies = POLICIES
    ) -> VenueRest:
        """Requests over `session`; `now_ns` is the clock that stamps receipts."""


_SYMBOL = re.compile(r"[A-Z0-9]{1,30}(-[A-Z0-9]{1,12})?")


def check_symbol(symbol: str) -> str:
    """`symbol` if it can be one (it names files too); digits may lead, as in ``4USDT``.

    Raises
    ------
    UnknownSymbolError
    """
    if not _SYMBOL.fullmatch(symbol):
        raise UnknownSymbolError(
            f"`{symbol}` is not a symbol: capital letters and digits are expected, as in BTCUSDT. "
            "Write it as the venue's list of instruments does."
        )
    return symbol


def groups_of(symbols: Sequence[str], size: int) -> list[tuple[str, ...]]:
    """`symbols` in their order, at most `size` together; each is checked."""
    checked = [check_symbol(symbol) for symbol in symbols]
    return [tuple(checked[start : start + size]) for start in range(0, len(checked), size)]


def head_of(text: Any, length: int = 120) -> str:
    """The beginning of a message, for an error that quotes it."""
    shown = text if isinstance(text, str) else repr(text)
    return shown if len(shown) <= length else f"{shown[:length]}... ({len(shown)} characters)"
