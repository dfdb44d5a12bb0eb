"""The local order book of one symbol: sorted, checked after every update, never wider than its subscription.

What a venue sends are a snapshot and then deltas, each of absolute quantities per price. The book applies them in
order of receipt, and after each of them the best bid lies below the best ask or the book says that it cannot be used.

Continuity, the rules that the venues document:

* A snapshot replaces the book, whatever its number. Update number 1 does so too: the venue's service restarted.
* Where nothing can have been lost a snapshot counts as an update: one with the number of the book, which repeats it
  (Bybit's best level, after 3 s without change), and a later one in a stream of the best level, which sends nothing
  but snapshots.
* With numbers alone (Bybit `u`) a delta must be one more than the update before.
* With a named predecessor (Binance `pu`) that must be the update before. The first delta after a snapshot may
  instead span it: predecessor <= snapshot < delta.
* A delta that is not newer is stale: it is counted and ignored, as is usual for those buffered while a snapshot is
  fetched. If its engine sequence is newer all the same, the numbering began anew unseen, and that is a gap.

After a gap, a crossed or locked book, or a level without a meaning, nothing is applied until the next snapshot.

Depth: a stream of the best 200 levels says nothing about level 201. Whether the venue deletes a level that falls out
of its view or not, keeping the best `depth` levels at the end of each message gives its view exactly; more would be
levels that nobody updates. A stream of the full book (Binance) is kept as deep as its snapshot.

Times are milliseconds of exchange time, prices in quote currency, quantities in base coin.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from earmark.errors import UsageError
from earmark.orderbook.book_kernel import ASKS, BIDS, apply_levels, best_first, copy_best
from earmark.orderbook.events import BookUpdate, Levels
from earmark.orderbook.state import MAX_BOOK_AGE_MS

__all__ = ["Applied", "Best", "OrderBook"]

RESTART_ID = 1
"""Update number of a venue whose service restarted: what comes with it replaces the book."""


class Applied(StrEnum):
    """What became of an update; only the first two changed the book."""

    APPLIED = "applied"
    SNAPSHOT = "snapshot"
    """Replaced, and what went before need not lead to it."""
    STALE = "stale"
    """Not newer than the book: ignored."""
    GAP = "gap"
    """Something between is missing: the book is unusable."""
    CROSSED = "crossed"
    """Best bid >= best ask after the update: the book is unusable."""
    INVALID = "invalid"
    """A price that is not positive or a quantity that is negative or not finite: the book is unusable."""
    NOT_READY = "not_ready"
    """A delta without a usable book below it: ignored until a snapshot."""


class Best(NamedTuple):
    """Best prices and the quantities at them."""

    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float


class OrderBook:
    """Sorted book of one symbol.

    Parameters
    ----------
    symbol : str
    depth : int
        Levels per side that the subscription shows; deeper ones are dropped after each message.

    Attributes
    ----------
    update_id : int
        Of the last update in the book, -1 before the first.
    event_ms : int
        Its time at the matching engine, -1 before the first.
    n_updates : int
        Updates that changed the book, snapshots included, since it was made.
    n_dropped : int
        Levels dropped beyond the depth.
    counts : Counter of Applied
        What became of each update since the book was made.
    best_changed : bool
        Whether the last update changed a best price or its quantity.
    problem : str or None
        Why the book cannot be used; None if it can.

    Examples
    --------
    >>> book = OrderBook("BTCUSDT", depth=50)
    >>> levels = np.array([[99.0, 2.0], [100.0, 1.0]]), np.array([[101.0, 3.0]])
    >>> book.apply(BookUpdate("BTCUSDT", True, *levels, update_id=7, sequence=0, event_ms=0, sent_ms=0, received_ns=0))
    <Applied.SNAPSHOT: 'snapshot'>
    >>> book.best()
    Best(bid=100.0, bid_quantity=1.0, ask=101.0, ask_quantity=3.0)
    """

    def __init__(self, symbol: str, depth: int = 200) -> None:
        if depth < 1:
            raise UsageError(
                f"a book of depth {depth} holds nothing; depth is the number of levels per side, 1 or more"
            )
        self.symbol = symbol
        self.depth = depth
        self.counts: Counter[Applied] = Counter()
        self.n_updates = 0
        self.n_dropped = 0
        self.problem: str | None = None
        self.best_changed = False
        self._sides = np.empty((2, 2, 2 * depth))
        self._lengths = np.zeros(2, dtype=np.int64)
        self._best = np.full(4, np.nan)
        self.reset()

    def reset(self) -> None:
        """Forget the levels, as after a lost connection; the counts stay."""
        self._forget("no snapshot yet")
        self.update_id = -1
        self.event_ms = -1
        self._sequence = 0
        self._follows_snapshot = False

    def apply(self, update: BookUpdate) -> Applied:
        """Apply an update of this symbol in order of receipt, and say what became of it.

        Raises
        ------
        UsageError
            The update belongs to another symbol.
        """
        if update.symbol != self.symbol:
            raise UsageError(
                f"an update of {update.symbol} was given to the book of {self.symbol}; "
                "each symbol has a book of its own"
            )
        self.best_changed = False
        outcome = self._apply(update)
        self.counts[outcome] += 1
        return outcome

    def _apply(self, update: BookUpdate) -> Applied:
        replaces = update.is_snapshot or update.update_id == RESTART_ID
        if not replaces:
            refusal = self._refusal(update)
            if refusal is not None:
                return refusal
        bids, asks = _plain(update.bids), _plain(update.asks)
        outcome = Applied.SNAPSHOT if replaces and not self._repeats(update) else Applied.APPLIED
        self._make_room(len(bids), len(asks), replaces)
        dropped = apply_levels(self._sides, self._lengths, bids, asks, self.depth, replaces)
        if dropped < 0:
            self._forget(f"update {update.update_id} has a price or quantity that is no number of a book")
            return Applied.INVALID
        self.n_dropped += dropped
        self._note(update, replaces)
        return self._checked(outcome)

    def _refusal(self, update: BookUpdate) -> Applied | None:
        """Why a delta cannot follow what is in the book, or None."""
        if self.problem is not None:
            return Applied.NOT_READY
        if update.update_id <= self.update_id:
            if update.sequence <= self._sequence or not self._sequence:
                return Applied.STALE
        elif self._continues(update):
            return None
        self._forget(f"gap: update {update.update_id} does not follow update {self.update_id}")
        return Applied.GAP

    def _continues(self, update: BookUpdate) -> bool:
        before = update.previous_update_id
        if before is None:
            return update.update_id == self.update_id + 1
        return before == self.update_id or (self._follows_snapshot and before < self.update_id)

    def _repeats(self, snapshot: BookUpdate) -> bool:
        """Whether nothing was lost between the book and a snapshot."""
        if self.problem is not None or snapshot.update_id == RESTART_ID:
            return False
        is_later = snapshot.update_id > self.update_id
        return snapshot.update_id == self.update_id or (self.depth == 1 and is_later)

    def _make_room(self, n_bids: int, n_asks: int, replaces: bool) -> None:
        """Grow for the largest message; the sides shrink to `depth` again at its end."""
        needed = max(n_bids, n_asks) + (0 if replaces else self.depth)
        if needed > self._sides.shape[2]:
            grown = np.empty((2, 2, needed))
            grown[:, :, : self._sides.shape[2]] = self._sides
            self._sides = grown

    def _note(self, update: BookUpdate, replaces: bool) -> None:
        self.n_updates += 1
        self.update_id = update.update_id
        self.event_ms = update.event_ms
        self._sequence = update.sequence
        self._follows_snapshot = replaces
        self.problem = None

    def _checked(self, outcome: Applied) -> Applied:
        self.best_changed = copy_best(self._sides, self._lengths, self._best)
        bid, ask = float(self._best[0]), float(self._best[2])
        if bid >= ask:
            self._forget(f"crossed: best bid {bid} >= best ask {ask} after update {self.update_id}")
            return Applied.CROSSED
        return outcome

    def _forget(self, problem: str) -> None:
        self.problem = problem
        self._lengths[:] = 0
        self.best_changed = copy_best(self._sides, self._lengths, self._best)

    def best(self) -> Best | None:
        """Best prices and quantities; None if the book is unusable or a side is empty."""
        best = Best(*self._best.tolist())
        return best if best.bid < best.ask else None

    @property
    def mid(self) -> float | None:
        """Mean of the best prices, where there are both."""
        bid, _, ask, _ = self._best.tolist()
        return (bid + ask) / 2 if bid < ask else None

    def top(self, n: int) -> tuple[Levels, Levels]:
        """Copies of the best `n` levels of both sides, or of as many as there are, best first.

        Returns
        -------
        bids, asks : ndarray of float64, shape (k <= n, 2)
            Price and quantity; k is 0 for both sides while the book is unusable.
        """
        bids = best_first(self._sides, self._lengths, BIDS, n)
        return bids, best_first(self._sides, self._lengths, ASKS, n)

    def __len__(self) -> int:
        """Levels of both sides."""
        return int(self._lengths.sum())

    @property
    def is_healthy(self) -> bool:
        """Whether there is a mid: the book is usable and has both sides."""
        return self.mid is not None

    def is_stale(self, at_ms: int) -> bool:
        """Whether no update reached the book for `MAX_BOOK_AGE_MS` of exchange time before `at_ms`."""
        return at_ms - self.event_ms >= MAX_BOOK_AGE_MS


def _plain(levels: Levels) -> Levels:
    """The same levels as a plain C array: another memory layout would be compiled for while a market runs."""
    return levels if levels.flags.carray else np.array(levels, dtype=np.float64, order="C")
