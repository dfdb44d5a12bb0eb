"""What a recording usually sounds like, and how its windows differ from that.

The level and the colour of a room, a microphone or a background tell nothing of a machine that no training recording
held; what tells it is that some seconds differ from most others of the same recording. So a model may read each column
once more, less a reference of the recording:

============== ========================================================================================================
`OfRecordings` the median over all windows of the recording: training, `predict`, `evaluate`. It knows the whole
               recording, later windows too
`SoFar`        the median of the windows until then: `stream` and `live`. Causal; the first window is its own reference
============== ========================================================================================================

A reference never mixes recordings, and reads no label. A machine that runs nearly all the time becomes what the
recording usually sounds like: a model keeps the columns as they are beside the relative ones.

Conventions: a relative column is named ``relative.<column>``, has the unit of its column, and is float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from earmark.errors import InputError
from earmark.features.table import FeatureTable

__all__ = ["LONGEST", "RELATIVE", "OfRecordings", "Reference", "SoFar"]

RELATIVE = "relative."
LONGEST = 3600
"""Windows that `SoFar` remembers, the last ones: an hour at a hop of a second, so that live needs 2 MB however long."""

Floats = npt.NDArray[np.float32]


class Reference(Protocol):
    """Adds relative columns."""

    def over(self, table: FeatureTable) -> FeatureTable: ...


class OfRecordings:
    """The median over the windows of the same recording.

    Parameters
    ----------
    recordings : sequence of str
        Of each row that `over` is given.
    """

    def __init__(self, recordings: Sequence[str] | npt.NDArray[np.str_]) -> None:
        self._recordings = np.asarray(recordings)

    def over(self, table: FeatureTable) -> FeatureTable:
        """The table with relative columns; raises InputError unless there is a recording for each row."""
        if len(table) != len(self._recordings):
            raise InputError(
                f"{len(table)} windows and the recordings of {len(self._recordings)}; expected one for each window."
            )
        usual = np.empty_like(table.values)
        for name in np.unique(self._recordings):
            rows = self._recordings == name
            usual[rows] = np.median(table.values[rows], axis=0)
        return _with_relative(table, usual)


class SoFar:
    """The median of the windows until then, of one recording or source; it remembers what it was given.

    Parameters
    ----------
    longest : int
        Windows that are remembered.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._heard: Floats = np.empty(
            (0, 0), dtype=np.float32
        )  # (n_columns, at least n_heard), in any order
        self._n_heard = 0

    def aside(self) -> SoFar:
        """Another one that heard the same: what it is given is not remembered here."""
        found = SoFar(self._longest)
        found._heard, found._n_heard = self._heard.copy(), self._n_heard
        return found

    def over(self, table: FeatureTable) -> FeatureTable:
        """The table with relative columns; its rows follow those of the calls before, in the order of time."""
        usual = np.empty_like(table.values)
        for row, values in enumerate(table.values):
            self._remember(values)
            usual[row] = np.median(self._heard[:, : min(self._n_heard, self._longest)], axis=1)
        return _with_relative(table, usual)

    def _remember(self, values: Floats) -> None:
        """In the place of the oldest, once there are as many as are remembered."""
        place = self._n_heard % self._longest
        if place >= self._heard.shape[1]:
            room = np.empty((len(values), min(self._longest, max(64, 2 * place))), dtype=np.float32)
            room[:, :place] = self._heard[:, :place] if place else 0
            self._heard = room
        self._heard[:, place] = values
        self._n_heard += 1


def _with_relative(table: FeatureTable, usual: Floats) -> FeatureTable:
    names = tuple(RELATIVE + name for name in table.columns)
    return replace(
        table, columns=(*table.columns, *names), values=np.hstack([table.values, table.values - usual])
    )
