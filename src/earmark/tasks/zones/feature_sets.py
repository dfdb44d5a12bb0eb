"""Named feature sets of the zones task: selections over its groups, so that several sets cost one extraction.

The sets `full55` and `full51` have 53 and 49 columns here: arousal and valence need an emotion model, none
is shipped, and a column that could not be computed is absent, not 0.
"""

from __future__ import annotations

from earmark.features import FeatureGroup, FeatureSet
from earmark.tasks.zones import frames as frame_groups
from earmark.tasks.zones.features import (
    N_CONTRAST,
    balance,
    basic,
    common,
    contrast,
    drops,
    drops13,
    dynamics,
    fast,
    harmony,
    rhythm,
    spectrum,
    timbre,
    track_statistics,
)
from earmark.tasks.zones.frames import FRAMES38_GROUPS
from earmark.tasks.zones.frames79 import FRAMES79_GROUPS, added_statistics
from earmark.tasks.zones.frames90 import FRAMES90_COLUMNS, FRAMES90_GROUPS, frames90_statistics
from earmark.tasks.zones.mel3 import mel3
from earmark.tasks.zones.statistics import agg10_columns
from earmark.tasks.zones.texture import texture

__all__ = ["FEATURE_SETS"]


def _select(group: FeatureGroup, *columns: str) -> tuple[str, ...]:
    names = columns or group.columns
    return tuple(f"{group.name}.{column}" for column in names)


_CONTRAST_ARRAYS = tuple(
    f"spectral_contrast_{statistic}_{band}" for statistic in ("mean", "std") for band in range(N_CONTRAST)
)
_FULL_HEAD = (
    *_select(rhythm, "tempo"),
    *_select(spectrum, "zero_crossing_rate"),
    *_select(dynamics, "low_energy", "rms_energy"),
    *_select(spectrum, "spectral_rolloff", "brightness", "spectral_centroid"),
    *_select(timbre),
    *_select(dynamics, "energy_variance", "drop_strength"),
    *_select(rhythm, "onset_strength_mean", "onset_strength_std", "beat_strength", "tempo_stability"),
)
_FULL_MIDDLE = (
    *_select(balance),
    *_select(dynamics, "energy_slope", "energy_buildup_ratio"),
    *_select(rhythm, "onset_acceleration"),
    *_select(drops, "drop_frequency"),
    *_select(dynamics, "peak_energy_ratio"),
)
_FULL_DROPS = _select(drops, "drop_contrast_mean", "drop_contrast_max", "drop_count", "drop_intensity")
_FULL_TAIL = (
    *_select(rhythm, "rhythmic_regularity"),
    *_select(harmony),
    *_select(dynamics, "has_climax", "climax_position", "dynamic_range"),
)
_FULL_GROUPS = (dynamics, spectrum, timbre, contrast, rhythm, balance, drops, harmony)
_CONTRAST = _select(contrast, *_CONTRAST_ARRAYS)
_CONTRAST_AVERAGES = _select(contrast, "spectral_contrast_mean", "spectral_contrast_std")


def _sets(*sets: FeatureSet) -> dict[str, FeatureSet]:
    return {feature_set.name: feature_set for feature_set in sets}


FEATURE_SETS: dict[str, FeatureSet] = _sets(
    FeatureSet(
        "full55",
        _FULL_GROUPS,
        (*_FULL_HEAD, *_CONTRAST, *_FULL_MIDDLE, *_FULL_DROPS, *_FULL_TAIL),
        "53 columns: level, spectrum, timbre, rhythm, balance, drops, harmony (no arousal and valence)",
    ),
    FeatureSet(
        "full51",
        _FULL_GROUPS,
        (*_FULL_HEAD, *_CONTRAST, *_FULL_MIDDLE, *_FULL_TAIL),
        "49 columns: full55 without the four drop statistics",
    ),
    FeatureSet(
        "full39",
        _FULL_GROUPS,
        (*_FULL_HEAD, *_CONTRAST_AVERAGES, *_FULL_MIDDLE, *_FULL_TAIL),
        "37 columns: full51 with each spectral contrast array averaged",
    ),
    FeatureSet(
        "texture", (texture,), description="67 columns: density, busyness and roughness, free of gain"
    ),
    FeatureSet(
        "rich",
        (*_FULL_GROUPS, texture),
        (*_FULL_HEAD, *_CONTRAST, *_FULL_MIDDLE, *_FULL_DROPS, *_FULL_TAIL, *_select(texture)),
        "120 columns: full55 and texture",
    ),
    FeatureSet("fast10", (fast,), description="10 columns, no separation: a first look"),
    FeatureSet("basic19", (basic,), description="19 columns, the input of the zone rules"),
    FeatureSet("common22", (common,), description="22 columns that other sources of features share"),
    FeatureSet("drops13", (drops13,), description="13 statistics of breakdowns and drops in band energy"),
    FeatureSet("frames15", (frame_groups.frames15,), description="15 columns every 0.5 s"),
    FeatureSet("frames38", FRAMES38_GROUPS, description="38 columns every 0.5 s"),
    FeatureSet(
        "frames38_agg8",
        (track_statistics,),
        description=f"{len(track_statistics.columns)} statistics over time of the 38 frame columns",
    ),
    FeatureSet(
        "frames79", FRAMES79_GROUPS, description="79 columns every 0.5 s: frames38, finer timbre, harmony"
    ),
    FeatureSet(
        "frames79_agg8",
        (track_statistics, added_statistics, drops13),
        description="671 columns: statistics over time of the 79 frame columns, ratios of change, drops13",
    ),
    FeatureSet("frames90", FRAMES90_GROUPS, description="90 columns every 0.5 s, the level free of gain"),
    FeatureSet(
        "frames90_agg14",
        (frames90_statistics, drops13),
        description="1273 columns: fourteen statistics over time of the 90 frame columns, drops13",
    ),
    FeatureSet(
        "frames90_agg10",
        (frames90_statistics, drops13),
        (*_select(frames90_statistics, *agg10_columns(FRAMES90_COLUMNS)), *_select(drops13)),
        "913 columns: the ten statistics of frames90_agg14 that do not look at order in time, drops13",
    ),
    FeatureSet("mel3", (mel3,), description="a picture of 3 x 128 x 512: mel spectrum, level, drop mask"),
)
