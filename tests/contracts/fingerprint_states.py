"""Fingerprints the groups of several versions of a project, each in a process of its own.

Run as a script: reads a JSON array of folders from stdin, writes a JSON array of ``{group: digest or "error: ..."}``.
Each folder is handled by a fork of this process, which has loaded earmark, numpy and numba but none of the project.
"""

from __future__ import annotations

import json
import os
import sys
import traceback


def fingerprints_of(folder: str) -> dict[str, str]:
    """Digests of all groups of the project in ``folder``; changes ``sys.path``."""
    from earmark.cache.fingerprint import fingerprint
    from earmark.errors import FingerprintError

    sys.path[:0] = [folder, f"{folder}/libs"]
    from proj.groups import groups  # type: ignore[import-not-found]

    found = {}
    for name, (function, depends_on) in groups().items():
        try:
            found[name] = fingerprint(function, depends_on=depends_on).digest.hex()
        except FingerprintError as error:
            found[name] = f"error: {error}"
    return found


def in_fork(folder: str) -> dict[str, str]:
    """The same in a child process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            with os.fdopen(writing, "w") as stream:
                json.dump(fingerprints_of(folder), stream)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    if os.waitpid(child, 0)[1]:
        raise RuntimeError(f"{folder}: {text}")
    return json.loads(text)


if __name__ == "__main__":
    import numba  # noqa: F401

    import earmark.cache.fingerprint  # noqa: F401

    sys.dont_write_bytecode = True
    json.dump([in_fork(folder) for folder in json.load(sys.stdin)], sys.stdout)
