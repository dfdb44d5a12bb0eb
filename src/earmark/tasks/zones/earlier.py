"""Feature tables of the earlier program: what its vectors hold, and what of it can be computed again.

A vector of 10 numbers is the fast set, one of 51 or 55 the full one, in the order of the names below. Columns whose
formula has changed since cannot be compared; `COMPARABLE` names the others and the column of today that holds the same
number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["COLUMNS_BY_LENGTH", "COMPARABLE"]

_FAST: Final = (
    "tempo",
    "tempo_confidence",
    "rms_energy",
    "energy_variance",
    "spectral_centroid",
    "spectral_rolloff",
    "brightness",
    "zero_crossing_rate",
    "drop_intensity",
    "low_energy",
)
_CEPSTRAL: Final = tuple(f"mfcc_{k}_{statistic}" for k in range(1, 6) for statistic in ("mean", "std"))
_CONTRAST: Final = tuple(
    f"spectral_contrast_{statistic}_{band}" for statistic in ("mean", "std") for band in range(7)
)
_FULL_HEAD: Final = (
    "tempo",
    "zero_crossing_rate",
    "low_energy",
    "rms_energy",
    "spectral_rolloff",
    "brightness",
    "spectral_centroid",
    *_CEPSTRAL,
    "energy_variance",
    "drop_strength",
    "arousal",
    "valence",
    "onset_strength_mean",
    "onset_strength_std",
    "beat_strength",
    "tempo_stability",
    *_CONTRAST,
    "harmonic_ratio",
    "percussive_ratio",
    "energy_slope",
    "energy_buildup_ratio",
    "onset_acceleration",
    "drop_frequency",
    "peak_energy_ratio",
)
_FULL_DROPS: Final = ("drop_contrast_mean", "drop_contrast_max", "drop_count", "drop_intensity")
_FULL_TAIL: Final = (
    "rhythmic_regularity",
    "harmonic_complexity",
    "has_climax",
    "climax_position",
    "dynamic_range",
)

COLUMNS_BY_LENGTH: Final[Mapping[int, tuple[str, ...]]] = {
    10: _FAST,
    51: (*_FULL_HEAD, *_FULL_TAIL),
    55: (*_FULL_HEAD, *_FULL_DROPS, *_FULL_TAIL),
}
"""Length of a vector -> names of its numbers, in order."""

COMPARABLE: Final[Mapping[str, str]] = {
    "zero_crossing_rate": "zones.spectrum.zero_crossing_rate",
    "spectral_centroid": "zones.spectrum.spectral_centroid",
    "low_energy": "zones.dynamics.low_energy",
    "rms_energy": "zones.dynamics.rms_energy",
    "energy_buildup_ratio": "zones.dynamics.energy_buildup_ratio",
    "peak_energy_ratio": "zones.dynamics.peak_energy_ratio",
    **{name: f"zones.timbre.{name}" for name in _CEPSTRAL},
    **{name: f"zones.contrast.{name}" for name in _CONTRAST},
}
"""Earlier name -> column of today with the same formula."""
