"""The cache under kill -9, several processes, a full disk, folders without write access: nothing wrong is returned."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cache_writer
from cache_writer import CODE, N_IDENTITIES, identity_of, is_right

from earmark.cache.entries import FeatureCache
from earmark.errors import CacheError

WRITER = [sys.executable, cache_writer.__file__]
KILLS = 220


def start(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*WRITER, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    )


def stored_generation(folder: Path) -> int:
    """Open the cache anew, check everything in it, and return the generation of input 0 (0 when there is none)."""
    cache = FeatureCache(folder)
    arrays = cache.get_many(CODE, [identity_of(number) for number in range(N_IDENTITIES)])
    assert all(array is None or is_right(number, array) for number, array in enumerate(arrays))
    found = cache.verify()
    assert found.bad == ()
    assert cache.stats().entries == sum(array is not None for array in arrays)
    return 0 if arrays[0] is None else int(arrays[0][0])


def test_two_hundred_kills_at_random_points(tmp_path: Path) -> None:
    """After each kill the cache opens, all of it is right, and nothing that was committed is gone."""
    chance = random.Random(7)
    folder = tmp_path / "cache"
    generation, committed = 0, 0
    with start("serve", folder) as server:
        for kill in range(KILLS):
            server.stdin.write(f"{generation}\n".encode())
            server.stdin.flush()
            said = [server.stdout.readline()]
            while not said[-1].startswith(b"pid"):
                said.append(server.stdout.readline())
            child = int(said[-1].split()[1])
            if (
                kill % 2
            ):  # half of the kills while the writer opens or first writes, half while it is at full speed
                said.append(server.stdout.readline())
            time.sleep(chance.uniform(0.0, 0.006))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            while said[-1] != b"end\n":
                said.append(server.stdout.readline())
            acknowledged = [int(line) for line in said if line.strip().isdigit()]
            committed = max([committed, *acknowledged])
            if (folder / "data.mdb").exists():
                generation = stored_generation(folder)
            assert generation >= committed
        server.stdin.close()
    assert committed > KILLS / 4, "the writers were killed before they wrote: nothing was tested"
    FeatureCache(folder).put_many([(CODE, identity_of(1), cache_writer.array_of(1, 1))])


def test_two_writers_and_a_reader_while_the_map_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earmark.cache.store.INITIAL_MAP_BYTES", 1 << 20)
    count = 1000
    reader = FeatureCache(tmp_path)
    numbers = list(range(2 * count))
    identities = [identity_of(number) for number in numbers]
    start_bytes = reader.store.map_bytes()
    with start("range", tmp_path, 0, count) as first, start("range", tmp_path, count, count) as second:
        seen, reads = 0, 0
        while first.poll() is None or second.poll() is None:
            arrays = reader.get_many(CODE, identities)
            assert all(
                array is None or is_right(number, array)
                for number, array in zip(numbers, arrays, strict=True)
            )
            found = sum(array is not None for array in arrays)
            assert found >= seen, "an entry vanished"
            seen, reads = found, reads + 1
    assert (first.returncode, second.returncode) == (0, 0)
    assert reads > 2
    arrays = reader.get_many(CODE, identities)
    assert all(
        array is not None and is_right(number, array) for number, array in zip(numbers, arrays, strict=True)
    )
    assert reader.verify().bad == ()
    assert reader.store.map_bytes() > start_bytes
    # this process's map had not to grow by writing: it adopts the growth of the others, and can go on from there
    reader.put_many(
        [(CODE, identity, cache_writer.array_of(number, 2)) for number, identity in enumerate(identities)]
    )
    assert is_right(5, reader.get_many(CODE, [identity_of(5)])[0])


def test_a_reader_that_was_killed_does_not_hold_pages_back(tmp_path: Path) -> None:
    cache_writer.write_range(str(tmp_path), 0, 20)
    with start("hold", tmp_path) as holder:
        assert holder.stdout.readline() == b"reading\n"
        holder.kill()
    gc.collect()
    cache = FeatureCache(tmp_path)  # clears the dead reader's slot
    sizes = []
    for generation in range(30):
        cache.put_many([(CODE, identity_of(n), cache_writer.array_of(n, generation)) for n in range(20)])
        sizes.append(cache.store.file_bytes())
    assert sizes[-1] < 3 * sizes[4]


def check_full(folder: Path, limit_bytes: int) -> None:
    done = subprocess.run(
        [*WRITER, "full", str(folder), str(limit_bytes)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *messages, stored = done.stdout.splitlines()
    assert len(messages) == 3
    assert all(
        "could not be written" in line and "MiB free" in line and "intact" in line for line in messages
    )
    assert int(stored) > 10
    arrays = FeatureCache(folder, read_only=True).get_many(CODE, [identity_of(n) for n in range(int(stored))])
    assert all(is_right(number, array) for number, array in enumerate(arrays))


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    check_full(tmp_path, 2 << 20)


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A file system in memory, where this user may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"this user may not mount a file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        gc.collect()
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "3m") as disk:
        check_full(disk / "cache", 0)
        # once there is room again, writing goes on
        (disk / "cache" / "lock.mdb").unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        cache = FeatureCache(disk / "cache")
        cache.put_many([(CODE, identity_of(n), cache_writer.array_of(n, 3)) for n in range(200)])
        assert cache.verify().bad == ()


def test_gc_makes_room_on_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "6m") as disk:
        cache = FeatureCache(disk / "cache")
        with pytest.raises(CacheError, match="intact"):
            for n in range(10_000):
                cache.put_many([(CODE, identity_of(n), cache_writer.array_of(n, 1))])
        cache.gc(max_bytes=0, dry_run=False)
        cache.put_many([(CODE, identity_of(n), cache_writer.array_of(n, 1)) for n in range(20)])
        assert cache.stats().entries == 20


def check_read_only(folder: Path) -> None:
    cache = FeatureCache(folder)
    assert cache.read_only
    assert all(
        is_right(n, array)
        for n, array in enumerate(cache.get_many(CODE, [identity_of(n) for n in range(20)]))
    )
    assert cache.verify().bad == ()
    with pytest.raises(CacheError, match=r"reading only.*can write"):
        cache.put_many([(CODE, identity_of(1), cache_writer.array_of(1, 2))])
    sample = folder / "data.mdb"
    assert cache.identify(sample) == cache.identify(sample)
    cache.close()


def test_a_read_only_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "20m") as disk:
        cache_writer.write_range(str(disk / "cache"), 0, 20)
        gc.collect()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        check_read_only(disk / "cache")
        with pytest.raises(CacheError, match=r"Read-only file system|cannot be written"):
            FeatureCache(disk / "other")
        gc.collect()


def test_a_folder_without_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("permissions do not hold for root; test_a_read_only_disk covers this case there")
    cache_writer.write_range(str(tmp_path / "cache"), 0, 20)
    gc.collect()
    for path in (tmp_path / "cache" / "data.mdb", tmp_path / "cache" / "lock.mdb"):
        path.chmod(0o444)
    (tmp_path / "cache").chmod(0o555)
    try:
        check_read_only(tmp_path / "cache")
        with pytest.raises(CacheError, match="cannot be"):
            FeatureCache(tmp_path / "cache" / "inner")
    finally:
        (tmp_path / "cache").chmod(0o755)
