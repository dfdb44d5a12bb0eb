"""Entries carried from one identity to another that has the same samples."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.cache.entries import FeatureCache
from earmark.errors import CacheError

CODES = [bytes(15) + b"\0", b"c" * 16, b"\xff" * 16]
OLD, NEW, NEWER, LAST = b"o" * 16, b"n" * 16, b"m" * 16, b"\xff" * 16


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache")


def test_entries_of_every_fingerprint_are_copied(cache):
    cache.put_many([(code, OLD, np.full(3, i, np.float32)) for i, code in enumerate(CODES)])
    cache.put_many([(CODES[1], LAST, np.ones(2)), (CODES[0], bytes(16), np.ones(2))])
    assert cache.same_input([(OLD, NEW)]) == 3
    for i, code in enumerate(CODES):
        assert [array.tolist() for array in cache.get_many(code, [OLD, NEW])] == [[i] * 3] * 2
    assert cache.stats().entries == 8


def test_pairs_follow_each_other(cache):
    """Tagged, and tagged again: the first entry reaches the last content."""
    cache.put_many([(CODES[0], OLD, np.ones(2))])
    assert cache.same_input([(OLD, NEW), (NEW, NEWER)]) == 2
    assert cache.has_many(CODES[0], [OLD, NEW, NEWER]) == [True] * 3
    assert cache.same_input([(OLD, NEW), (NEWER, OLD)]) == 0, "again, and back: nothing is left to do"


def test_what_is_there_stays_and_failures_are_not_copied(cache):
    cache.put_many([(CODES[0], OLD, np.zeros(2)), (CODES[0], NEW, np.ones(2))])
    cache.fail(CODES[1], OLD, "broken")
    assert cache.same_input([(OLD, NEW)]) == 0
    assert cache.get_many(CODES[0], [NEW])[0].tolist() == [1, 1]
    assert cache.failure(CODES[1], NEW) is None


def test_nothing_to_do(cache):
    assert cache.same_input([]) == cache.same_input([(OLD, NEW)]) == 0


def test_what_is_no_identity_is_refused(cache):
    with pytest.raises(CacheError, match="16 bytes"):
        cache.same_input([(OLD, b"short")])
    cache.flush()
    with pytest.raises(CacheError, match="read_only"):
        FeatureCache(cache.path, read_only=True).same_input([(OLD, NEW)])
