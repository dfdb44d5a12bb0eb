"""The wide frame table: names, definitions by hand and by librosa, what it shares, what a frame may see."""

from __future__ import annotations

import numpy as np
import pytest
from zone_signals import SAMPLE_RATE, coloured_noise, degenerate_clips, planted_drop

from earmark.audio.clip import Clip
from earmark.audio.spectrum import magnitude
from earmark.features import FeatureGroup
from earmark.features.lookahead import check_lookahead
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.frames import FRAMES38_COLUMNS, frame_means, frames15, frames38
from earmark.tasks.zones.frames90 import (
    FRAMES90_COLUMNS,
    FRAMES90_GROUPS,
    frames90,
    frames90_cepstrum,
    frames90_level,
    frames90_spectrum,
    frames90_statistics,
    local_variance,
    mel_level,
    spectral_shape,
)
from earmark.tasks.zones.statistics import agg14

NEW_GROUPS = (frames90_level, frames90_spectrum, frames90_cepstrum)
MOVING = ("rms", "zcr", "spectral_centroid", "spectral_rolloff", "brightness", "onset_strength")


@pytest.fixture(scope="module")
def clip() -> Clip:
    return planted_drop()[0]


@pytest.fixture(scope="module")
def column(clip: Clip) -> dict[str, np.ndarray]:
    return dict(zip(FRAMES90_COLUMNS, clip.memo(frames90).T, strict=True))


def test_ninety_columns() -> None:
    expected = {
        *("rms", "low_energy_flag", "rms_variance", "rms_delta2", "zero_crossing_rate", "onset_strength"),
        *("spectral_centroid", "spectral_rolloff", "brightness", "spectral_flux", "spectral_flatness"),
        *("spectral_bandwidth", "spectral_skewness", "spectral_kurtosis", "spectral_contrast"),
        *(f"spectral_contrast_{k}" for k in range(1, 8)),
        *(f"mfcc_{k}" for k in range(1, 20)),
        *(f"mfcc_{k}_delta" for k in range(1, 20)),
        *(f"chroma_{k}" for k in range(1, 13)),
        *(f"tonnetz_{k}" for k in range(1, 7)),
        *("energy_buildup_score", "drop_candidate", "energy_valley", "energy_peak"),
        *("harmonic_ratio", "percussive_ratio"),
        *(f"{name}_delta" for name in MOVING),
    }
    assert len(FRAMES90_COLUMNS) == 90
    assert set(FRAMES90_COLUMNS) == expected
    assert FEATURE_SETS["frames90"].groups == FRAMES90_GROUPS


def test_table_is_the_groups_side_by_side(clip: Clip) -> None:
    table = np.column_stack([group(clip) for group in FRAMES90_GROUPS])
    np.testing.assert_array_equal(table, clip.memo(frames90).astype(np.float32))


def test_columns_of_frames38_keep_name_and_value(column: dict[str, np.ndarray], clip: Clip) -> None:
    known = dict(zip(FRAMES38_COLUMNS, clip.memo(frames38).T, strict=True))
    own = {"spectral_rolloff", "spectral_rolloff_delta", "spectral_contrast", "low_energy_flag"}
    own |= {name for name in known if name.startswith("mfcc_")}
    shared = (set(column) & set(known)) - own
    assert len(shared) == 17
    for name in shared:
        np.testing.assert_array_equal(column[name], known[name], err_msg=name)
    rolloff85 = frames15(clip)[:, frames15.columns.index("spectral_rolloff")]
    np.testing.assert_allclose(column["spectral_rolloff"], rolloff85, rtol=1e-6)


def test_deltas_are_first_differences(column: dict[str, np.ndarray]) -> None:
    for name in (*MOVING, *(f"mfcc_{k}" for k in range(1, 20))):
        values = column["zero_crossing_rate" if name == "zcr" else name]
        assert column[f"{name}_delta"][0] == 0
        np.testing.assert_allclose(column[f"{name}_delta"][1:], np.diff(values), atol=1e-12)
    np.testing.assert_allclose(column["rms_delta2"][1:], np.diff(column["rms_delta"]), atol=1e-12)


def test_shape_against_a_plain_loop(clip: Clip) -> None:
    shape, S = clip.memo(spectral_shape), magnitude(clip).astype(np.float64)
    assert len(shape.skewness) == len(S)  # and longer than several blocks
    for i in (0, 1, 2, 126, 127, 128, 129, 300, len(S) - 3, len(S) - 2, len(S) - 1):
        f, weight = np.arange(1025.0), S[i] / S[i].sum()
        centre = (f * weight).sum()
        spread = np.sqrt((weight * (f - centre) ** 2).sum())
        skewness, kurtosis = ((weight * ((f - centre) / spread) ** n).sum() for n in (3, 4))
        assert shape.skewness[i] == pytest.approx(skewness, rel=1e-4)
        assert shape.kurtosis[i] == pytest.approx(kurtosis, rel=1e-4)
        for band in range(7):
            ordered = np.sort(np.maximum(S[i, 1 + 146 * band : 1 + 146 * (band + 1)], 0))
            floor = 2.0**-23 * S[i].max()
            low, high = max(ordered[:36].mean(), floor), max(ordered[-36:].mean(), floor)
            assert shape.contrast[i, band] == pytest.approx(np.log(high / low), rel=1e-4, abs=1e-5)


def test_mel_columns_agree_with_librosa(clip: Clip, column: dict[str, np.ndarray]) -> None:
    librosa = pytest.importorskip("librosa", reason="the peer of this test; pip install earmark[bench]")
    power = librosa.feature.melspectrogram(y=clip.samples, sr=SAMPLE_RATE, fmin=20.0, fmax=8000.0)
    level = np.sqrt(frame_means(clip, power.mean(axis=0)))
    np.testing.assert_allclose(column["rms"], level / level.max(), rtol=1e-3)
    cepstrum = librosa.feature.mfcc(S=librosa.power_to_db(power), n_mfcc=20)
    for k in range(1, 20):
        np.testing.assert_allclose(column[f"mfcc_{k}"], frame_means(clip, cepstrum[k]), atol=2e-2)


def test_moments_of_known_spectra() -> None:
    low, even = (spectral_shape(coloured_noise(exponent, 4.0, seed=2)) for exponent in (2.0, 0.0))
    inner = slice(10, -10)
    assert low.skewness[inner].mean() > 1  # trails off upwards
    assert abs(even.skewness[inner].mean()) < 0.1
    assert even.kurtosis[inner].mean() == pytest.approx(1.8, abs=0.1)  # of a uniform distribution


def test_contrast_tells_tones_from_noise() -> None:
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    tones = np.sum([np.sin(2 * np.pi * hz * time) for hz in range(400, 11_000, 800)], axis=0)
    tonal = spectral_shape(Clip((0.05 * tones).astype(np.float32), SAMPLE_RATE)).contrast[20:-20]
    noisy = spectral_shape(coloured_noise(0.0, 4.0, seed=3)).contrast[20:-20]
    assert (tonal.mean(axis=0) > 3).all()
    magnitudes = np.sqrt(
        -2 * np.log(1 - (np.arange(1000) + 0.5) / 1000)
    )  # quantiles of Rayleigh's distribution
    expected = np.log(magnitudes[750:].mean() / magnitudes[:250].mean())
    np.testing.assert_allclose(noisy.mean(axis=0), expected, atol=0.03)


def test_local_variance_by_hand() -> None:
    level = np.array([1.0, 3, 1, 3, 1, 3, 1, 3, 3, 3])
    variance = local_variance(level)
    assert variance[0] == 0 and variance[1] == 1
    assert variance[7] == 1  # four of each
    assert variance[8] == pytest.approx(level[1:9].var())
    assert variance[9] == pytest.approx(level[2:10].var())


def test_level_is_scaled_by_its_maximum_and_gain_leaves_it(clip: Clip, column: dict[str, np.ndarray]) -> None:
    assert column["rms"].max() == 1 and column["rms"].min() >= 0
    quiet = Clip(0.25 * clip.samples, clip.sample_rate)
    np.testing.assert_allclose(quiet.memo(mel_level), column["rms"], rtol=1e-4)
    flag = column["low_energy_flag"]
    np.testing.assert_array_equal(flag, column["rms"] < column["rms"].mean())


def test_track_statistics_are_those_of_the_table(clip: Clip) -> None:
    values = frames90_statistics(clip)
    assert len(values) == 1260
    np.testing.assert_allclose(values, agg14(clip.memo(frames90)), rtol=1e-6)
    chosen = FEATURE_SETS["frames90_agg10"].columns
    assert len(chosen) == 900 + 13
    assert set(chosen) < set(FEATURE_SETS["frames90_agg14"].columns)
    assert not [name for name in chosen if name.endswith(("_start", "_end", "_trajectory", "_step_std"))]


def test_no_column_is_constant(column: dict[str, np.ndarray]) -> None:
    assert [name for name, values in column.items() if np.ptp(values) == 0] == []


@pytest.mark.parametrize("group", NEW_GROUPS, ids=lambda group: group.name)
def test_no_frame_sees_further_ahead_than_declared(group: FeatureGroup, clip: Clip) -> None:
    assert [row for row in check_lookahead(group, clip) if not row.ok] == []


@pytest.mark.parametrize("name", degenerate_clips())
def test_degenerate_clips_give_finite_tables(name: str) -> None:
    clip = degenerate_clips()[name]
    for group in NEW_GROUPS:
        table = np.asarray(group.function(clip))
        assert table.shape == (max(1, len(clip.samples) // 11_025), len(group.columns)), group.name
        assert np.isfinite(table).all(), group.name


def test_decided_values_of_silence() -> None:
    table = frames90(degenerate_clips()["silence"])
    values = dict(zip(FRAMES90_COLUMNS, table.T, strict=True))
    np.testing.assert_allclose(values.pop("spectral_flatness"), 1, atol=1e-5)
    assert [name for name, rows in values.items() if np.abs(rows).max() > 1e-9] == []
