"""What the intervals of beats and bars say: tempo and beats per bar.

Conventions: seconds; BPM; a spacing is the number of beats from one downbeat to the next.
"""

from __future__ import annotations

import numpy as np

from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["SPACINGS", "beat_interval_s", "beats_bpm", "modal_spacing", "spacing_shares"]

SPACINGS = range(2, 13)


def beat_interval_s(beats: Beats) -> float:
    """Median inter-beat interval; 0 without any."""
    intervals = beats.intervals_s
    return float(np.median(intervals)) if len(intervals) else 0.0


def beats_bpm(beats: Beats) -> float:
    """Tempo of the median interval; 0 without any."""
    interval_s = beat_interval_s(beats)
    return 60.0 / interval_s if interval_s else 0.0


def spacing_shares(beats: Beats) -> dict[int, float]:
    """Share of the spacings that equal 2, ..., 12 beats; all 0 with fewer than two downbeats."""
    spacings = beats.downbeat_spacings
    n = max(len(spacings), 1)
    return {n_beats: float(np.count_nonzero(spacings == n_beats)) / n for n_beats in SPACINGS}


def modal_spacing(beats: Beats) -> int | None:
    """The most frequent spacing, the shortest of equals; None with fewer than two downbeats."""
    spacings = beats.downbeat_spacings
    if not len(spacings):
        return None
    values, counts = np.unique(spacings, return_counts=True)
    return int(values[np.argmax(counts)])
