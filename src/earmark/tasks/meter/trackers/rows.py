"""Beats as arrays and as the rows of a tracker's group.

Conventions: times in seconds from the start of the clip, ascending; a position counts the beats of the bar from 1 at
the downbeat, 0 where the tracker knows no bars; strength is 0 to 1. Rows are float32, so times are exact to 2 us within
the 30 s of a window, and every reader sees those of the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.schema import BEAT_COLUMNS

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S = 0.1, 3.0
"""What counts as an interval between beats; the rest are gaps and doubled beats."""


@dataclass(frozen=True)
class Beats:
    """The beats of one clip as a tracker heard them.

    Attributes
    ----------
    times_s : np.ndarray, float64, shape (n_beats,)
        Ascending.
    positions : np.ndarray, int64, shape (n_beats,)
        Number of the beat in its bar, 1 at the downbeat; 0 without bars.
    strengths : np.ndarray, float32, shape (n_beats,)
        0 to 1.
    """

    times_s: Float64
    positions: Int64
    strengths: NDArray[np.float32]

    @classmethod
    def none(cls) -> Beats:
        """What an absent tracker hears."""
        return cls(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    @classmethod
    def of_rows(cls, rows: NDArray[np.float32]) -> Beats:
        """From rows of `BEAT_COLUMNS`."""
        time, position, strength = (rows[:, i] for i in range(len(BEAT_COLUMNS)))
        return cls(time.astype(np.float64), np.rint(position).astype(np.int64), strength.astype(np.float32))

    @property
    def rows(self) -> NDArray[np.float32]:
        """Rows of `BEAT_COLUMNS`, shape (n_beats, 3)."""
        return np.stack([self.times_s, self.positions, self.strengths], axis=1).astype(np.float32)

    @property
    def downbeat_times_s(self) -> Float64:
        """Times of the first beats of bars."""
        downbeats: Float64 = self.times_s[self.positions == 1]
        return downbeats

    @property
    def intervals_s(self) -> Float64:
        """Inter-beat intervals between 0.1 and 3 s."""
        intervals: Float64 = np.diff(self.times_s)
        return intervals[(intervals >= SHORTEST_INTERVAL_S) & (intervals <= LONGEST_INTERVAL_S)]

    @property
    def downbeat_spacings(self) -> Int64:
        """Beats from each downbeat to the next; empty with fewer than two."""
        spacings: Int64 = np.diff(np.flatnonzero(self.positions == 1))
        return spacings

    def __len__(self) -> int:
        return len(self.times_s)
