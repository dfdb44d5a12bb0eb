"""stats, check, gc, compaction and verify on real caches."""

from __future__ import annotations

import dataclasses
import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from earmark.cache import records
from earmark.cache.cleaning import compact
from earmark.cache.entries import FeatureCache
from earmark.cache.store import ENTRIES, RECORDS
from earmark.errors import UsageError

OLD, NEW, OTHER = b"o" * 16, b"n" * 16, b"x" * 16


@dataclass(frozen=True)
class Version:
    digest: bytes
    parts: tuple[object, ...] = ()


def contents(count: int, start: int = 0) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(start, start + count)]


def fill(
    cache: FeatureCache, digest: bytes, ids: list[bytes], columns: int, group: str, seconds: float
) -> None:
    cache.put_many([(digest, identity, np.zeros(columns, np.float32)) for identity in ids])
    cache.record(
        group,
        Version(digest),
        columns=[f"c{index}" for index in range(columns)],
        seconds=seconds,
        bytes=4 * columns * len(ids),
        computed=len(ids),
    )


def last_used(cache: FeatureCache, digest: bytes, ago_s: float) -> None:
    """Set the time of last use back."""

    def write(transaction: object) -> None:
        usage = records.read_usage(transaction, digest)
        transaction.delete(b"u" + digest)
        moved = dataclasses.replace(usage, last_used_s=time.time() - ago_s)
        records.add_usage(transaction, digest, moved)

    cache.write(write)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[FeatureCache]:
    """Group ``mine``: 30 old entries, then 20 new ones of 10 columns; group ``theirs``: 5 of 3 columns."""
    cache = FeatureCache(tmp_path / "cache")
    fill(cache, OLD, contents(30), 8, "mine", seconds=60.0)
    time.sleep(0.01)
    fill(cache, NEW, contents(20), 10, "mine", seconds=10.0)
    fill(cache, OTHER, contents(5), 3, "theirs", seconds=1.0)
    cache.fail(NEW, *contents(1, start=25), "broken")
    return cache


def test_stats_count_what_there_is_and_what_it_cost(cache: FeatureCache) -> None:
    found = cache.stats()
    mine, theirs = found.groups
    assert (mine.group, mine.versions, mine.entries, mine.failures) == ("mine", 2, 50, 1)
    assert (mine.columns, mine.shape) == (10, (10,))
    assert mine.seconds == 70.0
    assert mine.recompute_seconds == pytest.approx(10.0)
    assert (theirs.entries, theirs.shape) == (5, (3,))
    assert found.entries == 55
    assert found.bytes == sum(version.bytes for version in found.versions) == 30 * 56 + 20 * 64 + 5 * 36
    assert [version.fingerprint for version in found.versions][:2] == [NEW.hex(), OLD.hex()]
    assert found.file_bytes == (cache.path / "data.mdb").stat().st_size
    json.dumps(dataclasses.asdict(found))


def test_entries_without_a_record_are_shown(cache: FeatureCache) -> None:
    cache.put_many([(b"?" * 16, *contents(1), np.zeros(2))])
    assert cache.stats().groups[0].group == "(unrecorded)"
    assert cache.stats().groups[0].recompute_seconds is None


def test_stats_of_an_empty_cache(tmp_path: Path) -> None:
    found = FeatureCache(tmp_path).stats()
    assert (found.entries, found.groups, found.versions) == (0, (), ())


def test_check_tells_fresh_stale_missing_and_failed(cache: FeatureCache) -> None:
    mine, theirs, unknown = cache.check({"mine": NEW, "theirs": b"z" * 16, "none": b"y" * 16}, contents(40))
    # 0-19 fresh; 20-29 only of the old code, of which 25 failed with the new; 30-39 nowhere
    assert (mine.fresh, mine.stale, mine.failed, mine.missing, mine.columns) == (20, 9, 1, 10, 10)
    assert (theirs.fresh, theirs.stale, theirs.missing, theirs.columns) == (0, 5, 35, 3)
    assert (unknown.fresh, unknown.stale, unknown.missing, unknown.columns) == (0, 0, 40, 0)


def test_check_of_a_hundred_thousand_takes_under_two_seconds(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    ids = [np.random.default_rng(0).bytes(16) for _ in range(1)] + contents(99_999)
    value = np.zeros(1, np.float32)
    cache.put_many((NEW, identity, value) for identity in ids[:50_000])
    cache.put_many((OLD, identity, value) for identity in ids[50_000:])
    for digest in (OLD, NEW):
        cache.record("mine", Version(digest), columns=("a",), seconds=1, bytes=1, computed=1)
    start = time.process_time()
    (mine,) = cache.check({"mine": NEW}, ids)
    spent = time.process_time() - start
    assert (mine.fresh, mine.stale, mine.missing) == (50_000, 50_000, 0)
    assert spent < 2.0


def test_gc_is_a_dry_run_unless_told_otherwise(cache: FeatureCache) -> None:
    cleaning = cache.gc(stale_only=True, current=[NEW, OTHER])
    assert cleaning.dry_run
    assert [version.fingerprint for version in cleaning.removed] == [OLD.hex()]
    assert (cleaning.entries, cleaning.bytes) == (30, 30 * 56)
    assert cache.stats().entries == 55
    json.dumps(dataclasses.asdict(cleaning))


def test_gc_of_stale_entries_keeps_the_current_ones(cache: FeatureCache) -> None:
    cleaning = cache.gc(stale_only=True, current=[NEW, OTHER], dry_run=False)
    assert cleaning.entries == 30
    assert cache.has_many(OLD, contents(30)) == [False] * 30
    assert cache.has_many(NEW, contents(20)) == [True] * 20
    assert [record.digest for record in cache.records("mine")] == [NEW]


def test_gc_by_age(cache: FeatureCache) -> None:
    last_used(cache, OTHER, ago_s=10 * 86_400)
    assert cache.gc(max_age_s=20 * 86_400).removed == ()
    cleaning = cache.gc(max_age_s=5 * 86_400, dry_run=False)
    assert [version.group for version in cleaning.removed] == ["theirs"]
    kept = cache.gc(max_age_s=-1.0, stale_only=True, current=[NEW, OLD, OTHER])
    assert kept.removed == ()


def test_gc_by_size_takes_stale_then_longest_unused_first(cache: FeatureCache) -> None:
    last_used(cache, NEW, ago_s=1000)
    last_used(cache, OTHER, ago_s=2000)
    assert cache.gc(max_bytes=10_000).removed == ()
    by_age = cache.gc(max_bytes=30 * 56 + 20 * 64)
    assert [version.fingerprint for version in by_age.removed] == [OTHER.hex()]
    stale_first = cache.gc(max_bytes=20 * 64 + 5 * 36, current=[NEW, OTHER])
    assert [version.fingerprint for version in stale_first.removed] == [OLD.hex()]
    everything = cache.gc(max_bytes=0, dry_run=False)
    assert everything.kept_bytes == 0
    assert cache.stats().entries == 0


def test_gc_of_stale_entries_leaves_imported_rows(cache: FeatureCache) -> None:
    fill(cache, b"i" * 16, contents(3), 2, records.IMPORTED_GROUP, seconds=0.0)
    cleaning = cache.gc(stale_only=True, current=[])
    assert {version.group for version in cleaning.removed} == {"mine", "theirs"}


def test_gc_must_be_told_what_to_remove(cache: FeatureCache) -> None:
    with pytest.raises(UsageError, match="no limit"):
        cache.gc()
    with pytest.raises(UsageError, match="current"):
        cache.gc(stale_only=True)


def test_gc_gives_the_room_back_to_the_disk(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    fill(cache, OLD, contents(1500), 1000, "mine", seconds=1.0)
    fill(cache, NEW, contents(10), 1000, "mine", seconds=1.0)
    cleaning = cache.gc(stale_only=True, current=[NEW], dry_run=False)
    assert cleaning.compacted
    assert cleaning.file_bytes_after < cleaning.file_bytes_before / 10
    assert cache.has_many(NEW, contents(10)) == [True] * 10
    cache.put_many([(NEW, identity, np.ones(3)) for identity in contents(10, start=100)])
    assert {path.name for path in tmp_path.iterdir()} == {"data.mdb", "lock.mdb"}
    assert cache.verify().bad == ()


def test_compaction_leaves_the_file_alone_while_another_process_has_it_open(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    fill(cache, OLD, contents(100), 1000, "mine", seconds=1.0)
    code = (
        "import sys; from earmark.cache.entries import FeatureCache; c = FeatureCache(sys.argv[1]);"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        inode = (tmp_path / "data.mdb").stat().st_ino
        assert not compact(cache.store)
        assert (tmp_path / "data.mdb").stat().st_ino == inode
        other.stdin.close()
    assert compact(cache.store)
    assert cache.has_many(OLD, contents(100)) == [True] * 100


def test_compaction_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / "compacted").mkdir()
    (tmp_path / "compacted" / "data.mdb").write_bytes(b"half")
    assert compact(FeatureCache(tmp_path).store)
    assert not (tmp_path / "compacted").exists()


def test_verify_finds_exactly_what_is_damaged(cache: FeatureCache) -> None:
    assert cache.verify().checked == 55 + 3
    assert cache.verify().bad == ()
    bad = contents(1, start=4)[0]

    def damage(transaction: object) -> None:
        value = bytearray(transaction.get(ENTRIES + NEW + bad))
        value[40] ^= 4
        transaction.put(ENTRIES + NEW + bad, bytes(value))
        transaction.put(ENTRIES + OLD + bad, b"")
        transaction.put(RECORDS + OTHER, b"not a record")

    cache.write(damage)
    found = cache.verify()
    assert found.deleted == 0
    assert {(one.group, one.fingerprint, one.identity) for one in found.bad} == {
        ("mine", NEW.hex(), bad.hex()),
        ("mine", OLD.hex(), bad.hex()),
        ("(unrecorded)", OTHER.hex(), ""),
    }
    json.dumps(dataclasses.asdict(found))
    assert cache.verify(delete=True).deleted == 3
    assert cache.verify().bad == ()
    assert cache.has_many(NEW, [bad]) == [False]
    assert cache.stats().entries == 53


def test_stats_survive_a_damaged_record(cache: FeatureCache) -> None:
    cache.write(lambda transaction: transaction.put(RECORDS + OTHER, b"not a record"))
    assert {group.group for group in cache.stats().groups} == {"mine", "(unrecorded)"}
    assert cache.records("theirs") == []


def test_verify_goes_on_over_many_chunks(cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.cache.verification.CHUNK", 7)
    assert cache.verify().checked == 58


def test_reports_do_not_hold_the_cache_open(cache: FeatureCache) -> None:
    path = cache.path
    report = cache.stats()
    del cache
    gc.collect()
    assert report.path == str(path)
