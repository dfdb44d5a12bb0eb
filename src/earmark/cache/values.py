"""Descriptions of values: containers, arrays, paths, patterns, and objects of other people's classes by their state.

Types are told apart (1, 1.0, True), so are 0.0 and -0.0; dictionaries and lists count in their order, sets do not.
"""

from __future__ import annotations

import copyreg
import hashlib
import pathlib
import re
import struct
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import MappingProxyType, SimpleNamespace
from typing import Any

from earmark.cache import state
from earmark.cache.graph import Graph, Node
from earmark.errors import FingerprintError

__all__ = ["VALUE_DESCRIBERS", "describe_array", "describe_foreign_instance", "write_items", "write_mapping"]

_OPAQUE = {
    "_contextvars.ContextVar",
    "_io.TextIOWrapper",
    "_thread.RLock",
    "_thread._local",
    "_thread.lock",
    "concurrent.futures.process.ProcessPoolExecutor",
    "concurrent.futures.thread.ThreadPoolExecutor",
    "contextvars.ContextVar",
    "logging.Logger",
    "logging.RootLogger",
    "threading.Thread",
    "weakref.ReferenceType",
    "weakref.WeakKeyDictionary",
    "weakref.WeakSet",
    "weakref.WeakValueDictionary",
}
"""Types without content that a feature could depend on: locks, loggers, weak references, thread state."""

_RANDOM = {
    "random.Random": "getstate",
    "numpy.random._generator.Generator": "bit_generator",
    "numpy.random.mtrand.RandomState": "get_state",
}
_MAX_DEPTH = 4


def write_items(graph: Graph, node: Node, values: Any) -> None:
    """Elements of a sequence, in order."""
    for position, element in enumerate(values):
        graph.value(node, element, f"{node.name}[{position}]")


def write_mapping(graph: Graph, node: Node, mapping: Any) -> None:
    """Keys and values, in order."""
    for key, element in mapping.items():
        graph.value(node, key, f"{node.name} key")
        graph.value(node, element, f"{node.name}[{key!r:.60}]")


def _sequence(graph: Graph, node: Node, value: Any) -> None:
    elements = state.content(value)
    node.write(f"{type(value).__name__} {len(elements)} {getattr(value, 'maxlen', None)}")
    write_items(graph, node, elements)


def _mapping(graph: Graph, node: Node, value: Any) -> None:
    mapping = state.content(value)
    node.write(f"{type(value).__name__} {len(mapping)}")
    if isinstance(value, defaultdict):
        graph.value(node, value.default_factory, f"{node.name}.default_factory")
    write_mapping(graph, node, mapping)


def _set(graph: Graph, node: Node, value: Any) -> None:
    elements = list(state.content(value))
    node.write(f"{type(value).__name__} {len(elements)}")
    for element in sorted(
        elements, key=lambda element: graph.scalar_text(element) or _standing(graph, element)
    ):
        graph.value(node, element, f"{node.name} element")


def _standing(graph: Graph, element: Any) -> str:
    """A sort key for an element of a set, from its content alone."""
    from earmark.cache.describe import describe

    if graph.depth >= _MAX_DEPTH:
        raise FingerprintError(
            f"A set holds {element!r:.80} within sets that hold it; expected sets that can be put in an order. "
            "Use a list or a dict instead."
        )
    alone = Graph(
        describe, permissive=graph.permissive, own=graph.own, folders=graph.folders, depth=graph.depth + 1
    )
    root = alone.add(element, "element")
    alone.complete()
    return alone.closure([root]).digest.hex()


def describe_array(graph: Graph, node: Node, value: Any) -> None:
    """A numpy array: type, shape and bytes; one of objects, its elements."""
    array = state.content(value)
    node.write(f"array {array.dtype.str} {array.dtype.descr!r} {array.shape}")
    if array.dtype.hasobject:
        write_items(graph, node, array.ravel().tolist())
        return
    flat = array.reshape(-1)  # a copy in C order unless it lies so already
    node.write(hashlib.blake2b(flat.view("u1").data if array.nbytes else b"", digest_size=16).hexdigest())


def _path(graph: Graph, node: Node, path: pathlib.PurePath) -> None:
    node.write("path")
    graph.value(node, str(path), node.name)


def _pattern(graph: Graph, node: Node, pattern: re.Pattern[Any]) -> None:
    node.write(f"pattern {pattern.flags}")
    graph.value(node, pattern.pattern, node.name)


def _bytes_like(graph: Graph, node: Node, value: Any) -> None:
    node.write(f"{type(value).__name__} {bytes(state.content(value))!r}")


def _structure(graph: Graph, node: Node, value: struct.Struct) -> None:
    node.write(f"struct {value.format}")


def _namespace(graph: Graph, node: Node, value: SimpleNamespace) -> None:
    node.write("namespace")
    for key in sorted(vars(value)):
        node.write(f"attribute {key}")
        graph.value(node, state.held(value, key, vars(value)[key]), f"{node.name}.{key}", named=True)


def describe_foreign_instance(graph: Graph, node: Node, obj: Any) -> None:
    """An object of a standard or third-party class, by what it would need to be made again.

    Raises
    ------
    FingerprintError
        If the object does not say (a generator, an open file, a handle) and nothing was declared.
    """
    kind = type(obj)
    name = f"{kind.__module__}.{kind.__qualname__}"
    node.write(f"instance {name}")
    graph.library(node, kind.__module__)
    if name in _OPAQUE:
        return
    if name in _RANDOM:
        _write_random_state(graph, node, obj, _RANDOM[name])
        return
    if kind.__module__ == "torch" and hasattr(obj, "detach"):
        graph.value(node, obj.detach().cpu().numpy(), node.name)
        return
    _write_reduced(graph, node, _reduced(graph, node, obj, name))


def _write_random_state(graph: Graph, node: Node, obj: Any, attribute: str) -> None:
    """A random generator changes with every use: it counts as it was first seen."""
    current = obj.bit_generator.state if attribute == "bit_generator" else getattr(obj, attribute)()
    state.hold(obj, attribute, current)
    graph.value(node, state.held(obj, attribute, current), f"{node.name} state")


def _reduced(graph: Graph, node: Node, obj: Any, name: str) -> Any:
    reduce = copyreg.dispatch_table.get(type(obj))
    try:
        return reduce(obj) if reduce else obj.__reduce_ex__(4)
    except Exception as error:
        if graph.permissive:
            return "undescribed"
        raise FingerprintError(
            f"`{node.name}` is a {name}, whose content cannot be read ({error}); expected values that code could be "
            "given again: numbers, texts, containers, arrays, functions, classes, configuration objects. Make it in "
            "the function, or name what it stands for: depends_on=[...] on the feature group."
        ) from error


def _write_reduced(graph: Graph, node: Node, reduced: Any) -> None:
    if isinstance(reduced, str):
        node.write(f"global {reduced}")
        return
    maker, arguments, *rest = reduced
    graph.value(node, maker, f"{node.name} maker")
    graph.value(node, tuple(arguments), node.name)
    values = (*rest, None, None, None)
    if values[0] is not None:
        graph.value(node, values[0], node.name)
    for iterator in values[1:3]:
        if iterator is not None:
            graph.value(node, list(iterator), node.name)


VALUE_DESCRIBERS: dict[type, Callable[[Graph, Node, Any], None]] = {
    list: _sequence,
    tuple: _sequence,
    deque: _sequence,
    dict: _mapping,
    OrderedDict: _mapping,
    defaultdict: _mapping,
    MappingProxyType: _mapping,
    set: _set,
    frozenset: _set,
    bytearray: _bytes_like,
    memoryview: _bytes_like,
    re.Pattern: _pattern,
    struct.Struct: _structure,
    SimpleNamespace: _namespace,
    **dict.fromkeys(
        (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath), _path
    ),
}
