"""What the feature cache costs, in one run: against raw LMDB, plain .npy files, diskcache, joblib.Memory, a file
append.

    python benchmarks/cache.py [--json] [--repeat N] [--folder DIR]

Entries are vectors of 1,449 float32. Look-ups are of entries that are all in the page cache. Times are the least of N
rounds, and the sides of a ratio take turns within a round, so that a busy machine disturbs all alike: CPU seconds of
this process, except for writes, which wait for the disk and are given in wall time too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from earmark.cache.entries import FeatureCache

N_ENTRIES = 10_000
LENGTH = 1_449
N_NPY = 2_000
N_DISKCACHE = 2_000
N_JOBLIB = 300
"""joblib.Memory takes about a millisecond a look-up."""
BATCHES = (100, 1_000)
CODE = b"c" * 16
N_GROUPS = 50

GOALS = {
    "look-up / raw LMDB": 2.0,
    "bulk read of 415 x 55, ms": 50.0,
    "check of 100,000, s": 2.0,
    "write in batches of 100 / file append": 2.0,
    "write in batches of 1000 / file append": 2.0,
    "fingerprints of 50 groups, ms": 150.0,
}


def main() -> int:
    """Measure, print, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeat", type=int, default=7, help="rounds per figure")
    parser.add_argument("--folder", type=Path, help="where to put the files (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        vectors = np.random.default_rng(0).random((N_ENTRIES, LENGTH), np.float32)
        identities = [
            number.to_bytes(16, "big") for number in np.random.default_rng(1).permutation(N_ENTRIES).tolist()
        ]
        result = {
            "look_up_us": look_ups(folder, vectors, identities, arguments.repeat),
            "bulk_read_ms": bulk_read(folder, arguments.repeat),
            "check_s": check(folder),
            "write_s": {
                batch: writes(folder, vectors, identities, batch, arguments.repeat) for batch in BATCHES
            },
            "fingerprints_ms": fingerprints(folder),
        }
    result["goals"] = goals(result)
    print(json.dumps(result, indent=2) if arguments.json else as_text(result))
    return 0


def look_ups(folder: Path, vectors: np.ndarray, identities: list[bytes], repeat: int) -> dict[str, float]:
    """CPU microseconds per look-up that ends in an array of its own, by store; every array is compared once."""
    stores = {
        "earmark": earmark_reader(folder / "earmark", vectors, identities),
        "raw LMDB": lmdb_reader(folder / "lmdb", vectors, identities),
        "plain .npy": npy_reader(folder / "npy", vectors[:N_NPY]),
        "diskcache": diskcache_reader(folder / "diskcache", vectors[:N_DISKCACHE], identities),
        "joblib.Memory": joblib_reader(folder / "joblib", vectors[:N_JOBLIB]),
    }
    for name, read in stores.items():
        for array, expected in zip(read(), vectors, strict=False):
            assert np.array_equal(array, expected), name
    counts = {name: len(read()) for name, read in stores.items()}
    times = least(stores, repeat)
    return {name: 1e6 * seconds / counts[name] for name, seconds in times.items()}


def earmark_reader(folder: Path, vectors: np.ndarray, identities: list[bytes]) -> Callable[[], list[Any]]:
    cache = FeatureCache(folder)
    cache.put_many((CODE, identity, vector) for identity, vector in zip(identities, vectors, strict=True))
    return lambda: cache.get_many(CODE, identities)


def lmdb_reader(folder: Path, vectors: np.ndarray, identities: list[bytes]) -> Callable[[], list[Any]]:
    """The floor: the same keys and bytes, no header, no checksum."""
    environment = lmdb.open(str(folder), map_size=1 << 28)
    with environment.begin(write=True) as transaction:
        for identity, vector in zip(identities, vectors, strict=True):
            transaction.put(CODE + identity, vector.tobytes())

    def read() -> list[Any]:
        with environment.begin() as transaction:
            return [np.frombuffer(transaction.get(CODE + identity), np.float32) for identity in identities]

    return read


def npy_reader(folder: Path, vectors: np.ndarray) -> Callable[[], list[Any]]:
    folder.mkdir()
    paths = [folder / f"{number}.npy" for number in range(len(vectors))]
    for path, vector in zip(paths, vectors, strict=True):
        np.save(path, vector)
    return lambda: [np.load(path) for path in paths]


def diskcache_reader(folder: Path, vectors: np.ndarray, identities: list[bytes]) -> Callable[[], list[Any]]:
    import diskcache

    cache = diskcache.Cache(str(folder))
    for identity, vector in zip(identities, vectors, strict=False):
        cache[CODE + identity] = vector
    return lambda: [cache[CODE + identity] for identity in identities[: len(vectors)]]


def joblib_reader(folder: Path, vectors: np.ndarray) -> Callable[[], list[Any]]:
    from joblib import Memory

    vector_of = Memory(folder, verbose=0).cache(_vector_of)
    return lambda: [vector_of(number) for number in range(len(vectors))]


def _vector_of(number: int) -> np.ndarray:
    return np.random.default_rng(0).random((number + 1, LENGTH), np.float32)[number]


def bulk_read(folder: Path, repeat: int) -> float:
    """CPU milliseconds for 415 vectors of 55 as one array."""
    cache = FeatureCache(folder / "bulk")
    identities = [number.to_bytes(16, "big") for number in range(415)]
    cache.put_many((CODE, identity, np.zeros(55, np.float32)) for identity in identities)
    return 1e3 * least({"stack": lambda: cache.stack(CODE, identities, 55)}, repeat)["stack"]


def check(folder: Path) -> float:
    """CPU seconds of `check` on 100,000 items, half fresh, half of earlier code."""
    cache = FeatureCache(folder / "check")
    identities = [number.to_bytes(16, "big") for number in range(100_000)]
    value = np.zeros(1, np.float32)
    for digest, part in ((CODE, identities[::2]), (b"o" * 16, identities[1::2])):
        cache.put_many((digest, identity, value) for identity in part)
        cache.record("mine", _Version(digest), columns=("a",), seconds=1.0, bytes=4, computed=1)
    (found,) = cache.check({"mine": CODE}, identities)
    assert (found.fresh, found.stale) == (50_000, 50_000)
    return least({"check": lambda: cache.check({"mine": CODE}, identities)}, 3)["check"]


class _Version:
    parts = ()

    def __init__(self, digest: bytes) -> None:
        self.digest = digest


def writes(
    folder: Path, vectors: np.ndarray, identities: list[bytes], batch: int, repeat: int
) -> dict[str, dict[str, float]]:
    """Seconds to write all entries in batches that are each on disk before the next: wall and CPU, by store."""
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    for _ in range(repeat):
        for name, write in (("earmark", write_cache), ("file append", write_file)):
            target = folder / "write"
            os.sync()
            started, spent = time.perf_counter(), time.process_time()
            write(target, vectors, identities, batch)
            wall.setdefault(name, []).append(time.perf_counter() - started)
            cpu.setdefault(name, []).append(time.process_time() - spent)
            shutil.rmtree(target)
    return {name: {"wall": min(wall[name]), "cpu": min(cpu[name])} for name in wall}


def write_cache(folder: Path, vectors: np.ndarray, identities: list[bytes], batch: int) -> None:
    cache = FeatureCache(folder)
    for start in range(0, len(vectors), batch):
        part = slice(start, start + batch)
        cache.put_many((CODE, *pair) for pair in zip(identities[part], vectors[part], strict=True))


def write_file(folder: Path, vectors: np.ndarray, identities: list[bytes], batch: int) -> None:
    folder.mkdir()
    with (folder / "entries").open("wb") as file:
        for start in range(0, len(vectors), batch):
            part = slice(start, start + batch)
            for identity, vector in zip(identities[part], vectors[part], strict=True):
                file.write(CODE + identity)
                file.write(vector.tobytes())
            file.flush()
            os.fsync(file.fileno())


def fingerprints(folder: Path) -> float:
    """CPU milliseconds to fingerprint 50 functions in 50 modules, in a fresh process, imports not counted."""
    package = folder / "fifty"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "shared.py").write_text(shared_source())
    for number in range(N_GROUPS):
        (package / f"m{number}.py").write_text(module_source(number))
    done = subprocess.run(
        [sys.executable, "-c", TIMED], cwd=folder, capture_output=True, text=True, check=True
    )
    return min(float(line) for line in done.stdout.split())


def shared_source() -> str:
    helpers = "\n\n".join(
        f"def helper{n}(x):\n    return np.tanh(x * SCALE) + {n} if {n} else helper_table(x)"
        for n in range(20)
    )
    head = "import numpy as np\n\nSCALE = 0.5\nTABLE = np.arange(512.0)\n\n"
    return f"{head}def helper_table(x):\n    return TABLE[0] * x\n\n{helpers}\n"


def module_source(number: int) -> str:
    return (
        f"import numpy as np\nfrom fifty import shared\n\nWEIGHTS = {{'a': {number}.0, 'b': (1, 2, {number})}}\n\n"
        f"def first(x, power=2):\n    return shared.helper{number % 20}(x) ** power + WEIGHTS['a']\n\n"
        f"def second(x):\n    return [first(part) for part in np.split(x, 2)]\n\n"
        f"def feature(clip):\n    values = second(clip) + [shared.helper{(number + 7) % 20}(clip)]\n"
        f"    return np.array([np.mean(value) for value in values])\n"
    )


TIMED = f"""
import importlib, time
from earmark.cache.fingerprint import Request, fingerprint_many
modules = [importlib.import_module(f"fifty.m{{n}}") for n in range({N_GROUPS})]
start = time.process_time()
found = fingerprint_many([Request((module.feature,)) for module in modules])
print(1e3 * (time.process_time() - start))
assert len({{one.digest for one in found}}) == {N_GROUPS}
"""


def least(sides: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Least CPU seconds of each side over the rounds."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeat):
        for name, run in sides.items():
            started = time.process_time()
            kept = run()
            times[name].append(time.process_time() - started)
            del kept
    return {name: min(values) for name, values in times.items()}


def goals(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Name -> figure and what it must stay below."""
    look_up, write = result["look_up_us"], result["write_s"]
    figures = [
        look_up["earmark"] / look_up["raw LMDB"],
        result["bulk_read_ms"],
        result["check_s"],
        *(write[batch]["earmark"]["wall"] / write[batch]["file append"]["wall"] for batch in BATCHES),
        result["fingerprints_ms"],
    ]
    return {
        name: {"figure": round(figure, 3), "at_most": limit}
        for (name, limit), figure in zip(GOALS.items(), figures, strict=True)
    }


def as_text(result: dict[str, Any]) -> str:
    lines = [f"Look-up of one of {N_ENTRIES} entries of {LENGTH} float32, warm, CPU us"]
    lines += [f"  {name:<16}{value:9.2f}" for name, value in result["look_up_us"].items()]
    lines += [
        "",
        f"Writing {N_ENTRIES} entries, each batch on disk before the next, s",
        f"  {'':<24}{'wall':>8}{'CPU':>8}",
    ]
    for batch, sides in result["write_s"].items():
        lines += [
            f"  {name} by {batch:<8}".ljust(26) + f"{t['wall']:8.3f}{t['cpu']:8.3f}"
            for name, t in sides.items()
        ]
    lines += ["", f"  {'goal':<42}{'figure':>8}{'at most':>9}"]
    lines += [
        f"  {name:<42}{goal['figure']:8.2f}{goal['at_most']:9.1f}" for name, goal in result["goals"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
