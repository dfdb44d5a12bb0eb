"""The three-layer picture of a track: parts by hand, layers, degenerate clips."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from zone_signals import SAMPLE_RATE, degenerate_clips, planted_drop

from earmark.audio.clip import Clip
from earmark.audio.mel import power_to_db
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.frames90 import spectral_shape
from earmark.tasks.zones.mel3 import MEL3_COLUMNS, mel3, picture


def test_picture_of_a_track() -> None:
    clip, drop_s = planted_drop()
    parts = mel3(clip)
    assert parts.shape == (512, 130) and len(MEL3_COLUMNS) == 130
    assert parts.min() == 0 and parts.max() == 1
    layers = picture(parts)
    assert layers.shape == (3, 128, 512)
    np.testing.assert_array_equal(layers[0, 3], parts[:, 3])
    assert (layers[1:] == layers[1:, :1]).all()
    assert FEATURE_SETS["mel3"].groups == (mel3,)
    # The drop is marked, and after it the track is louder than in the breakdown before.
    drop = round(drop_s / clip.duration_s * 512)
    mask, level = layers[2, 0], layers[1, 0]
    assert mask[drop - 25 : drop + 25].max() == 1
    assert level[drop + 20 : drop + 80].mean() > 1.3 * level[drop - 80 : drop - 40].mean()


def test_parts_are_means_of_their_spectra() -> None:
    clip = planted_drop()[0]
    level_db = power_to_db(clip.memo(spectral_shape).mel_power).astype(np.float64)
    scaled = (level_db - level_db.min()) / np.ptp(level_db)
    edges = [i * len(scaled) // 512 for i in range(513)]
    expected = [scaled[a:b].mean(axis=0) for a, b in pairwise(edges)]
    np.testing.assert_allclose(mel3(clip)[:, :128], expected, atol=1e-5)


def test_a_short_clip_repeats_its_spectra() -> None:
    noise = np.random.default_rng(4).standard_normal(8 * SAMPLE_RATE).astype(np.float32)
    clip = Clip(0.1 * noise, SAMPLE_RATE)  # 345 spectra for 512 parts
    parts = mel3(clip)[:, :128]
    repeated = (np.diff(parts, axis=0) == 0).all(axis=1).sum()
    assert repeated == 512 - 345


@pytest.mark.parametrize("name", degenerate_clips())
def test_degenerate_clips_give_finite_pictures(name: str) -> None:
    parts = np.asarray(mel3.function(degenerate_clips()[name]))
    assert parts.shape == (512, 130)
    assert np.isfinite(parts).all() and parts.min() >= 0 and parts.max() <= 1
