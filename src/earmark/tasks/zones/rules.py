"""Zones by rule, without a model: soft conditions on the columns of the feature set ``basic19``.

Each zone has a few conditions on tempo (BPM), energy variance ((s/m)^2 of the frame RMS), brightness (share of
magnitude above 3 kHz), spectral centroid (Hz), drop intensity (0 to 1) and low energy (share of frames below the
mean). A zone's score is the mean of its conditions, see `earmark.inference.rules`; the best zone wins, and below
`THRESHOLD` there is no decision. The bounds are a DJ's rules of thumb, not fitted to any labels.

With the method ``rules-first`` the model is asked only where the best rule score is below `ENOUGH`.
"""

from __future__ import annotations

from earmark.inference.rules import RuleSet, above, below, between
from earmark.tasks.zones.labels import BPM_PURPLE_ABOVE, BPM_YELLOW_BELOW

__all__ = ["ENOUGH", "RULES", "THRESHOLD"]

THRESHOLD = 0.55
"""Best score below which a track is UNCERTAIN."""

ENOUGH = 0.7
"""Best score from which ``rules-first`` does not ask the model."""

_TEMPO_BPM = "zones.basic.tempo"
_ENERGY_VARIANCE = "zones.basic.energy_variance"
_BRIGHTNESS = "zones.basic.brightness"
_CENTROID_HZ = "zones.basic.spectral_centroid"
_DROP_INTENSITY = "zones.basic.drop_intensity"
_LOW_ENERGY = "zones.basic.low_energy"

RULES = RuleSet(
    {
        "YELLOW": (
            below(_TEMPO_BPM, BPM_YELLOW_BELOW),
            below(_ENERGY_VARIANCE, 0.15),
            below(_BRIGHTNESS, 0.20),
            below(_DROP_INTENSITY, 0.6),
            above(_LOW_ENERGY, 0.5),
        ),
        "GREEN": (
            between(_TEMPO_BPM, BPM_YELLOW_BELOW, BPM_PURPLE_ABOVE),
            between(_ENERGY_VARIANCE, 0.15, 0.40),
            below(_DROP_INTENSITY, 0.6),
            between(_CENTROID_HZ, 1500.0, 2500.0),
        ),
        "PURPLE": (
            above(_TEMPO_BPM, BPM_PURPLE_ABOVE),
            above(_ENERGY_VARIANCE, 0.40),
            above(_BRIGHTNESS, 0.20),
            above(_CENTROID_HZ, 2000.0),
            above(_DROP_INTENSITY, 0.6),
            below(_LOW_ENERGY, 0.5),
        ),
    },
    threshold=THRESHOLD,
)
"""Conditions per zone, in class order."""
