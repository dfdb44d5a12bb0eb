"""A track as a picture of three layers, 128 x 512, for networks that look at pictures.

=====  ==============================================================================================
layer  what it shows
=====  ==============================================================================================
0      mel spectrum in dB (128 bands, 20 to 8000 Hz), from 0 for the softest to 1 for the loudest
1      level, over the highest of the track; the same in all bands
2      where a drop may be: 1 at drop candidates, else half the build-up score, at most 1; likewise
=====  ==============================================================================================

A track of any length becomes 512 columns: equal parts of it, each the mean of its spectra, so that one column is
about half a second of a usual track. A part shorter than one spectrum repeats the nearest. As layers 1 and 2 are
the same in every band, the group stores 130 numbers for each part; `picture` lays them out.

Look-ahead: the whole track, as every layer is scaled by it.
"""

from __future__ import annotations

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.mel import power_to_db
from earmark.features import feature_group
from earmark.tasks.zones.frames import DROP_COLUMNS, MIN_DURATION_S, SAMPLE_RATE, drop_frames
from earmark.tasks.zones.frames90 import N_MELS, spectral_shape

__all__ = ["MEL3_COLUMNS", "N_PARTS", "mel3", "picture"]

N_PARTS = 512
MEL3_COLUMNS = (*(f"mel_{k}" for k in range(1, 1 + N_MELS)), "level", "drop_mask")


@feature_group(
    "zones.mel3",
    columns=MEL3_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="embedding",
    min_duration_s=MIN_DURATION_S,
)
def mel3(clip: Clip) -> np.ndarray:
    """Mel spectrum, level and drop mask of 512 equal parts of a track, each from 0 to 1."""
    power = clip.memo(spectral_shape).mel_power
    mel_db = power_to_db(power)
    softest, span = float(mel_db.min()), float(np.ptp(mel_db))
    level = np.sqrt(power.mean(axis=1, dtype=np.float64))
    columns = np.column_stack(
        [
            _part_means((mel_db - softest) / span if span > 0 else np.zeros_like(mel_db)),
            _part_means((level / level.max() if level.max() > 0 else level)[:, None]),
        ]
    )
    return np.column_stack([columns, _drop_mask(clip)])


def picture(parts: np.ndarray) -> np.ndarray:
    """The three layers from the values of the group.

    Parameters
    ----------
    parts : ndarray, shape (512, 130)

    Returns
    -------
    ndarray, shape (3, 128, 512)
        Bands upwards from the lowest, time to the right.
    """
    mel, level, mask = parts[:, :N_MELS].T, parts[:, N_MELS], parts[:, N_MELS + 1]
    return np.stack([mel, np.broadcast_to(level, mel.shape), np.broadcast_to(mask, mel.shape)])


def _drop_mask(clip: Clip) -> np.ndarray:
    """Candidates and half the build-up score of the half second in which each part has its centre, 0 to 1."""
    column = dict(zip(DROP_COLUMNS, clip.memo(drop_frames).T, strict=True))
    mask = np.clip(column["drop_candidate"] + 0.5 * column["energy_buildup_score"], 0.0, 1.0)
    return np.asarray(mask[(2 * np.arange(N_PARTS) + 1) * len(mask) // (2 * N_PARTS)])


def _part_means(values: np.ndarray) -> np.ndarray:
    """Means of 512 equal parts of the rows, shape (512, n_columns)."""
    edges = np.arange(N_PARTS + 1) * len(values) // N_PARTS
    # Where a part is empty, reduceat gives the row at its start.
    sums = np.add.reduceat(values, edges[:-1], axis=0, dtype=np.float64)
    return np.asarray(sums / np.maximum(np.diff(edges), 1)[:, None])
