"""Beats as text: a line per beat with its time and its number in the bar, as annotations of beats are exchanged.

Form: UTF-8, tab between seconds (three decimals) and number, ``1`` at the downbeat, ``0`` where no bars were heard; no
header. Sonic Visualiser, Audacity and mir_eval read it.
"""

from __future__ import annotations

import numpy as np

from earmark.errors import InputError
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["beats_text", "read_beats"]


def beats_text(beats: Beats) -> str:
    """The lines of a file."""
    return "".join(
        f"{time:.3f}\t{position}\n" for time, position in zip(beats.times_s, beats.positions, strict=True)
    )


def read_beats(text: str) -> Beats:
    """Beats of such lines; every strength is 1.

    Raises
    ------
    InputError
        A line is no time and number, or times do not ascend.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            time, position = line.split("\t")
            rows.append((float(time), int(position)))
        except ValueError:
            raise InputError(
                f"line {number} is {line!r}; expected a time in seconds, a tab and a number. Correct it."
            ) from None
    times_s = np.array([time for time, _ in rows])
    if (np.diff(times_s) <= 0).any():
        raise InputError("the times of the beats do not ascend; expected them in order. Sort the lines.")
    positions = np.array([position for _, position in rows], dtype=np.int64)
    return Beats(times_s, positions, np.ones(len(rows), dtype=np.float32))
