"""`FeatureCache`: entries, failures, records and data files, on a real store in a temporary folder."""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from earmark.cache import records
from earmark.cache.entries import FeatureCache, default_cache_path
from earmark.cache.fingerprint import fingerprint
from earmark.cache.records import Failure
from earmark.cache.store import ENTRIES, FAILURES, is_busy
from earmark.errors import CacheError

CODE, OTHER_CODE = b"c" * 16, b"d" * 16


@dataclass(frozen=True)
class Version:
    digest: bytes
    parts: tuple[object, ...] = ()


@dataclass(frozen=True)
class Piece:
    kind: str
    name: str
    digest: bytes


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def contents(count: int, start: int = 0) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(start, start + count)]


def damage(cache: FeatureCache, fingerprint: bytes, identity: bytes) -> None:
    """Flip one bit of the last sample of an entry."""

    def flip(transaction: object) -> None:
        key = ENTRIES + fingerprint + identity
        value = bytearray(transaction.get(key))
        value[-1] ^= 1
        transaction.put(key, bytes(value))

    cache.write(flip)


def test_what_is_put_is_got_in_the_order_asked(cache: FeatureCache) -> None:
    ids = contents(50)
    arrays = [np.full(5, index, np.float32) for index in range(50)]
    cache.put_many([(CODE, identity, array) for identity, array in zip(ids, arrays, strict=True)])
    asked = [*reversed(ids), ids[3], ids[3], b"?" * 16]
    found = cache.get_many(CODE, asked)
    assert found[-1] is None
    for identity, array in zip(asked[:-1], found[:-1], strict=True):
        np.testing.assert_array_equal(array, arrays[ids.index(identity)])


def test_fingerprints_do_not_mix(cache: FeatureCache) -> None:
    (identity,) = contents(1)
    cache.put_many([(CODE, identity, np.ones(2)), (OTHER_CODE, identity, np.zeros(2))])
    assert cache.get_many(CODE, [identity])[0].tolist() == [1, 1]
    assert cache.get_many(OTHER_CODE, [identity])[0].tolist() == [0, 0]
    assert cache.has_many(b"e" * 16, [identity]) == [False]


def test_a_later_put_replaces_also_within_one_batch(cache: FeatureCache) -> None:
    (identity,) = contents(1)
    cache.put_many([(CODE, identity, np.zeros(2)), (CODE, identity, np.ones(3))])
    assert cache.get_many(CODE, [identity])[0].tolist() == [1, 1, 1]
    cache.put_many([(CODE, identity, np.full(1, 7.0))])
    assert cache.get_many(CODE, [identity])[0].tolist() == [7]


def test_arrays_are_the_callers_own(cache: FeatureCache) -> None:
    (identity,) = contents(1)
    cache.put_many([(CODE, identity, np.zeros(4))])
    first = cache.get_many(CODE, [identity])[0]
    first += 1
    assert cache.get_many(CODE, [identity])[0].tolist() == [0, 0, 0, 0]


def test_arrays_outlive_the_cache(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    ids = contents(20)
    cache.put_many([(CODE, identity, np.full(1000, 3.0)) for identity in ids])
    arrays = cache.get_many(CODE, ids)
    stacked, _ = cache.stack(CODE, ids, 1000)
    del cache
    gc.collect()
    assert all((array == 3.0).all() for array in arrays)
    assert (stacked == 3.0).all()


def test_stack_marks_what_is_missing_or_of_another_length(cache: FeatureCache) -> None:
    ids = contents(4)
    cache.put_many(
        [
            (CODE, ids[0], np.arange(3, dtype=np.float64)),
            (CODE, ids[2], np.zeros(4)),
            (CODE, ids[3], np.zeros((1, 3))),
        ]
    )
    values, found = cache.stack(CODE, ids, 3)
    assert values.dtype == np.float32
    assert found.tolist() == [True, False, False, False]
    np.testing.assert_array_equal(values[0], [0, 1, 2])
    assert np.isnan(values[1:]).all()


def test_nothing_asked_is_nothing_found(cache: FeatureCache) -> None:
    cache.put_many([])
    assert cache.get_many(CODE, []) == []
    assert cache.has_many(CODE, []) == []
    assert cache.stack(CODE, [], 7)[0].shape == (0, 7)


def test_a_batch_with_an_array_that_cannot_be_stored_stores_nothing(cache: FeatureCache) -> None:
    ids = contents(2)
    with pytest.raises(CacheError, match="plain numbers"):
        cache.put_many([(CODE, ids[0], np.ones(2)), (CODE, ids[1], np.array(["text"]))])
    assert cache.has_many(CODE, ids) == [False, False]


@pytest.mark.parametrize("wrong", [b"", b"short", b"x" * 17])
def test_digests_of_another_length_are_refused(cache: FeatureCache, wrong: bytes) -> None:
    with pytest.raises(CacheError, match="expected 16"):
        cache.get_many(wrong, contents(1))
    with pytest.raises(CacheError, match="expected 16"):
        cache.put_many([(CODE, wrong, np.ones(1))])


def test_a_damaged_entry_is_a_miss_logged_once_and_healed_by_the_next_put(
    cache: FeatureCache, caplog: pytest.LogCaptureFixture
) -> None:
    ids = contents(2)
    cache.put_many([(CODE, identity, np.ones(100, np.float32)) for identity in ids])
    damage(cache, CODE, ids[0])
    with caplog.at_level(logging.WARNING, "earmark.cache.entries"):
        for _ in range(3):
            assert cache.get_many(CODE, ids)[0] is None
            assert cache.stack(CODE, ids, 100)[1].tolist() == [False, True]
    assert len(caplog.records) == 1
    assert "checksum" in caplog.text
    cache.put_many([(CODE, ids[0], np.ones(100, np.float32))])
    assert cache.get_many(CODE, ids)[0] is not None


def test_failures_are_kept_until_success_or_cleared(cache: FeatureCache) -> None:
    ids = contents(3)
    cache.fail(CODE, ids[0], "not audio: größe")
    cache.fail_many([(code, ids[1], "too short", "TooShortError") for code in (CODE, OTHER_CODE)])
    assert cache.failure(CODE, ids[0]).error == "not audio: größe"
    assert [failure.kind for failure in cache.failures(CODE, ids[:2])] == ["InputError", "TooShortError"]
    assert abs(cache.failure(CODE, ids[0]).time_s - time.time()) < 60
    assert [found is not None for found in cache.failures(CODE, ids)] == [True, True, False]
    cache.put_many([(CODE, ids[1], np.ones(1))])
    assert cache.failure(CODE, ids[1]) is None
    assert cache.failure(OTHER_CODE, ids[1]) is not None
    assert cache.clear_failures(CODE) == 1
    assert cache.clear_failures() == 1
    assert cache.failures(OTHER_CODE, ids) == [None, None, None]


def test_failures_of_earlier_versions_have_no_kind_of_their_own(cache: FeatureCache) -> None:
    (identity,) = contents(1)
    stored = b'{"error": "broken", "time_s": 1.5}'
    cache.write(lambda transaction: transaction.put(FAILURES + CODE + identity, stored))
    assert cache.failure(CODE, identity) == Failure("broken", 1.5, "InputError")


def test_records_add_up_and_come_newest_first(cache: FeatureCache) -> None:
    old = Version(CODE, (Piece("function", "mine.f", b"\x01\x02"), {"kind": "parameter", "value": 3}))
    cache.record("mine", old, columns=("a", "b"), seconds=1.5, bytes=80, computed=10)
    time.sleep(0.01)
    cache.record("mine", Version(OTHER_CODE), columns=("a",), seconds=1.0, bytes=8, computed=1)
    cache.record("mine", old, columns=("a", "b"), seconds=0.5, bytes=20, computed=5)
    cache.record("theirs", Version(b"t" * 16), columns=(), seconds=0.0, bytes=0)
    newest, oldest = cache.records("mine")
    assert (newest.digest, oldest.digest) == (OTHER_CODE, CODE)
    assert oldest.columns == ("a", "b")
    assert oldest.parts == (
        {"kind": "function", "name": "mine.f", "digest": "0102"},
        {"kind": "parameter", "value": 3},
    )
    assert (oldest.usage.seconds, oldest.usage.bytes, oldest.usage.computed) == (2.0, 100, 15)
    assert len(cache.records()) == 3
    assert cache.records("none") == []


def test_a_real_fingerprint_is_stored_with_its_parts(cache: FeatureCache) -> None:
    def double(x: float) -> float:
        return 2 * x

    found = fingerprint(double)
    cache.record("mine", found, columns=("y",), seconds=0.1, bytes=4, computed=1)
    (record,) = cache.records("mine")
    assert record.digest == found.digest
    assert len(record.parts) == len(found.parts)
    assert any("2 * x" in json.dumps(part) for part in record.parts)


def test_last_use_is_written_coarsely(cache: FeatureCache) -> None:
    cache.record("mine", Version(CODE), columns=(), seconds=0, bytes=0)
    then = time.time() - 3 * records.TOUCH_INTERVAL_S

    def age(transaction: object) -> None:
        transaction.delete(b"u" + CODE)
        records.add_usage(transaction, CODE, records.Usage(last_used_s=then, computed=1))

    cache.write(age)
    path = cache.path
    del cache
    gc.collect()
    FeatureCache(path).get_many(CODE, contents(1))
    gc.collect()  # the end of the object writes what waited
    assert FeatureCache(path).records("mine")[0].usage.last_used_s == pytest.approx(time.time(), abs=60)


def test_data_files_are_remembered_per_function(cache: FeatureCache) -> None:
    assert cache.reads() == {}
    cache.remember_reads({b"m.f#1": ["b.csv", "a.csv"], b"m.g#2": []})
    cache.remember_reads({b"m.g#2": ["c.csv"]})
    assert cache.reads() == {"m.f#1": ("b.csv", "a.csv"), "m.g#2": ("c.csv",)}


def test_read_only_reads_and_does_not_write(tmp_path: Path) -> None:
    (identity,) = contents(1)
    FeatureCache(tmp_path).put_many([(CODE, identity, np.ones(2))])
    gc.collect()
    before = (tmp_path / "data.mdb").read_bytes()
    reader = FeatureCache(tmp_path, read_only=True)
    assert reader.read_only
    assert reader.get_many(CODE, [identity])[0].tolist() == [1, 1]
    sample = tmp_path / "sample"
    sample.write_bytes(b"content")
    reader.identify(sample)
    for write in (
        lambda: reader.put_many([(CODE, identity, np.ones(2))]),
        lambda: reader.fail(CODE, identity, "no"),
        lambda: reader.record("g", Version(CODE), columns=(), seconds=0, bytes=0),
        lambda: reader.clear_failures(),
        lambda: reader.remember_reads({b"f": []}),
    ):
        with pytest.raises(CacheError, match="read_only"):
            write()
    reader.close()
    assert (tmp_path / "data.mdb").read_bytes() == before


def test_a_writer_may_join_a_reader_of_the_same_process(tmp_path: Path) -> None:
    (identity,) = contents(1)
    FeatureCache(tmp_path).close()
    reader = FeatureCache(tmp_path, read_only=True)
    writer = FeatureCache(tmp_path)
    writer.put_many([(CODE, identity, np.ones(2))])
    assert reader.has_many(CODE, [identity]) == [True]
    assert reader.read_only
    assert not writer.read_only


def test_reading_a_cache_that_does_not_exist_is_an_error_and_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no cache at"):
        FeatureCache(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()


def test_several_spellings_of_a_path_are_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    caches = [FeatureCache(path) for path in ("cache", tmp_path / "cache", "./x/../cache", "link")]
    caches[0].put_many([(CODE, *contents(1), np.ones(1))])
    assert all(cache.has_many(CODE, contents(1)) == [True] for cache in caches)
    assert len({str(cache.path) for cache in caches}) == 1


def test_a_pickled_cache_opens_the_same_folder(cache: FeatureCache) -> None:
    cache.put_many([(CODE, *contents(1), np.ones(1))])
    assert pickle.loads(pickle.dumps(cache)).has_many(CODE, contents(1)) == [True]  # noqa: S301
    code = "import pickle, sys; c = pickle.load(sys.stdin.buffer); print(c.has_many(b'c' * 16, [bytes(16)]))"
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(cache), capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "[True]"


def test_a_forked_child_writes_and_the_parent_sees_it(cache: FeatureCache) -> None:
    ids = contents(3)
    cache.put_many([(CODE, ids[0], np.ones(1))])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert cache.has_many(CODE, ids[:1]) == [True]
            cache.put_many([(CODE, ids[1], np.ones(1))])
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    cache.put_many([(CODE, ids[2], np.ones(1))])
    assert cache.has_many(CODE, ids) == [True, True, True]


def test_forks_while_threads_read_and_write(cache: FeatureCache) -> None:
    """A fork in the middle of other threads' transactions leaves parent and child with a working cache."""
    ids = contents(200)
    cache.put_many([(CODE, identity, np.full(300, 5.0)) for identity in ids[:100]])
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            wrong.extend(a for a in cache.get_many(CODE, ids[:100]) if a is None or (a != 5.0).any())

    def write() -> None:
        while not stop.is_set():
            cache.put_many([(CODE, ids[100], np.full(300, 6.0))])

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    statuses = []
    for _ in range(10):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                fine = all(
                    array is not None and (array == 5.0).all() for array in cache.get_many(CODE, ids[:100])
                )
                status = 0 if fine else 2
            finally:
                os._exit(status)
        statuses.append(os.waitpid(child, 0)[1])
    stop.set()
    for thread in threads:
        thread.join()
    assert statuses == [0] * 10
    assert wrong == []


def test_a_cache_collected_in_the_middle_of_a_transaction_does_not_hang(
    cache: FeatureCache, tmp_path: Path
) -> None:
    sample = tmp_path / "sample"
    sample.write_bytes(b"content")

    def abandon() -> None:
        """Leave a cache with something to write in a cycle, and collect it."""
        other = FeatureCache(cache.path)
        other.remember(b"key", b"value")
        other.itself = other
        del other
        gc.collect()

    with cache.store.read():
        abandon()
    cache.write(lambda transaction: abandon())
    abandon()
    assert cache.recall([b"key"]) == [b"value"]
    cache.put_many([(CODE, *contents(1), np.ones(1))])
    assert not is_busy()


def test_threads_share_one_cache_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.cache.store.INITIAL_MAP_BYTES", 1 << 20)
    cache = FeatureCache(tmp_path)
    start = cache.store.map_bytes()
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for batch in range(10):
                ids = contents(20, start=1000 * number + 20 * batch)
                cache.put_many([(CODE, identity, np.full(2000, number, np.float32)) for identity in ids])
                assert all((array == number).all() for array in cache.get_many(CODE, ids))
        except BaseException as error:  # noqa: BLE001 - reported below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert cache.store.map_bytes() > start
    assert sum(cache.has_many(CODE, contents(200, 1000 * number))[0] for number in range(4)) == 4


def test_the_default_place_is_in_the_project_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARMARK_CACHE", raising=False)
    assert default_cache_path(tmp_path) == tmp_path / ".earmark" / "cache"
    monkeypatch.setenv("EARMARK_CACHE", "/elsewhere")
    assert default_cache_path(tmp_path) == Path("/elsewhere")


def test_a_bulk_read_of_the_goal_size_is_fast(cache: FeatureCache) -> None:
    """415 tracks x 55 columns in under 50 ms of processor time."""
    ids = contents(415)
    matrix = np.random.default_rng(0).random((415, 55), np.float32)
    cache.put_many([(CODE, identity, row) for identity, row in zip(ids, matrix, strict=True)])
    start = time.process_time()
    values, found = cache.stack(CODE, ids, 55)
    spent = time.process_time() - start
    assert found.all()
    np.testing.assert_array_equal(values, matrix)
    assert spent < 0.050
