"""The windows of a recording: 0-30 s, 15-45 s, 30-60 s ...; a short recording is one window.

A window begins every 15 s as long as the one before does not reach the end; the last may be shorter than 30 s. Where a
header misjudges the length of its file, the windows themselves tell: `settled` compares what they held with what was
planned.

Conventions: seconds from the start of the file; samples at 22 050 Hz. `LENGTH_SLACK` is what the rounding of samples
can make of a length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from earmark.audio.fragment import Span, fragment, split_fragment
from earmark.tasks.meter.schema import SAMPLE_RATE, WHOLE_S, WINDOW_HOP_S, WINDOW_S

__all__ = ["Layout", "planned", "settled"]

FULL = round(WINDOW_S * SAMPLE_RATE)
WHOLE = round(WHOLE_S * SAMPLE_RATE)


@dataclass(frozen=True)
class Layout:
    """The windows of one input.

    Parameters
    ----------
    uri : str
        As the user gave it, perhaps with a part of its own.
    n_windows : int
        0 if the input is one window as a whole.
    """

    uri: str
    n_windows: int = 0

    @property
    def uris(self) -> tuple[str, ...]:
        """An item per window."""
        if not self.n_windows:
            return (self.uri,)
        recording, part = split_fragment(self.uri)
        return tuple(fragment(recording, *_inside(part, start)) for start in self.starts_s)

    @property
    def starts_s(self) -> tuple[float, ...]:
        """Starts of the windows, from the start of the input."""
        return tuple(k * WINDOW_HOP_S for k in range(max(1, self.n_windows)))


def planned(uri: str, duration_s: float) -> Layout:
    """Windows of an input of about this length."""
    return Layout(uri, _n_windows(round(duration_s * SAMPLE_RATE)))


def settled(layout: Layout, lengths: Sequence[int | None]) -> Layout:
    """The layout that the true lengths of its windows ask for; the same one if it is right.

    Parameters
    ----------
    layout : Layout
    lengths : sequence of int or None
        Samples of each window; None where there was nothing to cut.
    """
    if not layout.n_windows:
        return Layout(layout.uri, _n_windows(lengths[0] or 0))
    hop = round(WINDOW_HOP_S * SAMPLE_RATE)
    held = [k for k, n in enumerate(lengths) if n and (k == 0 or n > hop)]
    last = max(held, default=0)
    n_last = lengths[last] or 0
    if last == len(lengths) - 1 and n_last == FULL and not _ends_with_part(layout):
        return Layout(layout.uri, layout.n_windows + 1)  # there may be more behind it
    return Layout(layout.uri, _n_windows(last * hop + n_last))


def _n_windows(n_samples: int) -> int:
    if n_samples <= WHOLE:
        return 0
    hop = round(WINDOW_HOP_S * SAMPLE_RATE)
    return 1 + -(-(n_samples - FULL) // hop)


def _inside(part: Span | None, start_s: float) -> tuple[float, float]:
    if part is None:
        return start_s, start_s + WINDOW_S
    return part.start_s + start_s, min(part.start_s + start_s + WINDOW_S, part.end_s)


def _ends_with_part(layout: Layout) -> bool:
    _, part = split_fragment(layout.uri)
    return part is not None and part.start_s + layout.starts_s[-1] + WINDOW_S >= part.end_s
