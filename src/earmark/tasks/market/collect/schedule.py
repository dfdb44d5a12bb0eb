"""When a collector's duties are done: again and again by either clock, and whole, whatever ends around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from earmark.errors import EarmarkError
from earmark.tasks.market.collect.clock import Clock

__all__ = ["WholeSteps", "every", "every_of_market"]

Duty = Callable[[], Coroutine[Any, Any, None]]

_SHORTEST_SLEEP_S = 0.02


async def every(seconds: float, duty: Duty) -> None:
    """Do it after each pause of so many seconds of this machine, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        await duty()


async def every_of_market(clock: Clock, seconds: float, duty: Duty) -> None:
    """As `every`, by the collector's clock."""
    while True:
        due_s = clock.now_ns() / 1e9 + seconds
        while (left_s := due_s - clock.now_ns() / 1e9) > 0:
            await asyncio.sleep(max(left_s / clock.speed, _SHORTEST_SLEEP_S))
        await duty()


class WholeSteps:
    """Steps that go on when what began them is cancelled.

    Parameters
    ----------
    on_error : callable
        Told of an error of any of them; what is no `EarmarkError` is a fault of ours, and the event loop's to report.
    """

    def __init__(self, on_error: Callable[[EarmarkError], None]) -> None:
        self._on_error = on_error
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, step: Coroutine[Any, Any, None]) -> None:
        """Do a step and wait for it."""
        await asyncio.shield(self.begin(step))

    def begin(self, step: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do a step in the background."""
        task = asyncio.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._note)
        return task

    async def finish(self) -> None:
        """Wait for all that were begun."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _note(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, EarmarkError):
            self._on_error(error)
        elif error is not None:
            what = {"message": "a step of the collector failed", "exception": error, "task": task}
            task.get_loop().call_exception_handler(what)
