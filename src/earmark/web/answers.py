"""Answers that take work: a worker process that is started once, stays warm, and is replaced when it dies.

The event loop that serves pages never computes. What is asked is a module-level function with picklable
arguments; a model that a function opens stays open in the worker where the function keeps it, by
`functools.lru_cache` on its folder.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from earmark.errors import WorkerError

__all__ = ["Answers"]

Answer = TypeVar("Answer")


class Answers:
    """One worker process that computes what routes ask, one question after the other.

    Parameters
    ----------
    warm : callable, optional
        Called in each new worker before its first question: imports what questions need.
    """

    def __init__(self, warm: Callable[[], None] | None = None) -> None:
        self._warm = warm
        self._pool: ProcessPoolExecutor | None = None

    def start(self) -> None:
        """Start the worker now, so that the first question finds it warm."""
        self._opened().submit(_ready)

    async def ask(self, function: Callable[..., Answer], /, *args: Any, **kwargs: Any) -> Answer:
        """What ``function(*args, **kwargs)`` returns in the worker.

        Raises
        ------
        WorkerError
            The worker died; the next question goes to a new one.
        """
        pool = self._opened()
        try:
            return await asyncio.wrap_future(pool.submit(_call, function, args, kwargs))
        except BrokenProcessPool as error:
            if self._pool is pool:
                self._pool = None
            raise WorkerError(
                f"The process that computes answers died in {function.__name__}, as when memory is full. "
                "It was started again; ask again, with a shorter recording if it happens twice."
            ) from error

    def close(self) -> None:
        """End the worker; a question that is being computed is given up."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()

    def _opened(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _initialise, (self._warm,)
            )
        return self._pool


def _initialise(warm: Callable[[], None] | None) -> None:
    # Ctrl-C in the server's terminal reaches the worker, too; the server ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if warm is not None:
        warm()


def _end_with_parent() -> None:
    """A server that was killed tells nobody: its worker would wait for questions for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def _ready() -> None:
    """Nothing: a question that only starts a worker."""


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return function(*args, **kwargs)
