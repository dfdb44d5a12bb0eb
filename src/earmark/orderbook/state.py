"""What features are computed from: the book at the ticks of the feature clock.

The feature clock ticks at multiples of `STEP_MS` of exchange time. The book at a tick holds every update with an
`event_ms` up to it, as far as it had arrived when the tick was closed: `closed_ns`, at least a grace later. A tick
and what it may use are thereby fixed by recorded numbers, and the same features come out of the same records at any
later time.
"""

from __future__ import annotations

from dataclasses import dataclass

from earmark.orderbook.events import Levels

__all__ = ["FEATURE_LEVELS", "GRACE_MS", "MAX_BOOK_AGE_MS", "MAX_GAP", "STEP_MS", "BookState"]

STEP_MS = 3_000
"""Distance of two ticks of the feature clock."""

FEATURE_LEVELS = 50
"""Levels per side of the feature book."""

GRACE_MS = 1_000
"""How long a tick stays open for updates that are late."""

MAX_BOOK_AGE_MS = 10_000
"""A book without an update for so long is stale."""

MAX_GAP = 1.5
"""Rows of a symbol further apart than so many of their usual intervals are separated by a gap."""


@dataclass(frozen=True, slots=True, eq=False)
class BookState:
    """The feature book of one symbol at a tick.

    Attributes
    ----------
    time_ms : int
        The tick, a multiple of `STEP_MS`.
    closed_ns : int
        This machine's clock when the tick was closed: trades and candles received later are not part of it.
    bids, asks : ndarray, shape (n <= FEATURE_LEVELS, 2)
        Best first; n may be 0.
    event_ms : int
        Time of the newest update in the book.
    n_updates : int
        Updates since the tick before.
    follows_gap : bool
        Whether something was lost between the tick before and this one: history starts anew here.
    n_late : int
        Updates that arrived after their tick was closed, since the tick before.
    """

    time_ms: int
    closed_ns: int
    bids: Levels
    asks: Levels
    event_ms: int
    n_updates: int
    follows_gap: bool = False
    n_late: int = 0
