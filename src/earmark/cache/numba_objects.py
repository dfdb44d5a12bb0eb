"""Descriptions of numba's objects: compiled functions by what they were made from, types by their names.

numba's types carry numbers handed out in the order of their creation, llvmlite's carry texts made on first use; neither
says anything about the code, and both differ from process to process.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from earmark.cache.graph import Graph, Node
from earmark.cache.values import describe_foreign_instance

__all__ = ["describe_by_name", "describe_numba", "is_numba_type"]

_HOLDS_FUNCTION = ("py_func", "_pyfunc", "_defn")
"""Where compiled functions, C callbacks and intrinsics keep the Python function."""


def describe_numba(graph: Graph, node: Node, obj: Any) -> None:
    """Write the node of an object whose class is numba's."""
    graph.library(node, "numba")
    function = _python_function(obj)
    if function is not None:
        node.external = True
        node.write(f"compiled by numba.{type(obj).__qualname__}")
        for option, value in sorted(getattr(obj, "targetoptions", {}).items()):
            node.write(f"option {option}")
            graph.value(node, value, f"{function.__module__}.{function.__qualname__} {option}", named=True)
        graph.value(node, function, node.name)
    elif is_numba_type(type(obj)):
        describe_by_name(graph, node, obj)
    else:
        describe_foreign_instance(graph, node, obj)


def describe_by_name(graph: Graph, node: Node, obj: Any) -> None:
    """Write a type of numba or llvmlite by its name, which spells out all of it."""
    kind = type(obj)
    node.external = True
    graph.library(node, kind.__module__)
    node.write(f"named {kind.__qualname__} {obj}")


def is_numba_type(kind: type) -> bool:
    """True for numba's type of types, and classes derived from it."""
    return any(
        base.__name__ == "Type" and base.__module__ == "numba.core.types.abstract" for base in kind.__mro__
    )


def _python_function(obj: Any) -> FunctionType | None:
    for name in _HOLDS_FUNCTION:
        found = getattr(obj, name, None)
        if isinstance(found, FunctionType):
            return found
    inner = getattr(obj, "_dispatcher", None) or getattr(obj, "gufunc_builder", None)
    found = getattr(inner, "py_func", None)
    return found if isinstance(found, FunctionType) else None
