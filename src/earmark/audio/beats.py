"""Beat tracking by dynamic programming: the best chain of onsets at a nearly constant interval.

Conventions: everything in frames; scores in double precision.

Reference: D. Ellis, Beat tracking by dynamic programming, J. New Music Research 36(1), 2007.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


def track_beats(envelope: NDArray[np.float32], frames_per_beat: float, tightness: float) -> Int64:
    """Frames of the beats.

    Parameters
    ----------
    envelope : np.ndarray, shape (n_frames,)
        Onset strength, >= 0.
    frames_per_beat : float
        Whole number of frames, >= 1.
    tightness : float
        Weight of the squared log deviation from that interval.

    Returns
    -------
    np.ndarray, int64, shape (n_beats,)
        Ascending; empty if the envelope is constant.
    """
    from earmark.audio.beats_kernel import chain_scores, local_score

    spread = envelope.std(ddof=1) if len(envelope) > 1 else np.float32(0)
    if not spread > 0:
        return np.empty(0, dtype=np.int64)
    scaled = (envelope / (spread + np.finfo(np.float32).tiny)).astype(np.float64)
    score = local_score(scaled, frames_per_beat)
    backlink, total = chain_scores(score, frames_per_beat, tightness)
    return _trimmed(_backtracked(backlink, _last_beat(total)), score)


def _last_beat(total: Float64) -> int:
    """Last local maximum that reaches half the median local maximum; the last frame if there is none."""
    peak = np.zeros(len(total), dtype=bool)
    peak[1:-1] = (total[1:-1] > total[:-2]) & (total[1:-1] >= total[2:])
    peak[-1] = total[-1] > total[-2]
    places = np.flatnonzero(peak)
    if not len(places):
        return len(total) - 1
    enough = places[total[places] >= 0.5 * np.median(total[places])]
    return int(enough[-1]) if len(enough) else len(total) - 1


def _backtracked(backlink: Int64, tail: int) -> Int64:
    beats = []
    while tail >= 0:
        beats.append(tail)
        tail = int(backlink[tail])
    return np.array(beats[::-1], dtype=np.int64)


def _trimmed(beats: Int64, score: Float64) -> Int64:
    """Without the beats before and after all frames that exceed half the RMS of the smoothed beat scores."""
    smooth = np.convolve(score[beats], np.hanning(5))[2:]
    strong = np.flatnonzero(score > 0.5 * np.sqrt(np.mean(smooth**2)))
    if not len(strong):
        return np.empty(0, dtype=np.int64)
    kept: Int64 = beats[(beats >= strong[0]) & (beats <= strong[-1])]
    return kept
