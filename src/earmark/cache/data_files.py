"""Sees which data files feature code reads besides its input, so that their content can join the fingerprint.

An audit hook notes every file that is opened for reading, and lays it at the door of the own function that opened it:
the innermost own frame on the stack. A fingerprint then includes the content of each file that any function of its
closure was ever seen to read. Laying it at the function, not at the group or item that happened to run, makes tables
right that one group loads and another finds in a ``functools.lru_cache``.

Not seen are files that native code opens by itself (libsndfile, HDF5, Arrow): calls to the usual ones are refused
where a group is fingerprinted, unless ``depends_on=[Path(...)]`` names the files.

Paths below the folder of a project are kept relative to it (``<pkg>/tables/weights.npy``, with the top-level package in
the angle brackets), so that a project can move.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from earmark.cache.file_content import file_digest
from earmark.cache.provenance import FOREIGN, STANDARD, origin_of, project_root

__all__ = ["content_of_reads", "contents_read", "exempt", "reads_by_function", "watch"]

_IGNORED_SUFFIXES = (".py", ".pyc", ".so", ".pyd", ".nbi", ".nbc", ".dylib", ".dll")
_IGNORED_FOLDERS = ("/proc/", "/sys/", "/dev/")

_installed = False
_busy = threading.local()
_exempt: dict[str, int] = {}
_written: dict[str, set[CodeType]] = {}
"""Path -> functions that wrote it: one that reads its own temporary file back does not depend on it."""

_reads: dict[str, dict[str, list[str]]] = {}
"""Function -> path -> digests of the contents it was opened with, in order, each once."""


def watch() -> None:
    """Start noting what this process reads; further calls do nothing. It cannot be stopped."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


@contextmanager
def exempt(path: str | Path) -> Iterator[None]:
    """While an item is computed its own file is no data file: it is in the key by its identity."""
    name = os.path.realpath(path)
    _exempt[name] = _exempt.get(name, 0) + 1
    try:
        yield
    finally:
        _exempt[name] -= 1
        if not _exempt[name]:
            del _exempt[name]


def reads_by_function() -> dict[str, list[str]]:
    """Files read so far in this process: function (``qualname#digest``) -> paths, sorted."""
    return {function: sorted(paths) for function, paths in list(_reads.items())}


def contents_read() -> tuple[tuple[str, str, str], ...]:
    """(function, path, digest) of every content read so far in this process, sorted: it grows when one is new."""
    return tuple(
        sorted(
            (function, path, digest)
            for function, paths in list(_reads.items())
            for path, digests in list(paths.items())
            for digest in list(digests)
        )
    )


def content_of_reads(
    functions: Iterable[str], known_reads: Mapping[str, Sequence[str | Path]]
) -> list[tuple[str, str]]:
    """Files that any of ``functions`` is known to read, as (path, digest of the content), sorted.

    A file that this process has read counts with the content it had then, since that is what results were made of; if
    it was read with several contents, with all of them, a key that no other process will ask for.
    """
    found: dict[str, set[str]] = {}
    for function in set(functions):
        seen = _reads.get(function, {})
        for path, digests in list(seen.items()):
            found.setdefault(path, set()).add(" ".join(digests))
        for known in known_reads.get(function, ()):
            path = str(known)
            if path not in seen:
                found.setdefault(path, set()).add(file_digest(_located(path)))
    return sorted((path, " ".join(sorted(digests))) for path, digests in found.items())


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("open", "sqlite3.connect") or getattr(_busy, "on", False):
        return
    path, mode, flags = arguments if event == "open" else (arguments[0], "r", 0)
    if isinstance(path, int) or path == ":memory:":
        return
    _busy.on = True
    try:
        _note(os.fsdecode(path), _reading(mode, flags))
    finally:
        _busy.on = False


def _reading(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return "r" in mode
    return (
        isinstance(flags, int) and flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR) and not flags & os.O_CREAT
    )


def _note(path: str, reading: bool) -> None:
    if path.endswith(_IGNORED_SUFFIXES) or path.startswith(_IGNORED_FOLDERS):
        return
    name = os.path.realpath(path)
    if name.startswith(_installation_folders()) or name in _exempt or "/__pycache__/" in name:
        return
    function = _own_function(sys._getframe(2))
    if function is None:
        return
    module, code = function
    if not reading:
        _written.setdefault(name, set()).add(code)
    elif code not in _written.get(name, ()):
        _keep(name, module, code)


def _keep(path: str, module: str, code: CodeType) -> None:
    from earmark.cache.binding import code_identity
    from earmark.cache.normal_form import normal_form

    digests = _reads.setdefault(code_identity(normal_form(code)), {}).setdefault(_shown(path, module), [])
    digest = file_digest(path)
    if digest not in digests:
        digests.append(digest)


def _own_function(frame: FrameType | None) -> tuple[str, CodeType] | None:
    """Module and code of the innermost own function on the stack; None if earmark or an import comes first."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if origin_of(module).kind not in (FOREIGN, STANDARD):
            if module.partition(".")[0] == "earmark" or frame.f_code.co_name == "<module>":
                return None
            return module, frame.f_code
        frame = frame.f_back
    return None


@cache
def _installation_folders() -> tuple[str, ...]:
    """Where Python and its packages lie: what they read belongs to their version."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {os.path.realpath(folder) for name in names if (folder := sysconfig.get_path(name))}
    return tuple(sorted(folder + os.sep for folder in folders))


def _shown(path: str, module: str) -> str:
    top = module.partition(".")[0]
    folder = project_root(top)
    if folder is not None:
        root = os.path.realpath(folder)
        if path.startswith(root + os.sep):
            return f"<{top}>/{os.path.relpath(path, root)}"
    return path


def _located(path: str) -> str:
    if path.startswith("<") and ">/" in path:
        top, _, relative = path[1:].partition(">/")
        folder = project_root(top)
        return str(folder / relative) if folder is not None else path
    return path
