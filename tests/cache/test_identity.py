"""Identity of inputs: content alone decides, and what is remembered is trusted only when it is safe to."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import fsspec
import pytest
import xxhash
from fsspec.implementations.memory import MemoryFileSystem

from earmark.cache import identity
from earmark.cache.entries import FeatureCache
from earmark.cache.identity import Identifier, identify_bytes
from earmark.errors import InputError


class Memo(dict):
    """Memory that counts what is remembered, that is: what was hashed."""

    writes = 0

    def recall(self, keys):
        return [self.get(key) for key in keys]

    def remember(self, key, value):
        self.writes += 1
        self[key] = value


@pytest.fixture
def memo() -> Memo:
    return Memo()


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.wav"
    path.write_bytes(b"some audio" * 100)
    return path


def settle(monkeypatch: pytest.MonkeyPatch, seconds: float = 10.0) -> None:
    """Let the clock run on, so that files written just now count as settled."""
    now_ns = time.time_ns
    monkeypatch.setattr(identity.time, "time_ns", lambda: now_ns() + int(seconds * 1e9))


def test_identity_is_the_hash_of_the_bytes(sample: Path, memo: Memo) -> None:
    content = sample.read_bytes()
    assert Identifier(memo).identify(sample) == identify_bytes(content) == xxhash.xxh3_128_digest(content)


@pytest.mark.parametrize("size", [0, 1, identity.BLOCK_BYTES, identity.BLOCK_BYTES + 1])
def test_files_of_any_size(tmp_path: Path, memo: Memo, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    assert Identifier(memo).identify(path) == identify_bytes(bytes(size))


def test_name_place_and_dates_do_not_matter(sample: Path, tmp_path: Path, memo: Memo) -> None:
    identifier = Identifier(memo)
    first = identifier.identify(sample)
    copy = tmp_path / "copy.wav"
    shutil.copy(sample, copy)
    os.utime(copy, (0, 0))
    assert identifier.identify(copy) == first
    (tmp_path / "folder").mkdir()
    moved = sample.rename(tmp_path / "folder" / "renamed.mp3")
    assert identifier.identify(moved) == first
    moved.touch()
    assert identifier.identify(moved) == first


def test_a_settled_file_is_hashed_once(sample: Path, memo: Memo, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    identifier = Identifier(memo)
    assert len({identifier.identify(sample) for _ in range(5)}) == 1
    assert memo.writes == 1


def test_a_file_changed_just_now_is_hashed_again_until_it_has_settled(
    sample: Path, memo: Memo, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = Identifier(memo)
    identifier.identify(sample)
    identifier.identify(sample)
    assert memo.writes == 2
    settle(monkeypatch)
    identifier.identify(sample)
    identifier.identify(sample)
    assert memo.writes == 3


def test_changed_bytes_under_the_same_name_size_and_mtime_are_seen(
    sample: Path, memo: Memo, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    identifier = Identifier(memo)
    before, status = identifier.identify(sample), sample.stat()
    sample.write_bytes(b"other audi" * 100)
    os.utime(sample, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (sample.stat().st_size, sample.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert identifier.identify(sample) != before


def test_a_change_within_the_clocks_granularity_is_seen(sample: Path, memo: Memo) -> None:
    """Whatever the timestamps say, a file written moments ago is read again."""
    identifier = Identifier(memo)
    for content in (b"a" * 100, b"b" * 100, b"c" * 100, b"d" * 100):
        with sample.open("r+b") as file:
            file.write(content)
            file.truncate(100)
        assert identifier.identify(sample) == identify_bytes(content)


def test_a_replaced_file_is_seen_by_its_inode(
    sample: Path, tmp_path: Path, memo: Memo, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    identifier = Identifier(memo)
    first = identifier.identify(sample)
    other = tmp_path / "other"
    other.write_bytes(b"SOME AUDIO" * 100)
    status = sample.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(sample)
    assert identifier.identify(sample) != first


def test_a_memo_that_is_damaged_is_not_used(
    sample: Path, memo: Memo, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    identifier = Identifier(memo)
    right = identifier.identify(sample)
    for key in memo:
        memo[key] = memo[key][:-1]
    assert identifier.identify(sample) == right


def test_errors_are_returned_in_place(sample: Path, tmp_path: Path, memo: Memo) -> None:
    found = Identifier(memo).identify_many(
        [sample, tmp_path / "gone", tmp_path, f"file://{sample}", "nul\0byte"]
    )
    assert found[0] == found[3] == identify_bytes(sample.read_bytes())
    assert isinstance(found[1], InputError)
    assert "No such file" in str(found[1])
    assert isinstance(found[2], InputError)
    assert isinstance(found[4], InputError)
    with pytest.raises(InputError, match="gone"):
        Identifier(memo).identify(tmp_path / "gone")


def test_odd_names(tmp_path: Path, memo: Memo) -> None:
    names = [
        "größe 音.wav",
        "space name",
        "a#b?c%20.wav",
        "x" * 200,
        b"\xff\xfe".decode("utf-8", "surrogateescape"),
    ]
    for name in names:
        (tmp_path / name).write_bytes(name.encode("utf-8", "surrogateescape"))
    found = Identifier(memo).identify_many([tmp_path / name for name in names])
    assert found == [identify_bytes(name.encode("utf-8", "surrogateescape")) for name in names]


def test_remote_files_without_a_checksum_are_read_each_time(memo: Memo) -> None:
    identifier = Identifier(memo)
    for content in (b"first", b"other"):
        with fsspec.open("memory://bucket/sample.wav", "wb") as file:
            file.write(content)
        assert identifier.identify("memory://bucket/sample.wav") == identify_bytes(content)
    assert memo.writes == 0


class TaggedFileSystem(MemoryFileSystem):
    """A file system that states an entity tag, as object stores do, and counts what is read."""

    protocol = "tagged"
    store: dict = {}  # noqa: RUF012 - as the base class has it
    opened = 0
    weak = False

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("tagged://").lstrip("/")

    def info(self, path, **options):
        tag = xxhash.xxh3_64_hexdigest(self.store[path].getvalue())
        return {**super().info(path, **options), "ETag": f'W/"{tag}"' if self.weak else f'"{tag}"'}

    def open(self, path, mode="rb", **options):
        TaggedFileSystem.opened += mode == "rb"
        return super().open(path, mode, **options)


@pytest.mark.parametrize("weak", [False, True])
def test_remote_files_are_remembered_by_a_strong_tag_only(
    memo: Memo, weak: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.register_implementation("tagged", TaggedFileSystem, clobber=True)
    monkeypatch.setattr(TaggedFileSystem, "weak", weak)
    monkeypatch.setattr(TaggedFileSystem, "opened", 0)
    identifier = Identifier(memo)
    for content in (b"first", b"other"):
        fsspec.filesystem("tagged").pipe_file("/sample", content)
        for _ in range(3):
            assert identifier.identify("tagged://sample") == identify_bytes(content)
    assert TaggedFileSystem.opened == (6 if weak else 2)


@pytest.mark.parametrize("uri", ["memory://bucket/gone.wav", "nosuchprotocol://x", "zip://a.wav::/none.zip"])
def test_a_remote_file_that_cannot_be_read_is_an_input_error(memo: Memo, uri: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read.*Expected a readable file"):
        Identifier(memo).identify(uri)


def test_the_cache_remembers_across_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    paths = [tmp_path / f"{number}.wav" for number in range(30)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 50)
    with FeatureCache(tmp_path / "cache") as cache:
        first = cache.identify_many(paths)
    del cache

    def refuse(file: object) -> bytes:
        raise AssertionError("hashed again")

    monkeypatch.setattr(identity, "_digest", refuse)
    assert FeatureCache(tmp_path / "cache").identify_many(paths) == first
    assert FeatureCache(tmp_path / "cache", read_only=True).identify(paths[3]) == first[3]
