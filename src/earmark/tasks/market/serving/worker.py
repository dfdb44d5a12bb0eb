"""A thread for a model, so that it delays nobody who gives it work."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Worker"]

T = TypeVar("T")


class Worker(Generic[T]):
    """Does what it is given in a thread of its own, in order, until the first error.

    Leaving the context waits for the rest, and raises an error that nobody was told of.

    Parameters
    ----------
    do : callable
        Called with each item, in the thread.

    Attributes
    ----------
    error : Exception or None
        What ended the work; what was given and not done by then is dropped.
    """

    def __init__(self, do: Callable[[T], None]) -> None:
        self.error: Exception | None = None
        self._do = do
        self._items: deque[T] = deque()
        self._given = self._done = 0
        self._is_closing = False
        self._changed = threading.Condition()
        # A daemon: a model that never returns must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def n_waiting(self) -> int:
        """Items that were not begun."""
        return len(self._items)

    def give(self, item: T) -> None:
        """Queue an item; raises what ended the work."""
        with self._changed:
            if self.error is not None:
                raise self.error
            self._items.append(item)
            self._given += 1
            self._changed.notify_all()

    def settle(self, timeout_s: float) -> bool:
        """Wait until all that was given before is done, or will never be; whether it is done."""
        with self._changed:
            wanted = self._given
            self._changed.wait_for(lambda: self._done >= wanted or self.error is not None, timeout_s)
            return self._done >= wanted

    def close(self, timeout_s: float | None = None) -> bool:
        """Do the rest and end; whether the thread ended in time. What was not begun by then is dropped."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        with self._changed:
            self._items.clear()
        return not self._thread.is_alive()

    def __enter__(self) -> Worker[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        if kind is None and self.error is not None:
            raise self.error

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._is_closing)
                if not self._items:
                    return
                item = self._items.popleft()
            try:
                self._do(item)
            except Exception as error:  # noqa: BLE001  # it is raised where the next item is given, or at the end
                with self._changed:
                    self.error = error
                    self._items.clear()
                    self._changed.notify_all()
                return
            with self._changed:
                self._done += 1
                self._changed.notify_all()
