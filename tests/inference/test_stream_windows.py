"""Windows of a growing signal: places, memory, and features that are those of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from tone_groups import level, shape

from earmark.audio.clip import Clip
from earmark.errors import InputError, TooShortError, UsageError
from earmark.features import Extractor, Item, feature_group
from earmark.inference.windows import Heard, Windowing, clip_table


@feature_group("test.long", columns=("mean",), sample_rate=8000, min_duration_s=2.0)
def long(clip):
    return [clip.samples.mean()]


@feature_group("test.broken", columns=("x",), sample_rate=8000)
def broken(clip):
    raise ValueError("no such thing")


def test_windows_begin_with_the_signal_and_then_roll():
    windowing = Windowing(every_s=5, window_s=12)
    ends = [windowing.end_s(i) for i in range(4)]
    assert [windowing.bounds_s(end) for end in ends] == [(0, 5), (0, 10), (3, 15), (8, 20)]
    assert [windowing.middle_s(end) for end in ends] == [2.5, 5, 9, 14]
    assert Windowing(every_s=0.1).end_s(2) == 0.3


@pytest.mark.parametrize("bad", [0, -1, float("inf"), float("nan")])
def test_lengths_must_be_above_zero(bad):
    with pytest.raises(UsageError, match="--every"):
        Windowing(every_s=bad)
    with pytest.raises(UsageError, match="--window"):
        Windowing(window_s=bad)


@given(
    pieces=st.lists(st.integers(0, 9), max_size=20),
    bounds=st.tuples(st.integers(0, 120), st.integers(0, 120)).map(sorted),
    before=st.integers(0, 120),
)
def test_spans_are_those_of_the_whole_signal(pieces, bounds, before):
    signal = np.arange(sum(pieces), dtype=np.float32)
    heard = Heard()
    for start, n in zip(np.cumsum([0, *pieces]), pieces, strict=False):
        heard.append(signal[start : start + n])
    heard.forget(before)
    assert heard.length == len(signal)
    start = max(bounds[0], before)
    np.testing.assert_array_equal(heard.span(start, bounds[1]), signal[start : bounds[1]])
    if heard.n_kept < heard.length:
        with pytest.raises(UsageError, match="sample 0 was forgotten"):
            heard.span(0, 1)


def test_what_is_forgotten_is_not_held():
    heard = Heard()
    for _ in range(1000):
        heard.append(np.zeros(100, np.float32))
        heard.forget(heard.length - 250)
    assert heard.n_kept == 300


def test_a_row_is_that_of_the_engine(tmp_path):
    path = tmp_path / "noise.wav"
    samples = np.random.default_rng(0).uniform(-1, 1, 8000).astype(np.float32)
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    batch = Extractor([shape, level], workers=0).run([Item("one", str(path))])
    row = clip_table({8000: Clip(samples, 8000)}, [shape, level], "one")
    assert (row.ids, row.columns) == (batch.ids, batch.columns)
    np.testing.assert_array_equal(row.values, batch.values)


def test_too_short_and_broken_are_told_apart():
    clips = {8000: Clip(np.zeros(8000, np.float32), 8000, "short.wav")}
    with pytest.raises(TooShortError, match=r"short\.wav has 1\.0 s of audio; test\.long needs at least 2 s"):
        clip_table(clips, [level, long], "one")
    with pytest.raises(InputError, match="ValueError: no such thing"):
        clip_table(clips, [long, broken], "one")
