"""Books balanced: what a simulated exchange says it has sent against what a collector has kept.

The market is sent up to half a second ahead of its readers, so at the end some of it was on its way; what is compared
ends at the newest of its kind that was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from earmark.orderbook.state import STEP_MS
from earmark.store.raw import RawStore

__all__ = ["Balance", "reconcile"]


@dataclass(frozen=True, slots=True)
class Balance:
    """One symbol's account.

    Attributes
    ----------
    trades_sent, trades_kept, trades_lost : int
        ``trades_kept`` may be more than was sent: REST tells of trades before the socket was open.
    steps_due, steps_lost : int
        Ticks of the feature clock from the first to the last that was kept, and those between without a book.
    on_the_way : int
        Trades that were sent and not read when collecting ended.
    """

    symbol: str
    trades_sent: int
    trades_kept: int
    trades_lost: int
    on_the_way: int
    steps_due: int
    steps_lost: int

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing."""
        return not self.trades_lost and not self.steps_lost

    def to_json(self) -> dict[str, Any]:
        """All numbers, and the verdict."""
        return asdict(self) | {"is_whole": self.is_whole}


def reconcile(ledger: Mapping[str, Any], raw: RawStore, symbols: Sequence[str]) -> list[Balance]:
    """Compare the ``/simulator/ledger`` of an exchange with a raw store that held nothing before."""
    return [_balance(ledger["symbols"][symbol]["sent"]["trade_numbers"], raw, symbol) for symbol in symbols]


def _balance(ranges: Iterable[tuple[int, int]], raw: RawStore, symbol: str) -> Balance:
    kept = {_number(trade_id) for trade_id in _column(raw, "trades", symbol, "trade_id")}
    sent = {number for first, last in ranges for number in range(first, last + 1)}
    newest = max(kept, default=-1)
    due = {number for number in sent if number <= newest}
    steps = _column(raw, "book_steps", symbol, "time_ms")
    n_due = (max(steps) - min(steps)) // STEP_MS + 1 if steps else 0
    return Balance(
        symbol, len(sent), len(kept), len(due - kept), len(sent) - len(due), n_due, n_due - len(steps)
    )


def _column(raw: RawStore, stream: str, symbol: str, name: str) -> list[Any]:
    return raw.scan(stream, symbol).select(name).collect()[name].to_list()


def _number(trade_id: str) -> int:
    """``BTCUSDT-17`` and ``17`` -> 17, as the simulated venues number their trades."""
    return int(trade_id.rpartition("-")[2])
