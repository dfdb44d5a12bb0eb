"""Frame tables: averaging, deltas, flags by hand; what a frame may see; decided columns and their order."""

from __future__ import annotations

import numpy as np
import pytest
from zone_signals import SAMPLE_RATE, degenerate_clips, planted_drop

from earmark.audio.clip import Clip
from earmark.audio.spectrum import rms
from earmark.features import FeatureGroup
from earmark.features.lookahead import check_lookahead
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.frames import (
    FRAMES38_COLUMNS,
    FRAMES38_GROUPS,
    buildup_score,
    drop_candidates,
    frame_means,
    frame_rms,
    frames15,
    frames38,
    frames_balance,
    frames_energy,
    frames_rhythm,
    strict_extrema,
)

ALL_GROUPS = (frames15, *FRAMES38_GROUPS)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return planted_drop()[0]


def column(group: FeatureGroup, name: str, clip: Clip) -> np.ndarray:
    return group(clip)[:, group.columns.index(name)]


def test_columns_of_frames38_in_order() -> None:
    assert (
        *("rms_energy", "rms_energy_delta", "rms_energy_delta2", "low_energy_flag"),
        *("zero_crossing_rate", "zcr_delta"),
        *("spectral_centroid", "spectral_centroid_delta", "spectral_rolloff", "spectral_rolloff_delta"),
        *("brightness", "brightness_delta"),
        *("spectral_flux", "spectral_flatness", "spectral_contrast", "spectral_bandwidth"),
        *(f"mfcc_{k}" for k in range(1, 6)),
        *(f"mfcc_{k}_delta" for k in range(1, 6)),
        *("onset_strength", "onset_strength_delta", "beat_sync"),
        *("chroma_energy", "harmonic_ratio", "percussive_ratio", "pitch", "pitch_confidence"),
        *("energy_buildup_score", "energy_valley", "energy_peak", "drop_candidate"),
    ) == FRAMES38_COLUMNS
    assert len(FRAMES38_COLUMNS) == 38
    assert len(frames15.columns) == 15
    assert FEATURE_SETS["frames38"].groups == FRAMES38_GROUPS


def test_a_window_belongs_to_the_frame_of_its_centre() -> None:
    samples = np.zeros(2 * 11_025 + 100, dtype=np.float32)
    hops = np.arange(1 + len(samples) // 512, dtype=np.float64)
    means = frame_means(Clip(samples, SAMPLE_RATE), hops)
    # Hop 21 is centred at sample 10 752, hop 22 at 11 264; hop 43 at 22 016 is the last of the second frame.
    np.testing.assert_allclose(means, [np.arange(22).mean(), np.arange(22, 44).mean()])


def test_rest_of_less_than_half_a_second_is_dropped_and_one_frame_is_the_least() -> None:
    for n_samples, n_frames in ((1, 1), (11_024, 1), (11_025, 1), (22_049, 1), (22_050, 2), (33_074, 2)):
        clip = Clip(np.ones(n_samples, dtype=np.float32), SAMPLE_RATE)
        assert len(clip.memo(frame_rms)) == n_frames


def test_frame_rms_is_the_root_of_the_mean_square(clip: Clip) -> None:
    level = clip.memo(rms)
    centre = np.arange(len(level)) * 512 // 11_025
    np.testing.assert_allclose(clip.memo(frame_rms)[5], np.sqrt((level[centre == 5] ** 2).mean()), rtol=1e-6)


def test_a_click_between_analysis_windows_of_half_a_second_is_seen() -> None:
    for offset in range(0, 11_025, 1_000):
        samples = np.full(20 * 11_025, 1e-3, dtype=np.float32)
        samples[6 * 11_025 + offset] = -1.0
        clip = Clip(samples, SAMPLE_RATE)
        for name in ("rms_energy", "zero_crossing_rate"):
            values = column(frames_energy, name, clip)
            assert values[5:8].max() > 3 * max(values[2], 1e-6), (name, offset)


def test_deltas_are_first_differences_of_frame_values(clip: Clip) -> None:
    level = column(frames_energy, "rms_energy", clip)
    delta = column(frames_energy, "rms_energy_delta", clip)
    assert delta[0] == 0
    np.testing.assert_allclose(delta[1:], np.diff(level), atol=1e-7)
    np.testing.assert_allclose(
        column(frames_energy, "rms_energy_delta2", clip)[1:], np.diff(delta), atol=1e-7
    )


def test_buildup_score_by_hand() -> None:
    level = np.array([0.1, 0.1, 0.1, 0.1, 0.5, 0.2, 0.2, 0.2])
    mean = level.mean() + 1e-6
    # Frame 5 compares frame 4 with frame 1; the fall at frame 8 would be negative and is 0.
    expected = [0, 0, 0, 0, 0, 0.4 / 2 / mean, 0.1 / 2 / mean, 0.1 / 2 / mean]
    np.testing.assert_allclose(buildup_score(level), expected)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4, 5])
def test_buildup_score_of_a_few_frames_is_zero(n_frames: int) -> None:
    assert buildup_score(np.full(n_frames, 0.3)).tolist() == [0.0] * n_frames


def test_strict_extrema_by_hand() -> None:
    level = np.array([5, 4, 3, 2, 1, 2, 3, 4, 9, 4, 3, 2, 3.0])
    valley, peak = strict_extrema(level)
    assert np.flatnonzero(valley).tolist() == [4]
    assert np.flatnonzero(peak).tolist() == [8]
    level[5] = 1  # a tie is not strict
    assert not strict_extrema(level)[0].any()
    assert not any(flags.any() for flags in strict_extrema(np.arange(8.0)))


def test_drop_candidate_is_the_first_of_seven_frames_above_one_and_a_half_times_the_valley() -> None:
    level = np.array([1.0, 1.4, 1.6, 1.7, 9, 9, 9, 9, 1, 1, 1, 1, 1, 1, 1, 1.49])
    valley = np.zeros(len(level), dtype=bool)
    valley[[0, 8]] = True
    assert np.flatnonzero(drop_candidates(level, valley)).tolist() == [2]


def test_beats_fall_into_their_frames(clip: Clip) -> None:
    flags = column(frames_rhythm, "beat_sync", clip)
    assert set(flags) <= {0.0, 1.0}
    assert 0.6 < flags[:30].mean() <= 1.0  # 128 BPM: a beat in nearly every half second


def test_balance_is_a_real_ratio(clip: Clip) -> None:
    harmonic, percussive = frames_balance(clip).T
    np.testing.assert_allclose(harmonic + percussive, 1.0, atol=1e-3)
    assert harmonic.std() > 0.01


def test_no_column_is_constant(clip: Clip) -> None:
    spread = dict(zip(FRAMES38_COLUMNS, np.ptp(clip.memo(frames38), axis=0), strict=True))
    assert [name for name, value in spread.items() if value == 0] == []


def test_equal_bare_names_are_other_columns(clip: Clip) -> None:
    spectrum = FRAMES38_GROUPS[1]
    assert not np.allclose(column(frames15, "mfcc_1", clip), column(spectrum, "mfcc_1", clip))
    np.testing.assert_allclose(
        column(frames15, "mfcc_2", clip), column(spectrum, "mfcc_1", clip), rtol=1e-5, atol=1e-3
    )
    wider = column(spectrum, "spectral_rolloff", clip) - column(frames15, "spectral_rolloff", clip)
    assert (wider >= 0).all() and wider.max() > 0


@pytest.mark.parametrize("group", ALL_GROUPS, ids=lambda group: group.name)
def test_no_frame_sees_further_ahead_than_declared(group: FeatureGroup, clip: Clip) -> None:
    rows = check_lookahead(group, clip)
    assert [row for row in rows if not row.ok] == []


@pytest.mark.parametrize("name", degenerate_clips())
def test_degenerate_clips_give_finite_tables(name: str) -> None:
    clip = degenerate_clips()[name]
    for group in ALL_GROUPS:
        table = np.asarray(group.function(clip))
        assert table.shape == (max(1, len(clip.samples) // 11_025), len(group.columns)), group.name
        assert np.isfinite(table).all(), group.name


def test_tables_are_deterministic(clip: Clip) -> None:
    again = Clip(clip.samples.copy(), clip.sample_rate)
    np.testing.assert_array_equal(clip.memo(frames38), again.memo(frames38))
