"""CPU time of fingerprinting 50 groups on the audio kernels: all in one walk, and one by one.

Prints milliseconds after imports: the first walk of the process (normal forms and sources are read), a second one,
and the same groups by single calls. ``python benchmarks/fingerprints.py [--groups N] [--check]``; ``--check`` fails
above 150 ms.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import sys
import time
from collections.abc import Callable
from typing import Any

LIMIT_MS = 150.0


def make_requests(count: int) -> list[Any]:
    """Groups that each use four analyses, a helper and a constant of their own."""
    import earmark.audio
    from earmark.audio.clip import Clip
    from earmark.audio.decode import decode
    from earmark.cache.fingerprint import Request

    modules = [
        importlib.import_module(f"earmark.audio.{m.name}")
        for m in pkgutil.iter_modules(earmark.audio.__path__)
    ]
    analyses = [
        function
        for module in modules
        for function in vars(module).values()
        if inspect.isfunction(function) and function.__module__ == module.__name__ and takes_clip(function)
    ]
    groups = [make_group(index, analyses) for index in range(count)]
    return [Request((group, decode, Clip), {"kind": "vector", "sample_rate": 22_050}) for group in groups]


def takes_clip(function: Callable[..., Any]) -> bool:
    return next(iter(inspect.signature(function).parameters), "") == "clip"


def make_group(index: int, analyses: list[Callable[..., Any]]) -> Callable[[Any], Any]:
    first, second, third, fourth = (analyses[(index * k + k) % len(analyses)] for k in range(4))

    def helper(value: float) -> float:
        return value + index

    def group(clip: Any) -> list[Any]:
        return [clip.memo(first), clip.memo(second), helper(clip.memo(third)), fourth(clip)]

    return group


def measured_ms(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return 1e3 * (time.process_time() - started)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--groups", type=int, default=50)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    from earmark.cache.fingerprint import fingerprint_many

    requests = make_requests(options.groups)
    first = measured_ms(lambda: fingerprint_many(requests))
    again = min(measured_ms(lambda: fingerprint_many(requests)) for _ in range(3))
    single = measured_ms(lambda: [fingerprint_many([request]) for request in requests])
    parts = sum(len(found.parts) for found in fingerprint_many(requests)) / len(requests)
    print(f"{options.groups} groups, {parts:.0f} parts each")
    print(f"CPU ms: first {first:.0f}, again {again:.0f}, one by one {single:.0f}")
    return int(options.check and first > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
