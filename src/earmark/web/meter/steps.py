"""How far each recording is that was sent, for who watches: `Steps` in the server's event loop.

A watcher may come before the recording or after it; each is told everything from the first step on. The newest
recordings are remembered, and nothing of them but their steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import HTTPException

from earmark.errors import EarmarkError

__all__ = ["Steps"]

N_REMEMBERED = 256
PATIENCE_S = 600.0
"""A watcher is let go when nothing was told for so long."""

Event = dict[str, Any]
LAST = frozenset({"answered", "failed"})


class Steps:
    """What was told of each recording, by the id that its sender gave it."""

    def __init__(self) -> None:
        self._told: dict[str, list[Event]] = {}
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def of(self, job: str | None) -> AsyncIterator[Step]:
        """Tell the steps of a recording, and in the end how it went; nothing where it has no id."""
        if job is not None and _is_over(self._told.get(job, ())):
            del self._told[job]
        try:
            yield Step(self, job)
        except HTTPException as error:
            await self.tell(job, {"type": "failed", "detail": error.detail})
            raise
        except EarmarkError as error:
            await self.tell(job, {"type": "failed", "detail": str(error)})
            raise
        except BaseException:
            await self.tell(
                job, {"type": "failed", "detail": "This did not work. The server's log has more."}
            )
            raise
        await self.tell(job, {"type": "answered"})

    async def tell(self, job: str | None, event: Event) -> None:
        """Tell a step to who watches, now or later."""
        if job is None:
            return
        self._list(job).append(event)
        async with self._changed:
            self._changed.notify_all()

    async def follow(self, job: str) -> AsyncIterator[Event]:
        """Every step so far, then each as it happens, up to the last."""
        told = self._list(job)
        n = 0
        while not _is_over(told[:n]):
            if n == len(told) and not await self._was_told_more():
                return
            for event in told[n:]:
                n += 1
                yield event

    async def _was_told_more(self) -> bool:
        """Wait for a step of any recording; False where none comes."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait(), PATIENCE_S)
            except TimeoutError:
                return False
        return True

    def _list(self, job: str) -> list[Event]:
        told = self._told.setdefault(job, [])
        while len(self._told) > N_REMEMBERED:
            del self._told[next(iter(self._told))]
        return told


class Step:
    """Tells the steps of one recording."""

    def __init__(self, steps: Steps, job: str | None) -> None:
        self._steps = steps
        self._job = job

    async def done(self, step: str, /, **fields: Any) -> None:
        """A step is done."""
        await self._steps.tell(self._job, {"type": step, **fields})


def _is_over(told: Sequence[Event]) -> bool:
    return bool(told) and told[-1]["type"] in LAST
