"""What the simulated exchange made, sent and kept back, counted exactly.

``made`` is the market itself, whoever listened. ``sent`` is counted after a frame was handed to a socket, once per
socket. ``withheld`` is what a fault took out of the stream. A collector that lost nothing holds what was sent, no
more and no less, plus what it fetched by REST out of ``made``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Kind", "Ledger", "NumberRanges", "Tally"]

Kind = Literal["book_snapshot", "book_delta", "trade", "candle_closed", "candle_forming", "malformed"]


@dataclass(frozen=True, slots=True)
class Tally:
    """What one frame counts as: its kind and rows (levels, trades or candles); trades have their numbers."""

    symbol: str
    kind: Kind
    rows: int = 1
    numbers: tuple[int, ...] = ()


class NumberRanges:
    """A set of whole numbers that mostly follow one another, kept as closed ranges."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, number: int) -> None:
        """Add `number`; one that is there changes nothing."""
        at = bisect_right(self._firsts, number) - 1
        if at >= 0 and number <= self._lasts[at]:
            return
        if at >= 0 and number == self._lasts[at] + 1:
            self._lasts[at] = number
        else:
            at += 1
            self._firsts.insert(at, number)
            self._lasts.insert(at, number)
        if at + 1 < len(self._firsts) and self._firsts[at + 1] == self._lasts[at] + 1:
            self._lasts[at] = self._lasts.pop(at + 1)
            self._firsts.pop(at + 1)

    def to_list(self) -> list[list[int]]:
        """``[[first, last], ...]``, ascending."""
        return [[first, last] for first, last in zip(self._firsts, self._lasts, strict=True)]


@dataclass
class _Account:
    made: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    withheld: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    trade_numbers: NumberRanges = field(default_factory=NumberRanges)


class Ledger:
    """Counts per symbol, and of sockets and requests."""

    def __init__(self) -> None:
        self._accounts: defaultdict[str, _Account] = defaultdict(_Account)
        self.sockets: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()

    def made(self, symbol: str, name: str, amount: int = 1) -> None:
        """The market made `amount` of ``steps``, ``trades`` or ``candles``."""
        self._accounts[symbol].made[name] += amount

    def sent(self, tally: Tally) -> None:
        """A frame went out on one socket."""
        account = self._accounts[tally.symbol]
        _count(account.sent, tally)
        for number in tally.numbers:
            account.trade_numbers.add(number)

    def withheld(self, tally: Tally) -> None:
        """A frame that a fault took out."""
        _count(self._accounts[tally.symbol].withheld, tally)

    def fault(self, symbol: str | None, kind: str) -> None:
        """A fault happened; without a symbol it is of all (``*``)."""
        self._accounts[symbol or "*"].faults[kind] += 1

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers: ``symbols`` -> symbol -> made, sent (with ``trade_numbers``), withheld, faults."""
        return {
            "symbols": {
                symbol: {
                    "made": dict(account.made),
                    "sent": {**account.sent, "trade_numbers": account.trade_numbers.to_list()},
                    "withheld": dict(account.withheld),
                    "faults": dict(account.faults),
                }
                for symbol, account in sorted(self._accounts.items())
            },
            "sockets": dict(self.sockets),
            "requests": dict(self.requests),
        }


_PLURAL: dict[Kind, tuple[str, str | None]] = {
    "book_snapshot": ("book_snapshots", "snapshot_levels"),
    "book_delta": ("book_deltas", "level_changes"),
    "trade": ("trade_messages", "trades"),
    "candle_closed": ("candles_closed", None),
    "candle_forming": ("candles_forming", None),
    "malformed": ("malformed", None),
}
"""Names under which messages and their rows are counted."""


def _count(counter: Counter[str], tally: Tally) -> None:
    messages, rows = _PLURAL[tally.kind]
    counter[messages] += 1
    if rows:
        counter[rows] += tally.rows
