"""Feature groups and sets: names and order, formulas by hand, degenerate input, no constant column."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from zone_signals import SAMPLE_RATE, degenerate_clips, planted_drop, synthetic_tracks

from earmark.audio.clip import Clip
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.mel import mfcc
from earmark.audio.onset import onset_envelope
from earmark.audio.spectrum import rms
from earmark.audio.tempo import beat_frames, beat_times_s
from earmark.errors import TooShortError
from earmark.features import FeatureGroup
from earmark.tasks.zones import measures
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.features import balance, basic, common, contrast, fast
from earmark.tasks.zones.frames import FRAMES38_COLUMNS
from earmark.tasks.zones.statistics import AGG14

GROUPS = tuple(dict.fromkeys(group for chosen in FEATURE_SETS.values() for group in chosen.groups))
VECTOR_GROUPS = tuple(group for group in GROUPS if group.kind == "vector")

MFCC = tuple(f"mfcc_{k}_{statistic}" for k in range(1, 6) for statistic in ("mean", "std"))
HEAD = ("tempo", "zero_crossing_rate", "low_energy", "rms_energy")
HEAD += ("spectral_rolloff", "brightness", "spectral_centroid", *MFCC)
FULL55 = (
    *HEAD,
    *("energy_variance", "drop_strength"),  # then arousal and valence, which are absent
    *("onset_strength_mean", "onset_strength_std", "beat_strength", "tempo_stability"),
    *(f"spectral_contrast_mean_{band}" for band in range(7)),
    *(f"spectral_contrast_std_{band}" for band in range(7)),
    *("harmonic_ratio", "percussive_ratio", "energy_slope", "energy_buildup_ratio", "onset_acceleration"),
    *("drop_frequency", "peak_energy_ratio"),
    *("drop_contrast_mean", "drop_contrast_max", "drop_count", "drop_intensity"),
    *("rhythmic_regularity", "harmonic_complexity", "has_climax", "climax_position", "dynamic_range"),
)
FULL51 = (*FULL55[:44], *FULL55[48:])
FULL39 = (*FULL51[:23], "spectral_contrast_mean", "spectral_contrast_std", *FULL51[37:])
FAST10 = ("tempo", "tempo_confidence", "rms_energy", "energy_variance", "spectral_centroid")
FAST10 += ("spectral_rolloff", "brightness", "zero_crossing_rate", "drop_intensity", "low_energy")
BASIC19 = (*HEAD, "energy_variance", "drop_intensity")
COMMON22 = (*HEAD, "energy_variance", "drop_strength", "drop_contrast_mean", "drop_count", "drop_intensity")


@pytest.fixture(scope="module")
def clip() -> Clip:
    return planted_drop()[0]


@pytest.fixture(scope="module")
def row(clip: Clip) -> SimpleNamespace:
    """All vector columns of one track by full name, dots as underscores."""
    values: dict[str, float] = {}
    for group in VECTOR_GROUPS:
        values |= {
            name.replace(".", "_"): float(value)
            for name, value in zip(group.column_names, group(clip), strict=True)
        }
    return SimpleNamespace(**values)


def bare(set_name: str) -> tuple[str, ...]:
    return tuple(name.rpartition(".")[2] for name in FEATURE_SETS[set_name].columns)


@pytest.mark.parametrize(
    ("set_name", "columns", "n_columns"),
    [
        ("full55", FULL55, 53),
        ("full51", FULL51, 49),
        ("full39", FULL39, 37),
        ("fast10", FAST10, 10),
        ("basic19", BASIC19, 19),
        ("common22", COMMON22, 22),
    ],
)
def test_columns_and_their_order(set_name: str, columns: tuple[str, ...], n_columns: int) -> None:
    assert bare(set_name) == columns
    assert len(columns) == n_columns


def test_sets_and_widths() -> None:
    assert set(FEATURE_SETS) == {
        *("full55", "full51", "full39", "fast10", "basic19", "common22"),
        *("texture", "rich", "drops13", "frames15", "frames38", "frames38_agg8"),
        *("frames79", "frames79_agg8", "frames90", "frames90_agg14", "frames90_agg10", "mel3"),
    }
    assert all(name == chosen.name and chosen.description for name, chosen in FEATURE_SETS.items())
    assert len(FEATURE_SETS["drops13"].columns) == 13
    assert len(FEATURE_SETS["texture"].columns) == 67
    assert FEATURE_SETS["rich"].columns == FEATURE_SETS["full55"].columns + FEATURE_SETS["texture"].columns
    assert len(FEATURE_SETS["frames38_agg8"].columns) == 8 * 38 + 2 * 5 + 5
    assert len(FEATURE_SETS["frames79_agg8"].columns) == 8 * 79 + 2 * 5 + 5 + 11 + 13
    assert len(FEATURE_SETS["frames90_agg14"].columns) == 14 * 90 + 13
    assert len(FEATURE_SETS["frames90_agg10"].columns) == 10 * 90 + 13


def test_no_two_groups_or_columns_share_a_full_name() -> None:
    names = [name for group in GROUPS for name in group.column_names]
    assert len(set(names)) == len(names)
    assert len({group.name for group in GROUPS}) == len(GROUPS)


def test_emotion_columns_are_absent_not_zero() -> None:
    for chosen in FEATURE_SETS.values():
        assert not {"arousal", "valence"} & {name.rpartition(".")[2] for name in chosen.columns}


def test_values_that_several_groups_share_agree(row: SimpleNamespace) -> None:
    for name in ("zero_crossing_rate", "spectral_rolloff", "spectral_centroid"):
        expected = getattr(row, f"zones_spectrum_{name}")
        assert getattr(row, f"zones_fast_{name}") == expected
        assert getattr(row, f"zones_basic_{name}") == expected
    assert row.zones_fast_tempo == row.zones_rhythm_tempo == row.zones_common_tempo
    for name in MFCC:
        assert getattr(row, f"zones_basic_{name}") == getattr(row, f"zones_timbre_{name}")


def test_equal_names_with_their_own_meaning(row: SimpleNamespace, clip: Clip) -> None:
    level = clip.memo(rms).astype(np.float64)
    assert row.zones_dynamics_energy_variance == pytest.approx(level.std(), rel=1e-5)
    assert row.zones_fast_energy_variance == pytest.approx(level.var(), rel=1e-5)
    assert row.zones_basic_energy_variance == pytest.approx((level.std() / level.mean()) ** 2, rel=1e-5)
    p90 = np.percentile(np.abs(np.diff(level)), 90)
    assert row.zones_fast_drop_intensity == row.zones_dynamics_drop_strength == pytest.approx(p90, rel=1e-5)
    assert row.zones_drops_drop_intensity > 1  # mean peak over mean level
    assert 0 < row.zones_basic_drop_intensity <= 1
    cepstrum = clip.memo(mfcc, n_mfcc=20)
    assert row.zones_timbre_mfcc_1_mean == pytest.approx(cepstrum[:, 0].mean(), rel=1e-4)
    assert row.zones_common_mfcc_1_mean == pytest.approx(cepstrum[:, 1].mean(), rel=1e-2)
    assert row.zones_common_mfcc_1_std == pytest.approx(cepstrum[:, 1].std(), rel=1e-4)


def test_brightness_is_a_share_of_magnitude(row: SimpleNamespace, clip: Clip) -> None:
    shape = clip.memo(spectral_descriptors)
    assert row.zones_fast_brightness == pytest.approx(
        shape.high_sum.sum() / shape.magnitude_sum.sum(), rel=1e-4
    )
    frame_shares = shape.high_sum / (shape.magnitude_sum + 1e-6)
    assert row.zones_spectrum_brightness == pytest.approx(frame_shares.mean(), rel=1e-4)
    assert 0 < row.zones_spectrum_brightness < 1


def test_rhythm_columns_from_their_parts(row: SimpleNamespace, clip: Clip) -> None:
    onset = clip.memo(onset_envelope).astype(np.float64)
    beats = clip.memo(beat_frames)
    intervals = np.diff(clip.memo(beat_times_s))
    variation = intervals.std() / intervals.mean()
    assert row.zones_rhythm_beat_strength == pytest.approx(clip.memo(rms)[beats].mean(), rel=1e-5)
    assert row.zones_rhythm_rhythmic_regularity == pytest.approx(1 / (1 + variation), rel=1e-5)
    assert row.zones_fast_tempo_confidence == pytest.approx(1 - variation, rel=1e-5)
    second = onset[2:] - 2 * onset[1:-1] + onset[:-2]
    assert row.zones_rhythm_onset_acceleration == pytest.approx(np.abs(second).mean(), rel=1e-5)
    assert 0.5 < row.zones_rhythm_tempo_stability < 1  # not the 1.0 of a tempogram read at lag 0
    assert row.zones_rhythm_tempo == pytest.approx(128, rel=0.03)


def test_drop_frequency_counts_events_per_minute(row: SimpleNamespace, clip: Clip) -> None:
    assert row.zones_drops_drop_count == 1
    assert row.zones_drops_drop_frequency == pytest.approx(60 / clip.duration_s, rel=1e-5)


def test_contrast_averages(clip: Clip) -> None:
    values = contrast(clip)
    assert values[14] == pytest.approx(values[:7].mean(), rel=1e-5)
    assert values[15] == pytest.approx(values[7:14].mean(), rel=1e-5)


def test_separation_tells_tones_from_clicks() -> None:
    clips = degenerate_clips()
    harmonic_of_sine, percussive_of_sine = balance(clips["sine"])
    assert harmonic_of_sine > 0.95 and percussive_of_sine < 0.05
    assert balance(clips["clicks"])[1] > 0.95


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (np.linspace(0, 1, 50), 1.0),  # slope 1 over a deviation of 0.29, clipped
        (np.linspace(1, 0, 50), -1.0),
        (np.full(50, 0.3), 0.0),
        (np.array([0.3]), 0.0),
        (np.array([0.0, 1, 0, 1, 0, 1, 0.1]), 0.13293),  # least squares, not last minus first
    ],
)
def test_energy_slope(level: np.ndarray, expected: float) -> None:
    assert measures.energy_slope(level) == pytest.approx(expected, abs=2e-3)


def test_dynamic_range_by_hand() -> None:
    assert measures.dynamic_range(np.array([0.1, 1.0, 0.5])) == pytest.approx(20)
    assert measures.dynamic_range(np.array([0.0, 0.0, 0.5])) == pytest.approx(80)  # one silent frame is no 0
    assert measures.dynamic_range(np.zeros(5)) == 0
    assert measures.dynamic_range(np.full(5, 0.2)) == 0


def test_chroma_entropy_by_hand() -> None:
    one, uniform, silent = np.eye(12)[:1], np.full((1, 12), 0.3), np.zeros((1, 12))
    assert measures.chroma_entropy(one) == 0
    assert measures.chroma_entropy(uniform) == pytest.approx(np.log(12))
    assert measures.chroma_entropy(np.vstack([uniform, silent])) == pytest.approx(np.log(12) / 2)
    assert measures.chroma_entropy(np.array([[0.9, 0.3] + [0.0] * 10])) == pytest.approx(
        -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    )


def test_smoothed_drop_intensity_by_hand() -> None:
    steady = np.full(60, 0.2)
    assert measures.smoothed_drop_intensity(steady) == 0
    step = np.concatenate([np.full(60, 0.1), np.full(60, 0.3)])
    # Averaged over 11 frames the step is 11 equal rises among 109 differences.
    expected = 10 * (11 / 109) * (0.2 / 11) / 0.2
    assert measures.smoothed_drop_intensity(step) == pytest.approx(expected)
    assert measures.smoothed_drop_intensity(step[:11]) == 0


def test_too_short_clips_are_refused_with_a_reason() -> None:
    clip = Clip(np.zeros(7 * SAMPLE_RATE, dtype=np.float32), SAMPLE_RATE, uri="short.wav")
    for group in GROUPS:
        with pytest.raises(TooShortError, match=r"short\.wav has 7\.0 s of audio; .* at least 8 s"):
            group(clip)


@pytest.mark.parametrize("name", degenerate_clips())
def test_degenerate_clips_give_finite_decided_numbers(name: str) -> None:
    clip = degenerate_clips()[name]
    for group in VECTOR_GROUPS:
        values = np.asarray(group.function(clip), dtype=np.float64)
        assert values.shape == (len(group.columns),)
        assert np.isfinite(values).all(), (group.name, dict(zip(group.columns, values, strict=True)))


def test_decided_values_of_silence() -> None:
    silence = degenerate_clips()["silence"]
    values = {
        name: float(value)
        for group in FEATURE_SETS["full55"].groups
        for name, value in zip(group.columns, group(silence), strict=True)
    }
    ones = {"peak_energy_ratio"}
    assert {name for name in ones if values[name] != 1} == set()
    zeros = {
        "tempo",
        "beat_strength",
        "tempo_stability",
        "rhythmic_regularity",
        "drop_count",
        "dynamic_range",
    }
    zeros |= {"rms_energy", "brightness", "harmonic_ratio", "percussive_ratio", "harmonic_complexity"}
    assert {name: values[name] for name in zeros if values[name] != 0} == {}
    assert fast(silence)[fast.columns.index("tempo_confidence")] == 0.5


@pytest.mark.parametrize("group", VECTOR_GROUPS, ids=lambda group: group.name)
def test_groups_are_deterministic_and_independent_of_each_other(group: FeatureGroup, clip: Clip) -> None:
    # The shared clip has seen all other groups; a fresh one sees this group alone.
    np.testing.assert_array_equal(group(clip), group(Clip(clip.samples.copy(), clip.sample_rate)))


def test_louder_changes_levels_and_nothing_that_is_relative(clip: Clip) -> None:
    quiet = Clip(0.25 * clip.samples, clip.sample_rate)
    for group in (basic, common):
        loud_row = dict(zip(group.columns, group(clip), strict=True))
        quiet_row = dict(zip(group.columns, group(quiet), strict=True))
        assert quiet_row["rms_energy"] == pytest.approx(loud_row["rms_energy"] / 4, rel=1e-4)
        for name in ("tempo", "low_energy", "spectral_centroid", "spectral_rolloff", "mfcc_2_std"):
            assert quiet_row[name] == pytest.approx(loud_row[name], rel=2e-3), name


def test_no_column_is_constant_over_twenty_tracks() -> None:
    rows = []
    names = [name for group in VECTOR_GROUPS for name in group.column_names]
    for track in synthetic_tracks(20):
        rows.append(np.concatenate([group(track) for group in VECTOR_GROUPS]))
    constant = {name for name, spread in zip(names, np.ptp(rows, axis=0), strict=True) if spread == 0}
    # The first frame has no frame before it, and flags take both values in every track.
    by_construction = {
        f"zones.frames38_agg8.{column}_{statistic}"
        for column in FRAMES38_COLUMNS
        for statistic in ("min", "max", "p10", "p50", "p90", "range")
        if column in {"low_energy_flag", "beat_sync", "energy_valley", "energy_peak", "drop_candidate"}
        or (column == "energy_buildup_score" and statistic in {"min", "p10", "p50"})
        or (column == "chroma_energy" and statistic == "max")
    }
    # Nor has a flag a middle, the loudest frame is 1, and the first has no spread.
    by_construction |= {
        f"zones.frames90_agg14.{column}_{statistic}"
        for column in ("low_energy_flag", "energy_valley", "energy_peak", "drop_candidate")
        for statistic in set(AGG14) - {"mean", "std", "step_std"}
    }
    by_construction |= {
        f"zones.frames90_agg14.energy_buildup_score_{low}" for low in ("min", "p10", "p25", "p50")
    }
    by_construction |= {"zones.frames90_agg14.rms_max", "zones.frames90_agg14.rms_variance_min"}
    assert constant - by_construction == set()
