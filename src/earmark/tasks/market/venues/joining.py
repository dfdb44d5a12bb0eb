"""A book that starts with a REST snapshot and goes on with deltas of the socket.

Deltas are held until a snapshot arrives that they reach. The first delta that is used must span the snapshot: it
follows an update at or before it and ends at or after it. That delta is given back as following the snapshot, so
that one rule of continuity holds for every delta behind it.
"""

from __future__ import annotations

from dataclasses import replace

from earmark.orderbook.events import BookUpdate

__all__ = ["SnapshotJoin"]

_MAX_HELD = 10_000
"""Deltas held at most, a quarter of an hour at ten a second: without a snapshot by then the oldest are of no use."""


class SnapshotJoin:
    """Deltas of one symbol that wait for its snapshot."""

    def __init__(self) -> None:
        self._held: list[BookUpdate] = []

    def hold(self, update: BookUpdate) -> None:
        """Keep a delta that arrived before the book was ready."""
        self._held.append(update)
        if len(self._held) > _MAX_HELD:
            del self._held[: -_MAX_HELD // 2]

    def join(self, snapshot: BookUpdate) -> list[BookUpdate] | None:
        """The snapshot and the held deltas that follow it, or None if it is older than what is held.

        None asks for another snapshot; the deltas stay. A snapshot that is newer than all deltas is given back
        alone with them dropped: the book then decides about the next.
        """
        behind = [update for update in self._held if update.update_id >= snapshot.update_id]
        if not behind:
            self._held.clear()
            return [snapshot]
        first = behind[0]
        if first.previous_update_id is None or first.previous_update_id > snapshot.update_id:
            return None
        self._held.clear()
        return [snapshot, replace(first, previous_update_id=snapshot.update_id), *behind[1:]]
