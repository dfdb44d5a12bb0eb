"""Keeps numba's compiled code in step with the code it was compiled from.

numba compiles the values of globals into a function, and takes a cached compilation from disk as long as the function's
*own file* is unchanged. So an edited helper or constant in another module, or one replaced at run time, leaves it with
machine code of the past. Whenever a closure is fingerprinted, each compiled function in it gets the digest of its own
closure as an additional stamp: a cached compilation with another stamp is not used, and one already loaded for another
digest is compiled anew.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from earmark.cache.graph import Graph

__all__ = ["stamp"]

_stamped: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()


def stamp(graph: Graph) -> None:
    """Stamp every compiled function of a graph with the digest of what it was compiled from."""
    outdated = []
    for index, node in enumerate(graph.nodes):
        dispatcher = node.obj
        if not hasattr(dispatcher, "py_func") or not hasattr(dispatcher, "recompile"):
            continue
        digest = graph.closure([index]).digest
        before = _stamped.get(dispatcher)
        if before == digest:
            continue
        _stamp_disk_cache(dispatcher, digest)
        _stamped[dispatcher] = digest
        if before is not None and dispatcher.overloads:
            outdated.append(dispatcher)
    # Callees are discovered after their callers: compile them first.
    for dispatcher in reversed(outdated):
        dispatcher.recompile()


def _stamp_disk_cache(dispatcher: Any, digest: bytes) -> None:
    """Make the digest part of the source stamp by which numba decides whether a cached compilation is fresh."""
    index = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if index is None:
        return
    original = getattr(index, "_earmark_source_stamp", index._source_stamp)
    index._earmark_source_stamp = original
    index._source_stamp = (original, digest)
