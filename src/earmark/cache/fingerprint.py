"""Fingerprints: a hash of the code that computes a value and of everything that code depends on.

The fingerprint covers the closure of the live objects reachable from the roots: functions and classes of the
project's own packages in a normal form of their bytecode, constants, defaults, configuration and tables by value,
third-party distributions by version, the standard library by name and Python by its minor version.
``docs/design/cache.md`` has the table of edits and what each of them does.

What is hashed is what runs. A source file edited under a running process changes nothing until it is imported anew;
an object replaced at run time counts at once. Every call reads the live objects again; only the normal forms of code
objects, which never change, are kept.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from earmark.cache import data_files, numba_cache
from earmark.cache.binding import missing_reference
from earmark.cache.describe import describe
from earmark.cache.file_content import ABSENT, file_digest
from earmark.cache.graph import Closure, Graph
from earmark.cache.parts import DATA_FILE, PARAMETER, PYTHON, Part
from earmark.cache.provenance import project_root, top_level_own

__all__ = ["Fingerprint", "Part", "Request", "fingerprint", "fingerprint_many"]

_SCHEME = "earmark fingerprint 1"
"""Changes when the same code gets another digest, i.e. with the normal form itself."""

_PARAMETER_PREFIX = "parameter "


@dataclass(frozen=True)
class Fingerprint:
    """The hash of a computation and what it is made of.

    Parameters
    ----------
    digest : bytes
        16 bytes; equal digests compute equal values.
    parts : tuple of Part
        Each function, class, constant, parameter, library and data file in it, for ``earmark cache why``.
    """

    digest: bytes
    parts: tuple[Part, ...]

    @property
    def short(self) -> str:
        """The first 12 hexadecimal digits, for display."""
        return self.digest.hex()[:12]


def fingerprint(
    *roots: Any,
    parameters: Mapping[str, Any] | None = None,
    depends_on: Sequence[Any] = (),
    known_reads: Mapping[str, Sequence[str | Path]] | None = None,
) -> Fingerprint:
    """Fingerprint what ``roots`` compute.

    Parameters
    ----------
    *roots : functions, classes or any objects
        Where the closure starts. The order counts.
    parameters : mapping, optional
        Values the computation is called with. ``"parameter NAME"`` is an argument of the first root: one that equals
        the default of that function is the same as none.
    depends_on : sequence
        What the closure reaches unseen: functions, classes, modules, values, and `Path` objects, whose files count by
        content. If anything is given, constructs that cannot be followed are accepted.
    known_reads : mapping of function to paths, optional
        Data files that functions were seen to read in earlier processes, as `data_files.reads_by_function` has them.

    Raises
    ------
    FingerprintError
        For code that cannot be followed, a value that cannot be described, or a declared file that does not exist.

    Examples
    --------
    >>> def double(x):
    ...     return 2 * x
    >>> len(fingerprint(double).digest)
    16
    """
    return fingerprint_many([Request(roots, parameters or {}, depends_on, known_reads or {})])[0]


@dataclass(frozen=True)
class Request:
    """The arguments of one `fingerprint`, for `fingerprint_many`."""

    roots: tuple[Any, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    depends_on: Sequence[Any] = ()
    known_reads: Mapping[str, Sequence[str | Path]] = field(default_factory=dict)


def fingerprint_many(requests: Sequence[Request]) -> list[Fingerprint]:
    """Fingerprints of many computations, each equal to what `fingerprint` gives; code that they share is walked once.

    Raises
    ------
    FingerprintError
        As `fingerprint`, for the first request that cannot be followed.
    """
    graphs: dict[tuple[Any, ...], Graph] = {}
    prepared = [_prepare(request, graphs) for request in requests]
    for graph in graphs.values():
        graph.complete()
        numba_cache.stamp(graph)
    return [_finish(request, *roots) for request, roots in zip(requests, prepared, strict=True)]


def _prepare(
    request: Request, graphs: dict[tuple[Any, ...], Graph]
) -> tuple[Graph, list[int], list[Path], dict[str, Any]]:
    """Add what a request starts from to the graph of all requests that are walked under the same rules."""
    roots = request.roots
    rules = (bool(request.depends_on), _own_top_levels(roots), _project_folders(roots))
    if rules not in graphs:
        graphs[rules] = Graph(describe, permissive=rules[0], own=rules[1], folders=rules[2])
    graph = graphs[rules]
    files, declared = _split_declared(request.depends_on)
    arguments = _effective_parameters(roots, dict(request.parameters))
    indices = [graph.add(root, _name_of(root)) for root in roots]
    indices += [graph.add(value, f"depends_on[{position}]") for position, value in enumerate(declared)]
    indices += [graph.add(value, name) for name, value in sorted(arguments.items())]
    return graph, indices, files, arguments


def _finish(
    request: Request, graph: Graph, indices: list[int], files: list[Path], arguments: dict[str, Any]
) -> Fingerprint:
    closure = graph.closure(indices)
    parts = [*_parameter_parts(arguments), *_file_parts(graph, request, files, closure)]
    parts.append(Part(PYTHON, "python", _python_version(), _python_version()))
    digest = _combine(closure.digest, sorted(arguments), parts)
    return Fingerprint(digest, (*closure.parts(), *parts))


def _combine(closure: bytes, names: Sequence[str], parts: Sequence[Part]) -> bytes:
    state = hashlib.blake2b(_SCHEME.encode(), digest_size=16)
    state.update(closure)
    state.update(repr(list(names)).encode())
    # A data file counts by its content, not by where it lies: the project may move.
    state.update(repr(sorted(part.text for part in parts if part.kind == DATA_FILE)).encode())
    state.update(_python_version().encode())
    return state.digest()


def _python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _name_of(root: Any) -> str:
    name = getattr(root, "__qualname__", type(root).__qualname__)
    return f"{getattr(root, '__module__', '')}.{name}"


def _module_of(root: Any) -> str | None:
    if isinstance(root, ModuleType):
        return root.__name__
    unwrapped = getattr(root, "py_func", root)
    if isinstance(unwrapped, FunctionType):
        return str(unwrapped.__globals__.get("__name__", "__main__"))
    module = getattr(root, "__module__", None)
    return module if isinstance(module, str) else None


def _own_top_levels(roots: Sequence[Any]) -> frozenset[str]:
    """The first root's top level, in case its package is installed as a distribution."""
    module = _module_of(roots[0]) if roots else None
    top = top_level_own(module) if module else None
    return frozenset({top}) if top else frozenset()


def _project_folders(roots: Sequence[Any]) -> tuple[str, ...]:
    modules = {module for root in roots if (module := _module_of(root)) is not None}
    folders = {str(folder) for module in modules if (folder := project_root(module)) is not None}
    return tuple(sorted(folders, key=lambda folder: (-len(folder), folder)))


def _split_declared(depends_on: Sequence[Any]) -> tuple[list[Path], list[Any]]:
    files = [Path(value) for value in depends_on if isinstance(value, os.PathLike)]
    return files, [value for value in depends_on if not isinstance(value, os.PathLike)]


def _effective_parameters(roots: Sequence[Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """Without arguments of the first root that only spell its defaults out."""
    function = inspect.unwrap(roots[0]) if roots and callable(roots[0]) else None
    function = getattr(function, "py_func", function)
    if not isinstance(function, FunctionType):
        return parameters
    positional = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = dict(zip(reversed(positional), reversed(function.__defaults__ or ()), strict=False))
    defaults.update(function.__kwdefaults__ or {})
    return {
        name: value
        for name, value in parameters.items()
        if not (
            name.startswith(_PARAMETER_PREFIX)
            and _same(defaults, name.removeprefix(_PARAMETER_PREFIX), value)
        )
    }


def _same(defaults: Mapping[str, Any], name: str, value: Any) -> bool:
    """True if ``value`` is the default of ``name``, in type and value."""
    if name not in defaults:
        return False
    if defaults[name] is value:
        return True
    digests = []
    for candidate in (defaults[name], value):
        graph = Graph(describe, permissive=True)
        root = graph.add([candidate], name)
        graph.complete()
        digests.append(graph.closure([root]).digest)
    return digests[0] == digests[1]


def _parameter_parts(arguments: Mapping[str, Any]) -> list[Part]:
    return [
        Part(PARAMETER, name.removeprefix(_PARAMETER_PREFIX), _text_digest(text), text)
        for name, value in sorted(arguments.items())
        for text in (f"{value!r:.2000}",)
    ]


def _file_parts(graph: Graph, request: Request, declared: Sequence[Path], closure: Closure) -> list[Part]:
    """One part per declared file and per file that a function of the closure was seen to read."""
    parts = []
    root_folder = next(iter(_project_folders(request.roots[:1])), None)
    for path in declared:
        found = (
            path if path.is_absolute() or path.exists() or root_folder is None else Path(root_folder, path)
        )
        digest = file_digest(found)
        if digest == ABSENT:
            raise missing_reference(str(path), f"`{_name_of(request.roots[0])}`")
        parts.append(Part(DATA_FILE, graph.relative(str(found)), digest[:16], digest))
    for name, digest in data_files.content_of_reads(closure.codes, request.known_reads):
        parts.append(Part(DATA_FILE, name, digest[:16], digest))
    return sorted(set(parts), key=lambda part: part.name)


def _text_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
