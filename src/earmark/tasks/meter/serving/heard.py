"""A signal that is heard piece by piece, kept as far as it is still needed.

`Recording` takes the windows of a recording as soon as they are complete, so that the answer about the whole needs no
more memory than a window, however long it runs; it is the answer of a batch, to the last bit. Short signals are one
window, and whether one is short is only known after `WHOLE_S`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.fragment import fragment
from earmark.features.table import ItemFailure
from earmark.inference.windows import Heard
from earmark.tasks.meter.schema import SAMPLE_RATE, WHOLE_S, WINDOW_HOP_S, WINDOW_S
from earmark.tasks.meter.serving.failures import Failure, code_of
from earmark.tasks.meter.serving.predict import Analyst, Outcome
from earmark.tasks.meter.serving.reading import Reading, WindowRows, read_clips
from earmark.tasks.meter.serving.windows import Layout, planned

__all__ = ["Recording", "Signal"]

Samples = NDArray[np.float32]


class Signal:
    """The samples of a signal at the rates that the groups ask for.

    Parameters
    ----------
    rates : iterable of int
        Hz; 22 050 is always among them.
    name : str
        For messages and answers.
    """

    def __init__(self, rates: frozenset[int], name: str) -> None:
        self.name = name
        self._heard = {rate: Heard() for rate in sorted(rates | {SAMPLE_RATE})}

    @property
    def rates(self) -> tuple[int, ...]:
        """Rates in Hz at which samples must be given."""
        return tuple(self._heard)

    @property
    def n_samples(self) -> int:
        """Samples heard at 22 050 Hz."""
        return self._heard[SAMPLE_RATE].length

    @property
    def duration_s(self) -> float:
        """Seconds heard at all rates."""
        return min(heard.length / rate for rate, heard in self._heard.items())

    def append(self, samples: Mapping[int, Samples]) -> None:
        """Take the next samples in."""
        for rate, piece in samples.items():
            self._heard[rate].append(piece)

    def clips(self, start_s: float, end_s: float) -> dict[int, Clip]:
        """A span at each rate, cut as a part of a file is; it ends with the signal."""
        name = fragment(self.name, start_s, end_s)
        return {
            rate: Clip(heard.span(round(start_s * rate), round(end_s * rate)), rate, name)
            for rate, heard in self._heard.items()
        }

    def forget(self, before_s: float) -> None:
        """Give up what lies before a time."""
        for rate, heard in self._heard.items():
            heard.forget(round(before_s * rate))


class Recording:
    """The windows of a signal, read as they fill.

    Parameters
    ----------
    analyst : Analyst
    name : str
    """

    def __init__(self, analyst: Analyst, name: str) -> None:
        self._analyst = analyst
        self._groups = analyst.reader.groups
        self.signal = Signal(frozenset(group.sample_rate for group in self._groups), name)
        self._rows: list[WindowRows | ItemFailure] = []

    def hear(self, samples: Mapping[int, Samples]) -> None:
        """Take samples in, and read the windows that they complete."""
        self.signal.append(samples)
        while self.signal.duration_s > max(WHOLE_S, self._next_s + WINDOW_S):
            self._read(self._next_s, self._next_s + WINDOW_S)
            self.signal.forget(self._next_s)

    def finish(self) -> Outcome:
        """The answer about everything that was heard."""
        name = self.signal.name
        layout = planned(name, self.signal.n_samples / SAMPLE_RATE)
        if not layout.n_windows:
            self._read(0.0, WHOLE_S)
        while len(self._rows) < layout.n_windows:
            self._read(self._next_s, self._next_s + WINDOW_S)
        return self._analyst.of(self._reading(layout))

    @property
    def _next_s(self) -> float:
        return len(self._rows) * WINDOW_HOP_S

    def _read(self, start_s: float, end_s: float) -> None:
        clips = self.signal.clips(start_s, end_s)
        self._rows.append(read_clips(clips, self._groups, self._analyst.slots, self.signal.name))

    def _reading(self, layout: Layout) -> Reading | Failure:
        failures = [one for one in self._rows if isinstance(one, ItemFailure)]
        if len(failures) == len(self._rows):
            return Failure(layout.uri, code_of(failures[0].kind), failures[0].error)
        return Reading(layout.uri, layout.starts_s, tuple(self._rows))
