"""The worker processes of those who listen: one each, so that nobody waits for another's music, nor do uploads.

A worker takes seconds to start, and is kept for the next listener when one leaves; one at most lies idle.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from earmark.errors import EarmarkError
from earmark.web.answers import Answers
from earmark.web.meter.opened import warm

__all__ = ["Ears", "TooManyError"]

MOST = max(1, min(4, (os.cpu_count() or 1)))
"""Listeners at once: each takes a third of a core at most, and some 300 MB."""


class TooManyError(EarmarkError):
    """As many listen as this machine can serve."""


class Ears:
    """Workers for listeners.

    Parameters
    ----------
    n : int
        Listeners at once.
    """

    def __init__(self, n: int = MOST) -> None:
        self._n = n
        self._idle: list[Answers] = []
        self._busy: list[Answers] = []

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Answers]:
        """A worker for one listener.

        Raises
        ------
        TooManyError
            All are taken.
        """
        if len(self._busy) >= self._n:
            raise TooManyError(
                f"{self._n} listen already, which is as many as this machine can serve. End one, or try again later."
            )
        ear = self._idle.pop() if self._idle else Answers(warm)
        self._busy.append(ear)
        try:
            yield ear
        finally:
            self._busy.remove(ear)
            self._give_back(ear)

    def close(self) -> None:
        """End all workers."""
        for ear in (*self._idle, *self._busy):
            ear.close()
        self._idle.clear()

    def _give_back(self, ear: Answers) -> None:
        if self._idle:
            ear.close()
        else:
            self._idle.append(ear)
