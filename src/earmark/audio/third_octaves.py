"""Third-octave band levels: the scale on which machines in rooms are measured.

Conventions: base-ten bands of IEC 61260-1, centres ``1000 * 10^(k/10)`` Hz and edges ``10^-0.05`` and ``10^0.05`` times
that, k = -17 ... 8 (20 Hz to 6.3 kHz). A bin of 1 Hz belongs to the band its frequency lies in, so no power counts
twice and none between two bands is lost. Levels are dB re full scale squared.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.welch import power_db, segment_densities, welch_density
from earmark.errors import UsageError

__all__ = ["BANDS", "band_centres_hz", "band_levels_db", "segment_band_levels_db"]

Float64 = NDArray[np.float64]

BANDS = range(-17, 9)
"""Numbers k of the bands; 0 is 1 kHz."""


def band_centres_hz() -> Float64:
    """Exact centres, Hz, shape (26,)."""
    return np.asarray(1000.0 * 10.0 ** (np.array(BANDS) / 10.0))


def band_levels_db(clip: Clip) -> Float64:
    """Level of each band over the whole clip, dB, shape (26,)."""
    return power_db(_band_powers(clip.memo(welch_density)))


def segment_band_levels_db(clip: Clip) -> Float64:
    """Level of each band in each second, half a second apart, dB, shape (n_segments, 26)."""
    return power_db(_band_powers(clip.memo(segment_densities)))


def _band_powers(density: Float64) -> Float64:
    """Sums of bins of 1 Hz over the bands, shape (..., 26)."""
    edges = _edge_bins()
    if edges[-1] > density.shape[-1]:
        raise UsageError(
            f"The spectrum ends at {density.shape[-1] - 1} Hz; the third octaves reach to {edges[-1] - 1} Hz. "
            "Decode at 16000 Hz or more."
        )
    sums = np.add.reduceat(density[..., : edges[-1]], edges[:-1], axis=-1)
    return np.asarray(sums)


@lru_cache(maxsize=1)
def _edge_bins() -> NDArray[np.int64]:
    """First bin of each band and, last, the first bin above them all, shape (27,)."""
    numbers = np.arange(BANDS.start, BANDS.stop + 1)
    return np.asarray(np.ceil(1000.0 * 10.0 ** ((numbers - 0.5) / 10.0)), dtype=np.int64)
