"""Sound while it happens: a source that may stall, overflow or vanish, and a reader that never ends for it.

A *source* (a sound device, a stream of a network, a pipe; see `earmark.inference.sources`) puts pieces into an
`Inbox` from a thread or callback of its own. `Capture` reads them in order, tells what was lost between them, and opens
a source that ended without leave again: after 0.5 s, then after twice as long each time, at most 30 s.

Between the two ends there is no lock: a deque takes and gives pieces atomically, each counter has one writer, and what
was dropped is known by the place of each piece in the signal. Who reads too slowly loses the oldest audio, down to the
newest `keep_s`, so what follows is of the present and long enough to be answered.

Conventions: mono float32; seconds of audio count from the first sample of the source, at its own rate; waiting is in
seconds of the monotonic clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earmark.errors import DecodeError, UsageError

__all__ = ["Capture", "Counts", "Inbox", "Piece", "Source"]

Samples = NDArray[np.float32]

POLL_S = 0.02
"""How long the reader sleeps where nothing waits; a callback may not wake it, since waking takes a lock."""
STALLED_S = 10.0
"""A source that is open and silent for so long is closed and opened again, where it says that this helps."""
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 30.0
_NOTHING = np.empty(0, dtype=np.float32)


class Inbox:
    """Pieces between the one that hears and the one that reads.

    Parameters
    ----------
    sample_rate : int
        Hz.
    max_lag_s : float
        More than this never waits: the oldest pieces are dropped.
    keep_s : float
        How much is left when pieces are dropped.
    """

    def __init__(self, sample_rate: int, *, max_lag_s: float, keep_s: float) -> None:
        self.sample_rate = sample_rate
        self._limit = round(max_lag_s * sample_rate)
        self._keep = round(min(keep_s, max_lag_s) * sample_rate)
        self._pieces: deque[tuple[int, Samples]] = deque()
        self._n_put = 0  # written by `put` alone, as the two below
        self._n_given_up = 0
        self.n_overflows = 0
        self._n_taken = 0  # written by `take` alone

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that wait to be read."""
        return self._n_waiting / self.sample_rate

    def put(self, samples: Samples, *, overflowed: bool = False) -> None:
        """Take the next samples in, which are not to be written to afterwards; never waits.

        Parameters
        ----------
        overflowed : bool
            The device lost an unknown number of samples before these.
        """
        self.n_overflows += overflowed
        self._pieces.append((self._n_put, samples))
        self._n_put += len(samples)
        if self._n_waiting > self._limit:
            self._give_up_oldest()

    def take(self) -> tuple[int, Samples] | None:
        """The next piece, and the number of samples that were dropped before it; None where none waits."""
        try:
            first, samples = self._pieces.popleft()
        except IndexError:
            return None
        n_lost = first - self._n_taken
        self._n_taken = first + len(samples)
        return n_lost, samples

    @property
    def _n_waiting(self) -> int:
        return self._n_put - max(self._n_taken, self._n_given_up)

    def _give_up_oldest(self) -> None:
        while self._n_waiting > self._keep and len(self._pieces) > 1:
            try:
                first, samples = self._pieces.popleft()
            except IndexError:  # the reader was faster
                return
            self._n_given_up = first + len(samples)


class Source(Protocol):
    """What can be heard; `start` and `stop` are called by the reader, any number of times, in turn."""

    name: str
    sample_rate: int
    """Hz of the samples it puts; known before it starts."""
    comes_back: bool
    """Whether it is worth opening again once it had a problem."""
    reopens_when_silent: bool
    """Whether a stalled source is helped by closing and opening it."""
    problem: str | None
    """Why it is not running any more, as the end of a sentence; None while it runs, and where it came to its end."""

    @property
    def is_running(self) -> bool:
        """Whether more may come."""

    def start(self, inbox: Inbox) -> None:
        """Begin to put pieces into the inbox; a source that cannot says so by `problem`."""

    def stop(self) -> None:
        """End it; no piece comes afterwards."""


@dataclass(frozen=True)
class Piece:
    """What the reader learns at once.

    Parameters
    ----------
    samples : ndarray, float32, shape (n,)
        Empty where nothing came in time.
    lost_s : float
        Seconds of audio that were dropped before them because the reader was too slow.
    overflowed : bool
        The device lost samples, how many is not known.
    reopened : bool
        They are the first since the source was opened again; how much is missing, only the clock knows.
    quiet_s : float
        How long nothing has come by now, in seconds of the clock.
    problem : str or None
        Why the source is away.
    """

    samples: Samples = field(default_factory=lambda: _NOTHING, repr=False)
    lost_s: float = 0.0
    overflowed: bool = False
    reopened: bool = False
    quiet_s: float = 0.0
    problem: str | None = None

    @property
    def is_behind_a_gap(self) -> bool:
        """Whether audio is missing between the last samples and these."""
        return self.lost_s > 0 or self.overflowed or self.reopened


@dataclass
class Counts:
    """What went wrong so far."""

    overflows: int = 0
    lags: int = 0
    lost_s: float = 0.0
    reopened: int = 0


class Capture:
    """Reads a source for as long as it may come back.

    Parameters
    ----------
    source : Source
    max_lag_s, keep_s : float
        As of `Inbox`.
    clock, sleep : callable
        Seconds that never go back, and waiting for them.
    """

    def __init__(
        self,
        source: Source,
        *,
        max_lag_s: float = 30.0,
        keep_s: float = 6.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if max_lag_s <= 0:
            raise UsageError(f"--max-lag-sec is {max_lag_s:g} s; expected a number of seconds above 0.")
        self.source = source
        self.counts = Counts()
        self._bounds = {"max_lag_s": max_lag_s, "keep_s": keep_s}
        self._clock, self._sleep = clock, sleep
        self._n_overflows = 0
        self._inbox = self._new_inbox()
        self._heard_at = self._started_at = clock()
        self._retry_s = FIRST_RETRY_S
        self._has_heard = self._was_reopened = False

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that wait to be read."""
        return self._inbox.waiting_s

    def pieces(self, tick_s: float = 1.0) -> Iterator[Piece]:
        """Pieces as they come, and an empty one whenever nothing came for `tick_s`; ends where the source does.

        Raises
        ------
        DecodeError
            The source failed before it gave anything at all, or has a problem and does not come back.
        """
        self._heard_at = self._started_at = told_at = self._clock()
        self.source.start(self._inbox)
        try:
            while True:
                is_over = not self.source.is_running  # asked first: what it put before its end is taken below
                piece = self._next()
                if piece is None and is_over and self.source.problem is None:
                    return
                if piece is None and self._must_reopen(is_over):
                    yield from self._away(tick_s)
                    told_at = self._clock()
                elif piece is not None or self._clock() - told_at >= tick_s:
                    told_at = self._clock()
                    yield piece or Piece(quiet_s=told_at - self._heard_at)
                else:
                    self._sleep(POLL_S)
        finally:
            self.source.stop()

    def _next(self) -> Piece | None:
        taken = self._inbox.take()
        if taken is None:
            return None
        n_lost, samples = taken
        if not np.isfinite(
            np.dot(samples, samples)
        ):  # a broken driver; such samples would poison the resampler
            n_lost, samples = n_lost + len(samples), _NOTHING
        overflowed = self._inbox.n_overflows > self._n_overflows
        self._n_overflows = self._inbox.n_overflows
        piece = Piece(samples, n_lost / self.source.sample_rate, overflowed, self._was_reopened)
        self._heard_at, self._retry_s = self._clock(), FIRST_RETRY_S
        self._has_heard, self._was_reopened = True, False
        self.counts.overflows += overflowed
        self.counts.lags += n_lost > 0
        self.counts.lost_s += piece.lost_s
        return piece

    def _must_reopen(self, is_over: bool) -> bool:
        silent_s = self._clock() - max(self._heard_at, self._started_at)
        is_stalled = silent_s > STALLED_S and self.source.reopens_when_silent
        if is_over and not (self._has_heard and self.source.comes_back):
            raise DecodeError(
                f"`{self.source.name}` cannot be heard: {self.source.problem}. Expected a source of sound. Check it, "
                "or name another."
            )
        return is_over or is_stalled

    def _away(self, tick_s: float) -> Iterator[Piece]:
        """Close the source, wait, open it again; empty pieces meanwhile."""
        problem = self.source.problem or f"nothing came for {STALLED_S:g} s"
        self.source.stop()
        until = self._clock() + self._retry_s
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
        while (left := until - self._clock()) > 0:
            yield Piece(quiet_s=self._clock() - self._heard_at, problem=problem)
            self._sleep(min(tick_s, left))
        self._inbox, self._n_overflows, self._was_reopened = self._new_inbox(), 0, True
        self.counts.reopened += 1
        self._started_at = self._clock()
        self.source.start(self._inbox)

    def _new_inbox(self) -> Inbox:
        return Inbox(self.source.sample_rate, **self._bounds)
