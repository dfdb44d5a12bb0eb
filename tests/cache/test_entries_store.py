"""The store under the cache refuses what it cannot read safely, and says what to do."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import lmdb
import numpy as np
import pytest

from earmark.cache.entries import FeatureCache
from earmark.cache.store import META, open_store
from earmark.errors import CacheError

CODE = b"c" * 16


def filled(folder: Path, count: int = 300) -> None:
    """Make a cache of about a megabyte and close it."""
    FeatureCache(folder).put_many(
        [(CODE, n.to_bytes(16, "big"), np.zeros(1000, np.float32)) for n in range(count)]
    )
    gc.collect()


def test_a_truncated_file_is_refused_before_it_can_crash(tmp_path: Path) -> None:
    filled(tmp_path)
    os.truncate(tmp_path / "data.mdb", 100_000)
    with pytest.raises(CacheError, match="truncated"):
        FeatureCache(tmp_path)


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"\0" * 8192, b"x"])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(CacheError, match="cache"):
        FeatureCache(tmp_path)


def test_a_store_of_another_layout_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    with lmdb.open(str(tmp_path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(META + b"layout", b"99")
    with pytest.raises(CacheError, match="layout b'99'"):
        FeatureCache(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(CacheError, match="cannot be used"):
        FeatureCache(tmp_path / "cache")


def test_the_environment_closes_with_its_last_user(tmp_path: Path) -> None:
    first, second = open_store(tmp_path, read_only=False), open_store(tmp_path, read_only=False)
    assert first is second
    del first, second
    gc.collect()
    with lmdb.open(str(tmp_path)) as environment:  # refused while it is open anywhere else in this process
        assert environment.stat()["entries"] == 1


def test_there_is_one_data_file(tmp_path: Path) -> None:
    filled(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"data.mdb", "lock.mdb"}


def test_a_key_that_is_too_long_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    with pytest.raises(CacheError):
        cache.remember_reads({b"ok": ["a"], b"x" * 600: ["b"]})
    assert cache.reads() == {}
