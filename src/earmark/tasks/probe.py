"""A generated clip on which features are computed to compare code with code.

`train` stores the features of the probe in the run. `predict` computes them again whenever the feature code is not the
one of the training, and refuses when they differ: a model must not be asked about numbers that mean something else now.
The look-ahead check uses the same clip.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from earmark.audio.clip import Clip
from earmark.errors import RunError
from earmark.features.sets import FeatureSet

__all__ = ["PROBE_S", "feature_probe", "probe", "require_same_features"]

PROBE_S = 20.0
RELATIVE_TOLERANCE = 1e-3
"""Libraries of other versions and processors of other makes agree on features this well."""


def probe(sample_rate: int, duration_s: float = PROBE_S, seed: int = 0) -> Clip:
    """Noise bursts over a chord whose level and pitch drift: every common feature varies along it.

    Parameters
    ----------
    sample_rate : int
        Hz.
    duration_s : float
    seed : int
        Of the noise.
    """
    generator = np.random.default_rng(seed)
    time_s = np.arange(int(duration_s * sample_rate)) / sample_rate
    drift = 1 + 0.3 * np.sin(2 * np.pi * time_s / 7.3)
    chord = np.sum(
        [np.sin(2 * np.pi * note_hz * time_s * drift) for note_hz in (110.0, 164.8, 277.2)], axis=0
    )
    bursts = generator.normal(0, 1, time_s.size) * np.exp(-12 * ((time_s * 2.1) % 1.0))
    samples = (0.1 * chord + 0.4 * bursts) * np.linspace(0.3, 1.0, time_s.size)
    return Clip(samples.astype(np.float32), sample_rate, "generated probe")


def feature_probe(features: FeatureSet) -> dict[str, float]:
    """Every selected column of a feature set on the probe."""
    values: dict[str, float] = {}
    for rate in sorted({group.sample_rate for group in features.groups}):
        groups = [group for group in features.groups if group.sample_rate == rate and group.kind == "vector"]
        clip = probe(rate, max([PROBE_S, *(2 * group.min_duration_s for group in groups)]))
        for group in groups:
            values |= zip(group.column_names, map(float, group(clip)), strict=True)
    return {name: values[name] for name in features.columns}


def require_same_features(run: str, features: FeatureSet, trained: Mapping[str, float]) -> None:
    """Raise unless the code of now gives the probe the values that it had in the training.

    Raises
    ------
    RunError
        Naming the columns that differ.
    """
    if not trained:
        raise RunError(
            f"`{run}` says nothing of the features it was trained with, and their code has changed. Train again."
        )
    now = feature_probe(features)
    moved = [name for name, value in trained.items() if name not in now or not _agree(value, now[name])]
    if moved:
        shown = ", ".join(
            f"{name} ({trained[name]:.4g}, now {now.get(name, float('nan')):.4g})" for name in moved[:3]
        )
        raise RunError(
            f"the feature code has changed since `{run}` was trained: {len(moved)} of {len(trained)} columns of a "
            f"probe differ, such as {shown}. A model cannot be asked about other numbers than it learned. Train again, "
            "or see `earmark cache why`."
        )


def _agree(before: float, now: float) -> bool:
    return abs(now - before) <= RELATIVE_TOLERANCE * max(abs(before), abs(now), 1e-3)
