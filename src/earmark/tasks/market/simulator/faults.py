"""What goes wrong on purpose, and when.

A fault is written ``kind@seconds``, with any of ``+duration`` (seconds), ``:SYMBOL`` and ``=value`` behind it, as in
``drop@30:BTCUSDT=2`` or ``stall@60+15:ETHUSDT``; seconds are exchange time since the start. ``random:SEED`` draws
faults without end, one per minute of exchange time in the mean (``random:SEED/20``: one per 20 s).
"""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from earmark.errors import UsageError

__all__ = ["KINDS", "Fault", "FaultPlan"]

KINDS: dict[str, str] = {
    "drop": "the next `value` book messages are not sent: a gap in u",
    "duplicate": "the next book message is sent twice",
    "reorder": "the next two book messages are sent in the wrong order",
    "restart": "a snapshot with u = 1",
    "crossed": "a book message whose best bid lies above the best ask; the message after it mends the book",
    "stall": "no book message for `duration`; then one that holds all that changed",
    "delay": "book messages of `duration` are sent together at its end, with their own times",
    "close": "sockets that carry the symbol are closed",
    "refuse": "no socket is accepted for `duration`",
    "malformed": "half a message, besides the others",
    "late_candle": "the next closed candle is sent `duration` late",
    "server_ping": "the exchange asks for a pong",
    "refuse_subscription": "the next `value` subscriptions are refused",
    "rest_429": "the next `value` requests are answered with HTTP 429",
    "rest_500": "the next `value` requests are answered with HTTP 500",
    "rest_timeout": "the next `value` requests are not answered",
    "rest_code": "the next `value` requests are answered with an error code under HTTP 200",
}
"""Kind -> what happens."""

_DRAWN = (
    "drop",
    "duplicate",
    "reorder",
    "restart",
    "crossed",
    "stall",
    "delay",
    "close",
    "malformed",
    "late_candle",
    "server_ping",
    "rest_429",
    "rest_500",
)
"""Kinds that random faults are drawn from: those that pass by themselves."""

_FORM = re.compile(
    r"(?P<kind>[a-z_0-9]+)@(?P<at>\d+(\.\d+)?)(\+(?P<duration>\d+(\.\d+)?))?"
    r"(:(?P<symbol>[A-Z0-9-]+))?(=(?P<value>\d+))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    at_s : float
        Exchange seconds since the start.
    kind : str
        Of `KINDS`.
    symbol : str or None
        None: every symbol.
    duration_s : float
        Exchange seconds.
    value : int
        How many.
    """

    at_s: float
    kind: str
    symbol: str | None = None
    duration_s: float = 5.0
    value: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"there is no fault `{self.kind}`. Known are {', '.join(KINDS)}.")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """One fault in the form of this module's first lines."""
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise UsageError(
                f"`{text}` is not a fault: expected kind@seconds[+duration][:SYMBOL][=value]. "
                "Write it as in stall@60+15:ETHUSDT."
            )
        duration_s, value = found["duration"] or 5.0, found["value"] or 1
        return cls(float(found["at"]), found["kind"], found["symbol"], float(duration_s), int(value))


class FaultPlan:
    """Faults in order of time: those that are named, and those of a random stream.

    Parameters
    ----------
    faults : sequence of Fault
    drawn : iterator of Fault, optional
        Ascending and endless, as `random_faults` gives them.
    """

    def __init__(self, faults: Sequence[Fault] = (), drawn: Iterator[Fault] | None = None) -> None:
        ordered = iter(sorted(faults, key=lambda fault: fault.at_s))
        self._stream = heapq.merge(ordered, drawn or iter(()), key=lambda fault: fault.at_s)
        self._next = next(self._stream, None)

    @classmethod
    def parse(cls, text: str, symbols: Sequence[str]) -> FaultPlan:
        """Comma-separated faults, any of which may be ``random:SEED``."""
        named: list[Fault] = []
        drawn: list[Iterator[Fault]] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            if part.startswith("random:"):
                drawn.append(random_faults(symbols, *_seed_and_mean(part)))
            else:
                named.append(Fault.parse(part))
        return cls(named, heapq.merge(*drawn, key=lambda fault: fault.at_s))

    def due(self, elapsed_s: float) -> Iterator[Fault]:
        """Faults whose time has come, each once."""
        while self._next is not None and self._next.at_s <= elapsed_s:
            fault, self._next = self._next, next(self._stream, None)
            yield fault


def random_faults(symbols: Sequence[str], seed: int, mean_s: float = 60.0) -> Iterator[Fault]:
    """Faults without end, exponentially distributed in time, from `symbols` and the kinds that pass."""
    draw = random.Random(seed)
    at_s = 0.0
    while True:
        at_s += draw.expovariate(1 / mean_s)
        kind, symbol = draw.choice(_DRAWN), draw.choice(list(symbols))
        yield Fault(at_s, kind, symbol, round(draw.uniform(1, 15), 1), draw.randint(1, 3))


def _seed_and_mean(text: str) -> tuple[int, float]:
    try:
        seed, _, mean_s = text.removeprefix("random:").partition("/")
        return int(seed), float(mean_s or 60.0)
    except ValueError as error:
        raise UsageError(f"`{text}` is not random:SEED or random:SEED/MEAN_SECONDS.") from error
