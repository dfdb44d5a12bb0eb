"""Windows of heard audio: whatever the pieces, the ratio of window and hop, and the gaps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.appliance.serving.ring import Grid, Ring
from earmark.tasks.appliance.windows import Windowing

RATE = 100


def pieces_of(signal, sizes):
    start = 0
    for size in sizes:
        yield signal[start : start + size]
        start += size
    yield signal[start:]


@given(
    st.floats(0.02, 3.0),
    st.floats(0.02, 4.0),
    st.lists(st.integers(0, 250), max_size=12),
    st.integers(0, 1500),
)
def test_windows_are_those_of_the_whole_signal(window_s, hop_s, sizes, n_samples):
    signal = np.arange(n_samples, dtype=np.float32)
    grid = Grid(window_s, hop_s, RATE)
    ring = Ring(grid)
    found = [window for piece in pieces_of(signal, sizes) for window in ring.push(piece)]
    starts = [round(k * hop_s * RATE) for k in range(n_samples + 1)]
    expected = [s for s in starts if s + grid.n_samples <= n_samples][: len(found) + 1]
    assert [window.index for window in found] == list(range(len(found)))
    assert [window.clip.samples[0] for window in found] == expected
    assert all(
        np.array_equal(w.clip.samples, signal[s : s + grid.n_samples])
        for w, s in zip(found, expected, strict=True)
    )
    assert grid.count(n_samples) == len(found)
    assert ring.n_heard == n_samples


def test_five_seconds_every_one_and_a_half_answer_and_no_sample_is_lost():
    ring = Ring(Grid(5.0, 1.5, RATE))
    found = [window for _ in range(100) for window in ring.push(np.zeros(37, np.float32))]
    assert len(found) == 1 + int((3700 - 500) / 150)
    assert ring.n_heard == 3700 and ring.n_held < 500 + 150 + 37


def test_nothing_spans_a_gap_and_numbers_go_on():
    ring = Ring(Grid(2.0, 1.0, RATE))
    before = list(ring.push(np.full(350, 1, np.float32)))
    ring.restart()
    after = list(ring.push(np.full(300, 2, np.float32)))
    assert [w.index for w in before + after] == [0, 1, 2, 3]
    assert all((w.clip.samples == 2).all() for w in after)
    assert [w.start_s for w in after] == [3.5, 4.5]


@given(st.floats(0.5, 8.0), st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 1 / 3]), st.integers(0, 16_000 * 40))
def test_the_grid_is_that_of_prepare(window_s, hop_s, n_samples):
    grid, windowing = Grid(window_s, hop_s, 16_000), Windowing(window_s, hop_s)
    starts = windowing.first_samples(windowing.starts_s(n_samples))
    assert [grid.first(k) for k in range(grid.count(n_samples))] == starts.tolist()


def test_a_window_of_nothing_is_refused():
    with pytest.raises(UsageError, match="at least one sample"):
        Grid(6.0, 0.0, 16_000)
