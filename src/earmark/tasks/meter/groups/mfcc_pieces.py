"""Group ``meter.mfcc_pieces``: how a clip sounds in ten pieces of 3 s, for the control of a shortcut and no model.

Conventions: cepstral coefficients 1 to 13 of the raw clip (the front end is one of rhythm), averaged over a piece;
pieces lie evenly over the clip; a clip of less than 3 s is one piece, and pieces that would repeat are NaN.

Reference: a piece of 3 s holds barely one bar, so that what a model of them knows is how meters tend to sound; as in
M. A. Abimbola, D. Kostrzewa, P. Kasprowski, EURASIP Journal on Audio, Speech, and Music Processing 2024, 42.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.mel import mfcc
from earmark.features.group import feature_group
from earmark.tasks.meter.schema import FRAMES_PER_S, SAMPLE_RATE

__all__ = ["MFCC_PIECES", "N_MFCC", "N_PIECES"]

N_PIECES, N_MFCC, PIECE_S = 10, 13, 3.0


@feature_group(
    "meter.mfcc_pieces",
    columns=tuple(f"p{piece}_{i:02d}" for piece in range(N_PIECES) for i in range(1, N_MFCC + 1)),
    sample_rate=SAMPLE_RATE,
    allow_nan=True,
)
def MFCC_PIECES(clip: Clip) -> NDArray[np.float32]:  # noqa: N802  a group is a constant
    """Means of the coefficients over each piece, piece by piece."""
    frames = clip.memo(mfcc)[:, 1 : N_MFCC + 1]
    length = min(round(PIECE_S * FRAMES_PER_S), len(frames))
    n_pieces = min(N_PIECES, max(1, len(frames) // length))
    starts = np.linspace(0, len(frames) - length, n_pieces).round().astype(int)
    pieces = np.full((N_PIECES, N_MFCC), np.nan, dtype=np.float32)
    for piece, start in enumerate(starts):
        pieces[piece] = frames[start : start + length].mean(axis=0)
    return pieces.ravel()
