"""The clip: what it accepts, and that each analysis runs once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from earmark.audio.clip import Clip
from earmark.errors import InputError, UsageError


def test_samples_become_contiguous_float32() -> None:
    clip = Clip(np.arange(10, dtype=np.float64)[::2], 8_000)
    assert clip.samples.dtype == np.float32 and clip.samples.flags.c_contiguous
    assert clip.duration_s == 5 / 8_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_must_be_finite(value: float) -> None:
    samples = np.zeros(100, np.float32)
    samples[7] = value
    with pytest.raises(InputError, match="NaN or infinite"):
        Clip(samples, 8_000)


def test_large_but_finite_samples_are_accepted() -> None:
    assert Clip(np.full(100, 1e30, np.float32), 8_000).duration_s > 0


def test_shape_and_rate_are_checked() -> None:
    with pytest.raises(UsageError, match=r"shape \(2, 5\)"):
        Clip(np.zeros((2, 5), np.float32), 8_000)
    with pytest.raises(UsageError, match="0 Hz"):
        Clip(np.zeros(5, np.float32), 0)


def test_memo_computes_once_for_each_set_of_parameters() -> None:
    calls = []

    def analysis(clip: Clip, size: int = 3, *, scale: float = 1.0) -> float:
        calls.append((size, scale))
        return size * scale

    clip = Clip(np.zeros(5, np.float32), 8_000)
    assert clip.memo(analysis) == 3.0
    assert clip.memo(analysis, size=3) == clip.memo(analysis, scale=1.0, size=3) == 3.0
    assert clip.memo(analysis, scale=2.0) == 6.0
    assert calls == [(3, 1.0), (3, 2.0)]
    Clip(np.zeros(5, np.float32), 8_000).memo(analysis)
    assert len(calls) == 3, "another clip has its own results"


def test_pickled_clip_leaves_intermediates_behind() -> None:
    clip = Clip(np.ones(5, np.float32), 8_000, uri="a.wav")
    clip.memo(lambda c: np.zeros(1_000_000))
    data = pickle.dumps(clip)
    assert len(data) < 2_000
    assert pickle.loads(data).uri == "a.wav"  # noqa: S301
