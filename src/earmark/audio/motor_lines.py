"""Harmonics of a motor over the noise around them, in a density of bins of 1 Hz.

Two views: lines at multiples of the mains frequency, known beforehand (a compressor hums at twice 50 or 60 Hz, a little
below if it is its shaft that is heard), and the best comb of any fundamental from 20 to 120 Hz (a shaft, a fan's
blades). Both are differences of dB, so the level of the clip cancels as long as it is above the floor of 1e-12 per Hz.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.welch import density_db, power_db, welch_density

__all__ = ["COMB_F0_HZ", "MAINS_HZ", "N_MAINS_HARMONICS", "Comb", "comb", "mains_lines_db"]

Float64 = NDArray[np.float64]

MAINS_HZ = (50, 60)
N_MAINS_HARMONICS = 16
LINE_HZ = np.arange(-1, 2)  # around a harmonic: the line itself
BESIDE_HZ = np.concatenate([np.arange(-12, -3), np.arange(4, 13)])  # and the noise it stands over

COMB_F0_HZ = np.arange(40, 241) / 2.0  # exact halves
N_COMB_HARMONICS = 10
COMB_TOP_HZ = 2000.0
MEDIAN_HZ = 41  # width of the running median that whitens


class Comb(NamedTuple):
    """The strongest comb: mean height of its teeth, its fundamental, and how far it stands over the median comb."""

    height_db: float
    f0_hz: float
    contrast_db: float


def mains_lines_db(clip: Clip, mains_hz: int) -> Float64:
    """Height of harmonics 1 to 16 of the mains over the noise beside them, dB, shape (16,).

    The line is the mean density within 1 Hz of the harmonic, the noise the median 4 to 12 Hz to either side.
    """
    density = clip.memo(welch_density)
    harmonics_hz = mains_hz * np.arange(1, N_MAINS_HARMONICS + 1)[:, None]
    line = density[harmonics_hz + LINE_HZ].mean(axis=1)
    beside = np.median(density[harmonics_hz + BESIDE_HZ], axis=1)
    return np.asarray(power_db(line) - power_db(beside))


def comb(clip: Clip) -> Comb:
    """The fundamental, of 20 to 120 Hz in steps of 0.5 Hz, whose ten harmonics stand highest over the noise.

    The density's dB less their running median over 41 Hz are read at the harmonics, linearly between bins; of equal
    fundamentals the lowest counts.
    """
    bins, upper_share, counts = _teeth()
    whitened_db = _whitened_db(clip.memo(density_db), int(bins.max()) + 2)
    read_db = whitened_db[bins] * (1.0 - upper_share) + whitened_db[bins + 1] * upper_share
    heights_db = np.where(counts, read_db, 0.0).sum(axis=1) / counts.sum(axis=1)
    best = int(np.argmax(heights_db))
    height_db = float(heights_db[best])
    return Comb(height_db, float(COMB_F0_HZ[best]), height_db - float(np.median(heights_db)))


def _whitened_db(level_db: Float64, n_bins: int) -> Float64:
    """dB less their running median, for bins 0 to ``n_bins`` - 1; below 20 Hz, where no median fits, NaN."""
    from scipy.ndimage import median_filter

    half = MEDIAN_HZ // 2
    around = level_db[: n_bins + half]
    whitened: Float64 = around[:n_bins] - median_filter(around, MEDIAN_HZ)[:n_bins]
    whitened[:half] = np.nan
    return whitened


@lru_cache(maxsize=1)
def _teeth() -> tuple[NDArray[np.int64], Float64, NDArray[np.bool_]]:
    """Bin below each tooth, share of the bin above, and whether it counts; each of shape (201, 10)."""
    teeth_hz = COMB_F0_HZ[:, None] * np.arange(1, N_COMB_HARMONICS + 1)
    bins = np.floor(teeth_hz).astype(np.int64)
    return bins, teeth_hz - bins, teeth_hz <= COMB_TOP_HZ
