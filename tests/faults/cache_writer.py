"""Processes that the cache's fault tests start and kill. Run as ``python cache_writer.py MODE FOLDER [...]``.

Every array says what it must be: element 0 is a generation, the rest follow from it and the identity. So a reader can
tell a wrong array from an older one.
"""

from __future__ import annotations

import os
import random
import resource
import sys
from dataclasses import dataclass

import numpy as np

from earmark.cache import store
from earmark.cache.entries import FeatureCache
from earmark.errors import CacheError

CODE = b"k" * 16
N_IDENTITIES = 200


@dataclass(frozen=True)
class Version:
    digest: bytes
    parts: tuple[object, ...] = ()


def identity_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def array_of(number: int, generation: int) -> np.ndarray:
    """The array of input ``number`` at ``generation``: from 2 to 3000 values, so on one page or on several."""
    length = 2 + (number * 7919 + generation * 31) % 3000
    values = (np.arange(length, dtype=np.float32) * (number + 1) + generation) % 65_521
    values[0] = generation
    return values


def is_right(number: int, array: np.ndarray) -> bool:
    return np.array_equal(array, array_of(number, int(array[0])))


def write_for_ever(folder: str, generation: int) -> None:
    """Rewrite random inputs in batches; say on stdout which generation is on disk."""
    cache = FeatureCache(folder)
    chance = random.Random(generation)
    while True:
        generation += 1
        numbers = [0, *chance.sample(range(1, N_IDENTITIES), chance.randint(1, 30))]
        cache.put_many([(CODE, identity_of(number), array_of(number, generation)) for number in numbers])
        os.write(1, f"{generation}\n".encode())
        if generation % 5 == 0:
            cache.record(
                "killed", Version(CODE, (generation,)), columns=("a",), seconds=1.0, bytes=1, computed=1
            )
        if generation % 7 == 0:
            cache.fail(CODE, identity_of(N_IDENTITIES + chance.randint(0, 50)), "broken")


def serve(folder: str) -> None:
    """For each line (a generation) on stdin, fork a writer and print its process id; say ``end`` when it is dead."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            write_for_ever(folder, int(line))
        os.write(1, f"pid {child}\n".encode())
        os.waitpid(child, 0)
        os.write(1, b"end\n")


def write_range(folder: str, start: int, count: int) -> None:
    """Write ``count`` inputs from ``start`` on in batches of 20, from a map of 1 MiB."""
    store.INITIAL_MAP_BYTES = 1 << 20
    cache = FeatureCache(folder)
    for first in range(start, start + count, 20):
        cache.put_many(
            [(CODE, identity_of(n), array_of(n, 1)) for n in range(first, min(first + 20, start + count))]
        )


def write_until_full(folder: str, limit_bytes: int) -> None:
    """Write until the file may not grow further; then everything stored must be there and right. Prints how many."""
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    cache = FeatureCache(folder)
    stored = 0
    for _ in range(3):
        try:
            while True:
                cache.put_many([(CODE, identity_of(n), array_of(n, 1)) for n in range(stored, stored + 5)])
                stored += 5
        except CacheError as error:
            print(error)
    arrays = cache.get_many(CODE, [identity_of(n) for n in range(stored + 5)])
    assert all(array is not None and is_right(n, array) for n, array in enumerate(arrays[:stored]))
    assert arrays[stored:] == [None] * 5
    assert cache.verify().bad == ()
    print(stored)


def hold_a_read(folder: str) -> None:
    """Open a read transaction and keep it."""
    with FeatureCache(folder).store.read():
        print("reading", flush=True)
        sys.stdin.read()


MODES = {
    "serve": lambda folder: serve(folder),
    "range": lambda folder, start, count: write_range(folder, int(start), int(count)),
    "full": lambda folder, limit: write_until_full(folder, int(limit)),
    "hold": lambda folder: hold_a_read(folder),
}

if __name__ == "__main__":
    MODES[sys.argv[1]](*sys.argv[2:])
