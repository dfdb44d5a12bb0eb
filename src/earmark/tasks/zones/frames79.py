"""The frame table of 79 columns: `frames38` with finer timbre and harmony, one row per half second.

Three groups stand beside those of `earmark.tasks.zones.frames` and share its conventions; nothing of the 38
columns is computed again. Cepstral coefficients 6 to 13 continue ``zones.frames_spectrum.mfcc_1`` to ``5``.

==========================  =========================================  ===========================
group                       columns                                    reference
==========================  =========================================  ===========================
zones.frames_cepstrum       mfcc_6 .. mfcc_13 and their deltas         log mel, 0 to 11 025 Hz
zones.frames_tonal          chroma_1 .. 12 (C first), tonnetz_1 .. 6   at the track's own tuning
zones.frames_contrast       spectral_contrast_1 .. 7                   octaves from 200 Hz
==========================  =========================================  ===========================

Look-ahead: all columns are relative to the whole track, its loudest frame or its tuning. The contrast is, too:
peaks and valleys count as at most 80 dB below the highest of the track.
"""

from __future__ import annotations

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.descriptors import N_CONTRAST_BANDS, spectral_descriptors
from earmark.audio.mel import mfcc
from earmark.audio.tonal import chroma, tonnetz
from earmark.features import FeatureGroup, feature_group
from earmark.tasks.zones.frames import (
    FRAME_S,
    FRAMES38_COLUMNS,
    FRAMES38_GROUPS,
    MIN_DURATION_S,
    N_CEPSTRAL,
    SAMPLE_RATE,
    frame_means,
    frames38,
)
from earmark.tasks.zones.statistics import NDROP2_COLUMNS, agg8, agg8_columns, first_difference, ndrop2

__all__ = [
    "ADDED_COLUMNS",
    "FRAMES79_COLUMNS",
    "FRAMES79_GROUPS",
    "TONAL_COLUMNS",
    "added_frames",
    "added_statistics",
    "cepstrum_frames",
    "contrast_frames",
    "frames_cepstrum",
    "frames_contrast",
    "frames_tonal",
    "tonal_frames",
]

COEFFICIENTS = range(6, 14)
CEPSTRUM_COLUMNS = (*(f"mfcc_{k}" for k in COEFFICIENTS), *(f"mfcc_{k}_delta" for k in COEFFICIENTS))
TONAL_COLUMNS = (*(f"chroma_{k}" for k in range(1, 13)), *(f"tonnetz_{k}" for k in range(1, 7)))
CONTRAST_COLUMNS = tuple(f"spectral_contrast_{k}" for k in range(1, 1 + N_CONTRAST_BANDS))


@feature_group(
    "zones.frames_cepstrum",
    columns=CEPSTRUM_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
)
def frames_cepstrum(clip: Clip) -> np.ndarray:
    """Cepstral coefficients 6 to 13 and their changes: the finer shape of the spectrum."""
    return clip.memo(cepstrum_frames)


@feature_group(
    "zones.frames_tonal",
    columns=TONAL_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
)
def frames_tonal(clip: Clip) -> np.ndarray:
    """Energy of the twelve pitch classes, and the tonal centroid: fifths, minor and major thirds."""
    return clip.memo(tonal_frames)


@feature_group(
    "zones.frames_contrast",
    columns=CONTRAST_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
)
def frames_contrast(clip: Clip) -> np.ndarray:
    """Peak over valley in dB of 0 to 200 Hz, of five octaves from there, and of the rest."""
    return clip.memo(contrast_frames)


FRAMES79_GROUPS: tuple[FeatureGroup, ...] = (
    *FRAMES38_GROUPS,
    frames_cepstrum,
    frames_tonal,
    frames_contrast,
)
ADDED_COLUMNS = (*CEPSTRUM_COLUMNS, *TONAL_COLUMNS, *CONTRAST_COLUMNS)
FRAMES79_COLUMNS = (*FRAMES38_COLUMNS, *ADDED_COLUMNS)


@feature_group(
    "zones.frames79_agg8",
    columns=(*agg8_columns(ADDED_COLUMNS), *NDROP2_COLUMNS),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def added_statistics(clip: Clip) -> np.ndarray:
    """Eight statistics over time of the 41 columns beyond frames38, and ratios of change; beside frames38_agg8."""
    added = clip.memo(added_frames)
    table = np.column_stack([clip.memo(frames38), added])
    column = dict(zip(FRAMES79_COLUMNS, table.T, strict=True))
    return np.concatenate([agg8(added), ndrop2(column)])


def added_frames(clip: Clip) -> np.ndarray:
    """Values of the three groups side by side, shape (n_frames, 41)."""
    return np.column_stack([clip.memo(cepstrum_frames), clip.memo(tonal_frames), clip.memo(contrast_frames)])


def cepstrum_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_cepstrum``, shape (n_frames, 16)."""
    chosen = clip.memo(mfcc, n_mfcc=N_CEPSTRAL)[:, COEFFICIENTS.start : COEFFICIENTS.stop]
    coefficients = frame_means(clip, chosen)
    return np.column_stack([coefficients, first_difference(coefficients)])


def tonal_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_tonal``, shape (n_frames, 18)."""
    return frame_means(clip, np.column_stack([clip.memo(chroma), clip.memo(tonnetz)]))


def contrast_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_contrast``, shape (n_frames, 7)."""
    return frame_means(clip, clip.memo(spectral_descriptors).contrast_db)
