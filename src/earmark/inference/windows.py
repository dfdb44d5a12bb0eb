"""Windows over a signal that is still being heard, and the features of one.

Conventions: times are seconds from the start of the signal; a window is half open, ``[start, end)``. At a rate of
``r`` Hz the sample at time ``t`` is ``round(t * r)``, so the samples of a window do not depend on the pieces in which
they arrived. The first windows are shorter than the full length: they begin with the signal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.errors import EarmarkError, InputError, TooShortError, UsageError
from earmark.features.compute import ItemResult, compute_clip
from earmark.features.group import FeatureGroup
from earmark.features.table import FeatureTable

__all__ = ["Heard", "Windowing", "clip_table"]

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Windowing:
    """A window of ``window_s`` seconds every ``every_s`` seconds.

    Raises
    ------
    UsageError
        Either is not above 0.
    """

    every_s: float = 5.0
    window_s: float = 60.0

    def __post_init__(self) -> None:
        for name, value in (("every", self.every_s), ("window", self.window_s)):
            if not 0 < value < float("inf"):
                raise UsageError(f"--{name} is {value:g} s; expected a number of seconds above 0.")

    def end_s(self, number: int) -> float:
        """Where window ``number`` ends; they count from 0."""
        return round((number + 1) * self.every_s, 9)

    def bounds_s(self, end_s: float) -> tuple[float, float]:
        """Start and end of the window that ends at ``end_s``."""
        return max(0.0, round(end_s - self.window_s, 9)), end_s

    def middle_s(self, end_s: float) -> float:
        """The middle of that window: what its answer speaks of, on average."""
        start_s, end_s = self.bounds_s(end_s)
        return (start_s + end_s) / 2


class Heard:
    """The samples of a stream at one rate, addressed by their place in the stream.

    Pieces are kept as they came, so nothing is copied until a span is asked for. `forget` makes it a ring buffer.
    """

    def __init__(self) -> None:
        self.length = 0
        self._first = 0
        self._pieces: list[Samples] = []

    @property
    def n_kept(self) -> int:
        """Samples that are held now."""
        return self.length - self._first

    def append(self, piece: Samples) -> None:
        """Take the next samples in; they are not to be written to afterwards."""
        if len(piece):
            self._pieces.append(piece)
            self.length += len(piece)

    def span(self, start: int, stop: int) -> Samples:
        """Samples ``start`` to ``stop`` (exclusive); what lies behind the end is left out.

        Raises
        ------
        UsageError
            The start was forgotten.
        """
        if start < self._first:
            raise UsageError(f"sample {start} was forgotten; the first that is kept is {self._first}.")
        parts, position = [], self._first
        for piece in self._pieces:
            begin, end = max(start - position, 0), min(stop - position, len(piece))
            if begin < end:
                parts.append(piece[begin:end])
            position += len(piece)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def forget(self, before: int) -> None:
        """Drop the pieces that lie wholly before a sample."""
        n_gone = 0
        for piece in self._pieces:
            if self._first + len(piece) > before:
                break
            self._first += len(piece)
            n_gone += 1
        del self._pieces[:n_gone]


def clip_table(clips: Mapping[int, Clip], groups: Sequence[FeatureGroup], name: str) -> FeatureTable:
    """Features of one signal as a table of one row, computed as the engine does for a file.

    Parameters
    ----------
    clips : mapping of rate in Hz to Clip
        The same signal at each rate that a group asks for.
    groups : sequence of FeatureGroup
    name : str
        Id of the row.

    Raises
    ------
    TooShortError
        Every group that failed wants more signal.
    InputError
        A group failed otherwise; the message is the one of an item that is set aside in a batch.
    """
    result = ItemResult()
    for rate, clip in clips.items():
        compute_clip(clip, [group for group in groups if group.sample_rate == rate], result)
    if result.errors:
        raise _as_exception(result)
    vectors = [group for group in groups if group.kind == "vector"]
    values = np.concatenate([result.arrays[group.name] for group in vectors])
    columns = tuple(column for group in vectors for column in group.column_names)
    return FeatureTable((name,), columns, values[None, :])


def _as_exception(result: ItemResult) -> EarmarkError:
    other = [error for error in result.errors.values() if error.kind != TooShortError.__name__]
    if other:
        return InputError(other[0].message)
    return TooShortError(next(iter(result.errors.values())).message)
