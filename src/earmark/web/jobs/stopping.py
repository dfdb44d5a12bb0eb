"""Ending a command: asked first, then told, then killed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from time import monotonic

__all__ = ["STEPS", "Stopping"]

STEPS = ((0.0, signal.SIGINT), (10.0, signal.SIGTERM), (15.0, signal.SIGKILL))
"""Seconds after the first, and the signal; at the first a command keeps its finished work and says so."""


class Stopping:
    """The end of a process group, a signal at a time: call `press` until the processes are gone."""

    def __init__(self, group_id: int) -> None:
        self._group_id = group_id
        self._since = monotonic()
        self._left = list(STEPS)

    def press(self) -> None:
        """Send the signals that are due and were not sent."""
        while self._left and monotonic() - self._since >= self._left[0][0]:
            _, number = self._left.pop(0)
            with suppress(ProcessLookupError):  # it has just ended
                os.killpg(self._group_id, number)
