"""adopt: old entries are kept only if a recomputed sample agrees; otherwise nothing is touched."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from earmark.cache.adopt import differences
from earmark.cache.entries import FeatureCache
from earmark.errors import CacheError, UsageError

OLD, NEW = b"o" * 16, b"n" * 16
COLUMNS = ("a", "b", "c")


@dataclass(frozen=True)
class Version:
    digest: bytes
    parts: tuple[object, ...] = ()


def contents(count: int, start: int = 0) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(start, start + count)]


def value_of(identity: bytes) -> np.ndarray:
    """What both versions of the code compute."""
    return np.random.default_rng(identity[-1]).random(3, np.float32)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    cache = FeatureCache(tmp_path)
    cache.put_many([(OLD, identity, value_of(identity)) for identity in contents(40)])
    cache.record("mine", Version(OLD), columns=COLUMNS, seconds=20.0, bytes=480, computed=40)
    cache.fail(OLD, *contents(1, start=50), "broken")
    return cache


def adopt(cache: FeatureCache, recompute=None, **options):
    settings = {"columns": COLUMNS, "identities": contents(60), **options}
    settings["recompute"] = recompute or (lambda ids: [value_of(identity) for identity in ids])
    return cache.adopt("mine", OLD, Version(NEW, ({"kind": "function"},)), **settings)


def test_equal_values_move_all_entries(cache: FeatureCache) -> None:
    asked: list[bytes] = []

    def recompute(ids):
        asked.extend(ids)
        return [value_of(identity) for identity in ids]

    result = adopt(cache, recompute, sample=7)
    assert (result.adopted, result.entries, result.compared, result.differences) == (True, 40, 7, ())
    assert len(set(asked)) == 7
    assert set(asked) <= set(contents(40))
    for identity, array in zip(contents(40), cache.get_many(NEW, contents(40)), strict=True):
        np.testing.assert_array_equal(array, value_of(identity))
    assert cache.has_many(OLD, contents(40)) == [False] * 40
    assert cache.failures(OLD, contents(60)) == [None] * 60
    newest, oldest = cache.records("mine")
    assert (newest.digest, newest.usage.seconds, newest.usage.computed) == (NEW, 20.0, 40)
    assert newest.parts == ({"kind": "function"},)
    assert oldest.digest == OLD
    assert cache.verify().bad == ()


def test_one_difference_refuses_and_touches_nothing(cache: FeatureCache) -> None:
    before = (cache.path / "data.mdb").read_bytes()

    def recompute(ids):
        arrays = [value_of(identity) for identity in ids]
        arrays[3][1] = np.nextafter(arrays[3][1], np.float32(2))
        return arrays

    result = adopt(cache, recompute, sample=10)
    (found,) = result.differences
    assert (result.adopted, result.entries, result.compared) == (False, 0, 10)
    assert found.column == "b"
    assert found.old == value_of(bytes.fromhex(found.identity))[1]
    assert found.new > found.old
    cache.flush()
    assert (cache.path / "data.mdb").read_bytes() == before
    json.dumps(dataclasses.asdict(result))


def test_a_stated_tolerance_lets_rounding_pass(cache: FeatureCache) -> None:
    def recompute(ids):
        return [value_of(identity) * np.float32(1 + 1e-6) for identity in ids]

    assert not adopt(cache, recompute).adopted
    assert adopt(cache, recompute, tolerance=1e-5).adopted
    # what is kept are the old values, not the recomputed ones
    np.testing.assert_array_equal(cache.get_many(NEW, contents(1))[0], value_of(contents(1)[0]))


def test_the_sample_is_drawn_by_the_seed(cache: FeatureCache) -> None:
    drawn = []
    for seed in (1, 1, 2):
        with pytest.raises(ZeroDivisionError):
            adopt(cache, lambda ids: drawn.append(ids) or 1 / 0, sample=5, seed=seed)
    assert drawn[0] == drawn[1] != drawn[2]
    assert cache.has_many(OLD, contents(40)) == [True] * 40


def test_entries_of_the_new_code_stay(cache: FeatureCache) -> None:
    fresh = np.full(3, 9.0, np.float32)
    cache.put_many([(NEW, contents(1)[0], fresh)])
    assert adopt(cache, identities=contents(39, start=1)).adopted
    np.testing.assert_array_equal(cache.get_many(NEW, contents(1))[0], fresh)


def test_nothing_to_compare_is_an_error(cache: FeatureCache) -> None:
    with pytest.raises(CacheError, match="nothing to compare"):
        adopt(cache, identities=contents(3, start=90))
    with pytest.raises(UsageError):
        adopt(cache, sample=0)
    with pytest.raises(UsageError):
        adopt(cache, tolerance=float("nan"))


@pytest.mark.parametrize(
    ("old", "new", "tolerance", "columns"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, []),
        ([1.0, np.nan], [1.0, np.nan], 0.0, []),
        ([1.0, np.nan], [1.0, np.nan], 0.1, []),
        ([1.0, np.nan], [1.0, 2.0], 10.0, ["1"]),
        ([1.0, np.inf], [1.0, np.inf], 0.1, []),
        ([1.0, np.inf], [1.0, -np.inf], 0.1, ["1"]),
        ([100.0, 1.0], [101.0, 1.5], 0.02, ["1"]),
        ([0.0], [-0.0], 0.0, ["0"]),
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.5, 4.0]], 0.0, ["0"]),
        ([1.0, 2.0], [1.0, 2.0, 3.0], 0.5, ["shape (2,) -> (3,)"]),
        (3.0, 4.0, 0.0, ["0"]),
        ([], [], 0.0, []),
    ],
)
def test_differences(old, new, tolerance: float, columns: list[str]) -> None:
    found = differences(bytes(16), (), np.array(old), np.array(new), tolerance)
    assert [one.column for one in found] == columns


def test_another_dtype_is_a_difference_unless_a_tolerance_is_given() -> None:
    old, new = np.ones(2, np.float32), np.ones(2)
    assert [one.column for one in differences(bytes(16), (), old, new, 0.0)] == ["dtype float32 -> float64"]
    assert differences(bytes(16), (), old, new, 1e-9) == []
