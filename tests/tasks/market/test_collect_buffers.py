"""Buffers: each limit, the limit that adapts, sweeps, statistics."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.errors import UsageError
from earmark.tasks.market.collect.buffers import PROFILES, BufferLimits, SampleBuffers, limits_of, resident_mb
from earmark.tasks.market.collect.pipeline import Sample

FEATURES = np.zeros(112, np.float32)
BYTES = 2 * FEATURES.nbytes + 500


def sample(symbol="A", time_ms=0):
    return Sample(symbol, time_ms, 0, 0, FEATURES, FEATURES, 1.0, 1.0, 0.5, 0, False)


def fill(buffers, n, symbol="A", now_s=0.0):
    return [buffers.add(sample(symbol, number), now_s) for number in range(n)]


def test_the_profiles_are_those_of_the_specification():
    guide, bot = PROFILES["guide"], PROFILES["bot"]
    assert (guide.max_samples_per_file, guide.max_buffer_memory_mb, guide.max_buffer_age_s) == (
        2000,
        200,
        None,
    )
    assert (bot.max_samples_per_file, bot.max_buffer_memory_mb, bot.max_buffer_age_s) == (60, 20, 900)
    assert limits_of("bot", max_samples_per_file=7, max_buffer_age_s=None) == BufferLimits(7, 20, 900)


def test_samples_must_be_kept_somewhere():
    with pytest.raises(UsageError, match="kept nowhere"):
        limits_of("guide", enable_feature_store=False)
    limits_of("guide", enable_feature_store=False, use_legacy_format=True)


def test_a_buffer_is_due_at_its_number():
    assert fill(SampleBuffers(("A",), BufferLimits(3)), 3) == [False, False, True]


def test_a_buffer_is_due_at_nine_tenths_of_its_memory():
    buffers = SampleBuffers(("A",), BufferLimits(2000, 10 * BYTES / 1e6))
    assert fill(buffers, 9) == [False] * 8 + [True]


def test_a_buffer_is_due_at_its_age_with_ten_samples():
    buffers = SampleBuffers(("A", "B"), BufferLimits(2000, 200, 900))
    fill(buffers, 10)
    fill(buffers, 9, "B")
    assert buffers.due(899.0) == []
    assert buffers.due(900.0) == ["A"]


@pytest.mark.parametrize(("n_symbols", "least"), [(40, 5), (20, 15), (19, 30)])
def test_a_sweep_takes_what_is_worth_a_file(n_symbols, least):
    symbols = tuple(f"S{number}" for number in range(n_symbols))
    buffers = SampleBuffers(symbols, BufferLimits())
    fill(buffers, least, "S0")
    fill(buffers, least - 1, "S1")
    assert buffers.due(1079.0, rss_mb=0) == []
    assert buffers.due(1080.0, rss_mb=0) == ["S0"]
    assert buffers.due(1081.0, rss_mb=0) == []


def test_a_large_process_sweeps_too_and_is_looked_at_every_five_minutes():
    buffers = SampleBuffers(("A",), BufferLimits())
    fill(buffers, 30)
    assert buffers.due(299.0, rss_mb=5000) == []
    assert buffers.due(300.0, rss_mb=5000) == ["A"]
    assert resident_mb() > 10


def test_the_limit_adapts_to_memory_every_hundred_samples():
    buffers = SampleBuffers(("A",), BufferLimits(2000, 250 * BYTES / 1e6))
    limits = []
    for _ in range(2):
        fill(buffers, 100)
        limits.append(buffers.limit)
    assert limits == [2000, 1000]  # 40 %, then 80 % of the cap
    fill(buffers, 0)
    buffers.take(["A"])
    fill(buffers, 150)
    assert buffers.limit == 2000
    fill(buffers, 50)
    other = SampleBuffers(("A",), BufferLimits(2000, 160 * BYTES / 1e6))
    fill(other, 100)
    assert other.limit == 1500  # 62.5 %


def test_statistics_and_taking():
    buffers = SampleBuffers(("A", "B"), BufferLimits(10))
    fill(buffers, 5)
    found = buffers.statistics()
    assert found["total_samples"] == 5
    assert found["symbols"]["A"] == {
        "total_samples": 5,
        "buffer_size": 5,
        "buffer_memory_mb": 5 * BYTES / 1e6,
        "utilisation_percent": 50.0,
    }
    assert [s.time_ms for s in buffers.take()["A"]] == [0, 1, 2, 3, 4]
    assert buffers.take() == {}
