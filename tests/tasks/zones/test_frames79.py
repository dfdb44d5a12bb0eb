"""The 41 columns beyond frames38: names, librosa as the reference, what a frame may see, degenerate clips."""

from __future__ import annotations

import numpy as np
import pytest
from zone_signals import SAMPLE_RATE, degenerate_clips, planted_drop

from earmark.audio.clip import Clip
from earmark.audio.descriptors import CONTRAST_FLOOR
from earmark.features import FeatureGroup
from earmark.features.lookahead import check_lookahead
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.frames import FRAMES38_COLUMNS, FRAMES38_GROUPS, frames38
from earmark.tasks.zones.frames79 import (
    ADDED_COLUMNS,
    FRAMES79_COLUMNS,
    FRAMES79_GROUPS,
    added_frames,
    added_statistics,
    frames_cepstrum,
    frames_contrast,
    frames_tonal,
)
from earmark.tasks.zones.statistics import agg8, ndrop2

NEW_GROUPS = (frames_cepstrum, frames_tonal, frames_contrast)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return planted_drop()[0]


def averaged(values: np.ndarray) -> np.ndarray:
    """Means over half seconds of rows every 512 samples, each row in the half second of its centre."""
    frame = np.arange(len(values)) * 512 // 11_025
    n_frames = (len(values) - 1) * 512 // 11_025
    return np.array([values[frame == k].mean(axis=0) for k in range(n_frames)])


def test_columns_in_order_after_those_of_frames38() -> None:
    assert FRAMES79_GROUPS[: len(FRAMES38_GROUPS)] == FRAMES38_GROUPS
    assert (
        *FRAMES38_COLUMNS,
        *(f"mfcc_{k}" for k in range(6, 14)),
        *(f"mfcc_{k}_delta" for k in range(6, 14)),
        *(f"chroma_{k}" for k in range(1, 13)),
        *(f"tonnetz_{k}" for k in range(1, 7)),
        *(f"spectral_contrast_{k}" for k in range(1, 8)),
    ) == FRAMES79_COLUMNS
    assert len(FRAMES79_COLUMNS) == 79 == len(set(FRAMES79_COLUMNS))
    assert FEATURE_SETS["frames79"].groups == FRAMES79_GROUPS


def test_librosa_gives_the_same_columns(clip: Clip) -> None:
    librosa = pytest.importorskip("librosa", reason="the peer of this test; pip install earmark[bench]")
    y = clip.samples
    cepstrum = averaged(librosa.feature.mfcc(y=y, sr=SAMPLE_RATE)[6:14].T)
    chroma = librosa.feature.chroma_stft(y=y, sr=SAMPLE_RATE)
    tonnetz = librosa.feature.tonnetz(chroma=chroma)
    S = np.abs(librosa.stft(y))
    floored = np.maximum(S, CONTRAST_FLOOR * S.max(axis=0))
    contrast = averaged(librosa.feature.spectral_contrast(S=floored, sr=SAMPLE_RATE).T)
    n = len(cepstrum)
    ours = frames_cepstrum(clip)[:n]
    np.testing.assert_allclose(ours[:, :8], cepstrum, atol=2e-2)
    np.testing.assert_allclose(ours[1:, 8:], np.diff(cepstrum, axis=0), atol=4e-2)
    assert not ours[0, 8:].any()
    np.testing.assert_allclose(frames_tonal(clip)[:n, :12], averaged(chroma.T), atol=2e-3)
    np.testing.assert_allclose(frames_tonal(clip)[:n, 12:], averaged(tonnetz.T), atol=2e-3)
    np.testing.assert_allclose(frames_contrast(clip)[:n], contrast, rtol=1e-3, atol=2e-2)


def test_contrast_columns_average_to_that_of_frames38(clip: Clip) -> None:
    whole = clip.memo(frames38)[:, FRAMES38_COLUMNS.index("spectral_contrast")]
    np.testing.assert_allclose(frames_contrast(clip).mean(axis=1), whole, rtol=1e-5)


def test_track_statistics_are_those_of_the_table(clip: Clip) -> None:
    table = np.column_stack([group(clip) for group in FRAMES79_GROUPS]).astype(np.float64)
    column = dict(zip(FRAMES79_COLUMNS, table.T, strict=True))
    values = added_statistics(clip)
    assert len(values) == 8 * 41 + 11
    np.testing.assert_allclose(values[:-11], agg8(table[:, 38:]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(values[-11:], ndrop2(column), rtol=1e-4, atol=1e-7)


def test_no_column_is_constant(clip: Clip) -> None:
    spread = dict(zip(ADDED_COLUMNS, np.ptp(clip.memo(added_frames), axis=0), strict=True))
    assert [name for name, value in spread.items() if value == 0] == []


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
