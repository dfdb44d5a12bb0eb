"""Prove that frame features do not see further ahead than they say, by taking the future away.

A frame ends at ``t_end``; its value may depend on the signal up to ``t_end + lookahead_s``. The check computes a group
on the whole clip and on the clip cut at several times, and compares every frame whose allowed span lies before the
cut. The idea is that of a look-ahead analysis of trading strategies: do not read the code, truncate its data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.audio.clip import Clip
from earmark.features.group import FeatureGroup

__all__ = ["LookaheadRow", "check_lookahead"]

# Cuts that are no multiples of common frame lengths, so that boundary frames are tested too.
CUTS = (0.31, 0.47, 0.62, 0.78, 0.93)
RELATIVE_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class LookaheadRow:
    """What was found for one column: seconds declared, seconds seen, and whether the declaration holds."""

    column: str
    declared_s: float
    observed_s: float

    @property
    def ok(self) -> bool:
        """Whether no frame changed when signal beyond its declared look-ahead was taken away."""
        return self.observed_s <= self.declared_s


def check_lookahead(group: FeatureGroup, clip: Clip, cuts: Sequence[float] = CUTS) -> list[LookaheadRow]:
    """Compare a ``frames`` group on a clip and on its beginnings.

    Parameters
    ----------
    group : FeatureGroup
        Of kind ``frames``.
    clip : Clip
        Material on which every column varies; some ten seconds are enough.
    cuts : sequence of float
        Where to cut, as shares of the clip's length.

    Returns
    -------
    list of LookaheadRow
        One per column; ``observed_s`` is the largest distance between a frame's end and a cut behind it at which
        the frame still changed, 0 if none did.
    """
    assert group.frame_s is not None
    whole = group(clip)
    observed = np.zeros(len(group.columns))
    for cut in cuts:
        n_samples = int(clip.samples.size * cut)
        part = group(Clip(clip.samples[:n_samples], clip.sample_rate, clip.uri))
        np.maximum(observed, _reach(whole, part, n_samples / clip.sample_rate, group.frame_s), out=observed)
    return [
        LookaheadRow(f"{group.name}.{column}", _declared(group.lookahead_s, column), float(seen))
        for column, seen in zip(group.columns, observed, strict=True)
    ]


def _reach(whole: np.ndarray, part: np.ndarray, cut_s: float, frame_s: float) -> np.ndarray:
    """Per column, the longest distance in seconds from the end of a changed frame to the cut."""
    complete = min(int(cut_s / frame_s + 1e-9), len(part), len(whole))
    scale = np.abs(whole).max(axis=0) + np.finfo(np.float32).tiny
    changed = np.abs(whole[:complete] - part[:complete]) > RELATIVE_TOLERANCE * scale
    slack_s = cut_s - frame_s * np.arange(1, complete + 1)
    # Signal that starts just behind the frame counts as seen ahead even when the cut is at the frame's end.
    reach: np.ndarray = np.where(changed, np.maximum(slack_s, np.finfo(np.float32).eps)[:, None], 0.0).max(
        axis=0, initial=0.0
    )
    return reach


def _declared(lookahead_s: float | Mapping[str, float], column: str) -> float:
    if isinstance(lookahead_s, Mapping):
        return float(lookahead_s.get(column, 0.0))
    return float(lookahead_s)
