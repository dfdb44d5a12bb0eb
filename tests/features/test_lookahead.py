from __future__ import annotations

import engine_groups
import numpy as np
import pytest

from earmark.audio.clip import Clip
from earmark.features import feature_group
from earmark.features.lookahead import check_lookahead


@pytest.fixture
def noise():
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000 * 5) * np.linspace(0.2, 1.0, 16_000 * 5)
    return Clip(samples.astype(np.float32), 16_000)


def test_a_causal_group_holds_its_promise(noise):
    (row,) = check_lookahead(engine_groups.blocks, noise)
    assert row.ok
    assert row.observed_s == 0.0


def test_a_group_that_peeks_at_the_next_frame_is_caught(noise):
    (row,) = check_lookahead(engine_groups.forward, noise)
    assert not row.ok
    assert 0.0 < row.observed_s <= 0.1


def test_a_whole_item_statistic_is_caught_unless_declared(noise):
    def relative(clip):
        frames = engine_groups.blocks.function(clip)
        return np.hstack([frames, frames / frames.mean()])

    declare = {"columns": ("rms", "relative"), "sample_rate": 16_000, "kind": "frames", "frame_s": 0.1}
    honest = feature_group("t.a", lookahead_s={"rms": 0.0, "relative": np.inf}, **declare)(relative)
    assert all(row.ok for row in check_lookahead(honest, noise))
    wrong = feature_group("t.b", lookahead_s=0.5, **declare)(relative)
    assert [row.ok for row in check_lookahead(wrong, noise)] == [True, False]
