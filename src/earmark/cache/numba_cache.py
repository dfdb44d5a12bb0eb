"""Keeps numba's compiled code in step with the code it was compiled from.

numba compiles the values of globals into a function, and takes a cached compilation from disk as long as the function's
*own file* is unchanged. So an edited helper or constant in another module, or one replaced at run time, leaves it with
machine code of the past. Whenever a closure is fingerprinted, each compiled function in it gets the digest of its own
closure as an additional stamp: a cached compilation with another stamp is not used, and one already loaded for another
digest, or from numba's own cache, is loaded or compiled anew.

Stamped compilations lie in files of their own beside numba's, so that a process that fingerprints and one that does not
do not throw each other's away.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from earmark.cache.graph import Graph

__all__ = ["stamp"]

_stamped: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()


def stamp(graph: Graph) -> None:
    """Stamp every compiled function of a graph with the digest of what it was compiled from."""
    numba = sys.modules.get("numba.core.dispatcher")
    if numba is None:
        return
    outdated = []
    for index, node in enumerate(graph.nodes):
        dispatcher = node.obj
        if not issubclass(type(dispatcher), numba.Dispatcher):  # the object itself may answer anything
            continue
        digest = graph.closure([index]).digest
        before = _stamped.get(dispatcher)
        if before == digest:
            continue
        # Without a stamp so far, what numba's own cache gave may be of the past; what this process compiled is not.
        if dispatcher.overloads and (before is not None or dispatcher.stats.cache_hits):
            outdated.append(dispatcher)
        _stamp_disk_cache(dispatcher, digest)
        _stamped[dispatcher] = digest
    # Callees are discovered after their callers: compile them first.
    for dispatcher in reversed(outdated):
        _load_anew(dispatcher)


def _load_anew(dispatcher: Any) -> None:
    """Drop compiled signatures and take them from the stamped cache, or else compile them.

    As `Dispatcher.recompile` does, but without emptying the cache on disk, which may hold just what is wanted.
    """
    signatures, may_compile = list(dispatcher.overloads), dispatcher._can_compile
    dispatcher._make_finalizer()()
    dispatcher._reset_overloads()
    dispatcher._can_compile = True
    try:
        for signature in signatures:
            dispatcher.compile(signature)
    finally:
        dispatcher._can_compile = may_compile


def _stamp_disk_cache(dispatcher: Any, digest: bytes) -> None:
    """Make the digest part of the source stamp by which numba decides whether a cached compilation is fresh."""
    index = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if index is None:
        return
    if not hasattr(index, "_earmark_source_stamp"):
        index._earmark_source_stamp = index._source_stamp
        base = index._index_name.removesuffix(".nbi") + ".stamped"
        index._index_name = f"{base}.nbi"
        index._index_path = str(Path(index._cache_path, index._index_name))
        index._data_name_pattern = base + ".{number:d}.nbc"
    index._source_stamp = (index._earmark_source_stamp, digest)
