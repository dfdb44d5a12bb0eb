"""Windows of a signal that arrives in pieces of any size: the one place where windows of heard audio are cut.

Window ``k`` begins at sample ``round(k * hop_s * rate)`` and has ``round(window_s * rate)`` samples, whatever the
pieces in which they came, and whatever the relation of window and hop: a file, a stream and a microphone give the same
windows of the same audio to the last bit. Where audio was lost, windows begin anew behind the gap: none spans it, and
the numbers go on, so that ``index`` counts windows and nothing else.

Conventions: mono float32 at one rate; ``start_s`` and ``end_s`` are seconds of audio heard since the first sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.inference.windows import Heard

__all__ = ["Grid", "Ring", "Window"]

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """Where windows lie.

    Parameters
    ----------
    window_s, hop_s : float
        Seconds, above 0; a hop may be longer than the window.
    sample_rate : int
        Hz.

    Raises
    ------
    UsageError
        A length is not above 0, or less than one sample.
    """

    window_s: float
    hop_s: float
    sample_rate: int

    def __post_init__(self) -> None:
        for name, seconds in (("window", self.window_s), ("hop", self.hop_s)):
            if not (0 < seconds < float("inf")) or round(seconds * self.sample_rate) < 1:
                raise UsageError(
                    f"the {name} is {seconds:g} s; expected at least one sample at {self.sample_rate} Hz. "
                    f"Correct --{name}-sec."
                )

    @property
    def n_samples(self) -> int:
        """Samples of a window."""
        return round(self.window_s * self.sample_rate)

    def first(self, number: int) -> int:
        """First sample of a window; they count from 0."""
        return round(number * self.hop_s * self.sample_rate)

    def count(self, n_samples: int) -> int:
        """Windows that lie wholly within the first `n_samples`."""
        number = max(0, int((n_samples - self.n_samples) / (self.hop_s * self.sample_rate)) - 1)
        while self.first(number) + self.n_samples <= n_samples:
            number += 1
        return number

    def span_s(self, number: int) -> tuple[float, float]:
        """Start and end of a window in seconds, as whole samples."""
        first = self.first(number)
        return first / self.sample_rate, (first + self.n_samples) / self.sample_rate


@dataclass(frozen=True)
class Window:
    """One window: its number, its seconds of heard audio, and its samples."""

    index: int
    start_s: float
    end_s: float
    clip: Clip


class Ring:
    """Holds the newest audio, and gives each window as soon as its last sample is there.

    Parameters
    ----------
    grid : Grid
    name : str
        Of the source, for messages.

    Examples
    --------
    >>> ring = Ring(Grid(window_s=2.0, hop_s=1.0, sample_rate=4), "a")
    >>> [window.start_s for window in ring.push(np.zeros(13, np.float32))]
    [0.0, 1.0]
    """

    def __init__(self, grid: Grid, name: str = "<stream>") -> None:
        self.grid = grid
        self.name = name
        self.n_windows = 0
        """Windows given so far; the number of the next."""
        self._n_behind = 0  # samples heard before the last restart
        self._restart()

    @property
    def n_heard(self) -> int:
        """Samples taken in so far."""
        return self._n_behind + self._heard.length

    @property
    def n_held(self) -> int:
        """Samples kept: never more than a window, a hop and the piece that came last."""
        return self._heard.n_kept

    def push(self, samples: Samples) -> Iterator[Window]:
        """Take the next samples; gives the windows that they complete. They are not to be written to afterwards."""
        self._heard.append(samples)
        size = self.grid.n_samples
        while (first := self.grid.first(self._next)) + size <= self._heard.length:
            yield self._window(first, first + size)
            self._heard.forget(min(self.grid.first(self._next), self._heard.length))

    def restart(self) -> None:
        """Forget what is held: audio was lost, and no window may span the gap."""
        self._n_behind += self._heard.length
        self._restart()

    def _restart(self) -> None:
        self._heard = Heard()
        self._next = 0

    def _window(self, first: int, stop: int) -> Window:
        rate = self.grid.sample_rate
        clip = Clip(self._heard.span(first, stop), rate, self.name)
        start_s, end_s = ((self._n_behind + sample) / rate for sample in (first, stop))
        window = Window(self.n_windows, start_s, end_s, clip)
        self._next += 1
        self.n_windows += 1
        return window
