"""Whether beats divide into two or into three: simple against compound meters.

Conventions: seconds; phase of an onset is its place in its beat, 0 at the beat and 1 at the next. Onsets within
`TOLERANCE` of a beat are the beat's own, the others are inner onsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Division", "division"]

TOLERANCE = 0.15
"""Of a beat: how far an onset may lie from its place."""
MEDIAN_INNER = (1.5, 3.5)
MAX_VARIATION = 0.4
MIN_THIRDS = 0.4


@dataclass(frozen=True)
class Division:
    """What the inner onsets say.

    Parameters
    ----------
    inner_median : float
        Median number of inner onsets per beat.
    inner_variation : float
        Standard deviation of that number divided by its mean; 0 without inner onsets.
    thirds_share : float
        Of the beats with two inner onsets, the share that has them at 1/3 and 2/3; 0 without such beats.
    """

    inner_median: float
    inner_variation: float
    thirds_share: float

    @property
    def is_compound(self) -> bool:
        """Whether beats divide into three."""
        return (
            MEDIAN_INNER[0] <= self.inner_median <= MEDIAN_INNER[1]
            and self.inner_variation <= MAX_VARIATION
            and self.thirds_share >= MIN_THIRDS
        )

    @property
    def name(self) -> str:
        """``compound`` or ``simple``."""
        return "compound" if self.is_compound else "simple"


def division(beat_times_s: NDArray[np.float64], onset_times_s: NDArray[np.float64]) -> Division:
    """Division of the beats by the onsets between them; simple with fewer than two beats.

    Parameters
    ----------
    beat_times_s, onset_times_s : np.ndarray, shape (n_beats,), (n_onsets,)
        Seconds, ascending.
    """
    n_intervals = len(beat_times_s) - 1
    if n_intervals < 1:
        return Division(0.0, 0.0, 0.0)
    beat, phase = _places(beat_times_s, onset_times_s)
    counts = np.bincount(beat, minlength=n_intervals)
    mean = counts.mean()
    return Division(
        inner_median=float(np.median(counts)),
        inner_variation=float(counts.std() / mean) if mean else 0.0,
        thirds_share=_thirds_share(phase, beat, counts),
    )


def _places(
    beat_times_s: NDArray[np.float64], onset_times_s: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Beat and phase of each inner onset."""
    onsets = onset_times_s[(onset_times_s >= beat_times_s[0]) & (onset_times_s < beat_times_s[-1])]
    beat = np.searchsorted(beat_times_s, onsets, side="right") - 1
    phase = (onsets - beat_times_s[beat]) / np.diff(beat_times_s)[beat]
    inner = (phase > TOLERANCE) & (phase < 1 - TOLERANCE)
    return beat[inner], phase[inner]


def _thirds_share(phase: NDArray[np.float64], beat: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    pairs = phase[counts[beat] == 2].reshape(-1, 2)
    if not len(pairs):
        return 0.0
    return float(np.mean((np.abs(pairs - (1 / 3, 2 / 3)) <= TOLERANCE).all(axis=1)))
