"""The book messages of one symbol at one depth, with the faults that befall them.

A channel publishes what changed since its last message, under a continuous update id. Faults work on what is
published and never on the market, so that the book a client should have is always known.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field

from earmark.tasks.market.simulator.faults import Fault
from earmark.tasks.market.simulator.market import Step, SyntheticMarket

__all__ = ["BookChannel", "BookMessage", "Published"]

_CROSSED_LOTS = 7


@dataclass(frozen=True, slots=True)
class BookMessage:
    """A snapshot or delta in ticks and lots; a lot of 0 deletes."""

    is_snapshot: bool
    update_id: int
    previous_update_id: int
    sequence: int
    event_ms: int
    bids: dict[int, int]
    asks: dict[int, int]

    @property
    def n_levels(self) -> int:
        """Rows of both sides."""
        return len(self.bids) + len(self.asks)


@dataclass(slots=True)
class Published:
    """What goes out now, and what a fault took away."""

    messages: list[BookMessage] = field(default_factory=list)
    withheld: list[BookMessage] = field(default_factory=list)


class BookChannel:
    """Messages of `market` at `depth` levels per side; the first id is drawn from `first_update_id`."""

    def __init__(self, market: SyntheticMarket, depth: int, first_update_id: int) -> None:
        self._market, self._depth = market, depth
        self.update_id = first_update_id
        self._sequence = first_update_id * 16
        self._shown = self._top()
        self._changed: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self._stalled_until = self._delayed_until = 0
        self._n_drop = 0
        self._once: set[str] = set()
        self._mend: set[int] = set()
        self._swapped: BookMessage | None = None
        self._delayed: list[BookMessage] = []

    def inject(self, fault: Fault) -> None:
        """Let `fault` happen with the next message."""
        until = self._market.time_ms + int(fault.duration_s * 1_000)
        if fault.kind == "stall":
            self._stalled_until = until
        elif fault.kind == "delay":
            self._delayed_until = until
        elif fault.kind == "drop":
            self._n_drop += fault.value
        else:
            self._once.add(fault.kind)

    def snapshot(self) -> BookMessage:
        """The book as it is, under the id of the last message."""
        return self._message(True, self.update_id, *self._top())

    def advance(self, step: Step) -> Published:
        """Messages after `step` of the market."""
        self._gather(step)
        if self._market.time_ms < self._stalled_until:
            return Published()
        published = self._publish()
        if self._market.time_ms < self._delayed_until:
            self._delayed += published.messages
            published.messages = []
        else:
            published.messages = self._delayed + published.messages
            self._delayed = []
        return published

    def _publish(self) -> Published:
        (bids, asks), self._changed = self._changed, ({}, {})
        self._mend_crossing(bids)
        if not bids and not asks and "restart" not in self._once:
            return Published()
        message = self._next_message(bids, asks)
        if self._n_drop:
            self._n_drop -= 1
            return Published(withheld=[message])
        if self._swapped is not None:
            first, self._swapped = self._swapped, None
            return Published([message, first])
        if self._take("reorder"):
            self._swapped = message
            return Published()
        return Published([message, message] if self._take("duplicate") else [message])

    def _next_message(self, bids: dict[int, int], asks: dict[int, int]) -> BookMessage:
        if self._take("restart"):
            self.update_id = 1
            return self._message(True, 1, *self._top())
        if self._take("crossed"):
            above = self._market.touch[1] + 2
            self._mend.add(above)
            bids[above] = _CROSSED_LOTS
        self.update_id += 1
        return self._message(False, self.update_id, bids, asks)

    def _message(
        self, is_snapshot: bool, update_id: int, bids: dict[int, int], asks: dict[int, int]
    ) -> BookMessage:
        self._sequence += 1
        return BookMessage(
            is_snapshot, update_id, update_id - 1, self._sequence, self._market.time_ms, bids, asks
        )

    def _gather(self, step: Step) -> None:
        """Add what `step` changed among the levels that are shown."""
        bids, asks = self._changed
        if self._depth >= self._market.parameters.levels:
            bids.update(step.bids)
            asks.update(step.asks)
            return
        before, self._shown = self._shown, self._top()
        for changes, old, new in zip((bids, asks), before, self._shown, strict=True):
            changes.update(dict.fromkeys(old.keys() - new.keys(), 0))
            changes.update({tick: lots for tick, lots in new.items() if old.get(tick) != lots})

    def _mend_crossing(self, bids: dict[int, int]) -> None:
        """Say of levels that crossed the book what they really hold."""
        for tick in self._mend:
            bids[tick] = self._market.bids.get(tick, 0)
        self._mend.clear()

    def _top(self) -> tuple[dict[int, int], dict[int, int]]:
        bids, asks = self._market.bids, self._market.asks
        if self._depth >= self._market.parameters.levels:
            return dict(bids), dict(asks)
        return _chosen(bids, heapq.nlargest(self._depth, bids)), _chosen(
            asks, heapq.nsmallest(self._depth, asks)
        )

    def _take(self, kind: str) -> bool:
        """Whether `kind` waits to happen; it happens once."""
        if kind not in self._once:
            return False
        self._once.discard(kind)
        return True


def _chosen(book: dict[int, int], ticks: Iterable[int]) -> dict[int, int]:
    return {tick: book[tick] for tick in ticks}
