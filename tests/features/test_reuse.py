"""Groups that build on other groups: what the cache knows is handed in, and the values do not depend on it."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from earmark.cache.entries import FeatureCache
from earmark.features.extractor import Extractor
from earmark.features.group import feature_group, fingerprints
from earmark.features.item import Item

RATE = 8_000
calls: list[str] = []


@feature_group("reuse.events", columns=("time_s",), sample_rate=RATE, kind="events")
def events(clip):
    calls.append("events")
    return np.flatnonzero(clip.samples > 0.5)[:, None] / RATE


@feature_group("reuse.gaps", columns=("median_s",), sample_rate=RATE, reuses=(events,))
def gaps(clip):
    calls.append("gaps")
    return [np.median(np.diff(events.on(clip)[:, 0]))]


@feature_group("reuse.share", columns=("per_s",), sample_rate=RATE, reuses=(gaps,))
def share(clip):
    calls.append("share")
    return [1 / gaps.on(clip)[0]]


@pytest.fixture
def items(tmp_path):
    calls.clear()
    made = []
    for seed in range(3):
        path = tmp_path / f"{seed}.wav"
        soundfile.write(path, np.random.default_rng(seed).uniform(-1, 1, RATE).astype(np.float32), RATE)
        made.append(Item(str(seed), str(path)))
    return made


def test_a_reused_group_runs_once_per_clip(items):
    Extractor([share, gaps, events], workers=0).run(items[:1])
    assert sorted(calls) == ["events", "gaps", "share"]


@pytest.mark.parametrize("workers", [0, 2])
def test_cached_rows_are_handed_in_and_change_nothing(items, tmp_path, workers):
    cold = Extractor([share], workers=0).run(items)
    with FeatureCache(tmp_path / "cache") as cache:
        Extractor([events], cache, workers=0).run(items)
        calls.clear()
        warm = Extractor([share], cache, workers=workers).run(items)
    assert warm.values.tobytes() == cold.values.tobytes()
    assert "events" not in calls


def test_rows_handed_in_are_the_ones_used(items, tmp_path):
    """The cache holds other events than the code gives: a result that ignored them would not differ."""
    with FeatureCache(tmp_path / "cache") as cache:
        digest = fingerprints([events])["reuse.events"].digest
        planted = np.array([[0.0], [0.25], [0.5]], dtype=np.float32)
        cache.put_many([(digest, cache.identify(items[0].uri), planted)])
        table = Extractor([share], cache, workers=0).run(items[:1])
    assert table.values[0, 0] == 4.0
    assert calls == ["share", "gaps"]


def test_another_reused_group_is_another_key():
    other = share.with_parameters()
    object.__setattr__(other, "reuses", (events,))
    assert share.fingerprint().digest != other.fingerprint().digest


def test_a_failure_below_fails_what_builds_on_it(items):
    strict = events.with_parameters("reuse.events")
    object.__setattr__(strict, "min_duration_s", 2.0)

    @feature_group("reuse.count", columns=("n",), sample_rate=RATE, reuses=(strict,))
    def count(clip):
        return [len(strict.on(clip))]

    failure = Extractor([count], workers=0).run(items[:1]).failures[0]
    assert failure.kind == "TooShortError"
