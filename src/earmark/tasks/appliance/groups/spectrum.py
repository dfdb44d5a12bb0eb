"""Group ``appliance.spectrum``: third octaves and their spread, shape of the spectrum, flux, modulation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.modulation import modulation_shares
from earmark.audio.spectral_flux import mean_flux
from earmark.audio.spectral_shape import low_mid_ratio, spectral_shape
from earmark.audio.third_octaves import BANDS, band_levels_db, segment_band_levels_db
from earmark.audio.welch import welch_density
from earmark.features.group import feature_group
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["COLUMNS", "spectrum"]

COLUMNS = (
    *(f"third_octave_mean_{k}" for k in BANDS),
    *(f"third_octave_std_{k}" for k in BANDS),
    *("low_mid_ratio", "centroid", "bandwidth", "rolloff85", "flatness", "slope", "flux"),
    *("env_mod_1", "env_mod_2", "env_mod_3"),
)


@feature_group(
    "appliance.spectrum", columns=COLUMNS, sample_rate=SAMPLE_RATE, min_duration_s=1.0, lookahead_s=0.0
)
def spectrum(clip: Clip) -> NDArray[np.float64]:
    """Third-octave levels and their spread over the window, shape of the spectrum, flux, modulation.

    Shape (62,), in the order of `COLUMNS`.
    """
    density = clip.memo(welch_density)
    return np.concatenate(
        [
            clip.memo(band_levels_db),
            clip.memo(segment_band_levels_db).std(axis=0),
            [low_mid_ratio(density, np.arange(len(density), dtype=np.float64))],
            clip.memo(spectral_shape),
            [clip.memo(mean_flux)],
            clip.memo(modulation_shares),
        ]
    )
