"""Descriptions of live objects for the graph: functions and what wraps them, modules, and the way to the other kinds.

Own functions are described by the normal form of their code, their closure and their defaults; third-party and standard
library functions by name, except that what they enclose is followed: a decorator from a library still leads to
the function it decorates.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from earmark.cache import state
from earmark.cache.binding import Binder, external_name, note_mutations
from earmark.cache.classes import describe_class, describe_instance
from earmark.cache.dynamic import CONSTANT_DECIDES, UNFOLLOWABLE, unfollowable
from earmark.cache.graph import SCALARS, Graph, Node
from earmark.cache.normal_form import normal_form
from earmark.cache.numba_objects import describe_by_name, describe_numba, is_numba_type
from earmark.cache.parts import FUNCTION
from earmark.cache.source_text import source_text
from earmark.cache.values import VALUE_DESCRIBERS, describe_array, describe_foreign_instance

__all__ = ["describe"]

Describer = Callable[[Graph, Node, Any], None]

_DERIVED = {
    "__wrapped__",
    "__doc__",
    "__name__",
    "__qualname__",
    "__module__",
    "__annotations__",
    "__type_params__",
}


def describe(graph: Graph, node: Node, obj: Any) -> None:
    """Write the node of any object; the only entry point."""
    kind = type(obj)
    describer = _DESCRIBERS.get(kind) or VALUE_DESCRIBERS.get(kind)
    if describer is not None:
        describer(graph, node, obj)
    elif kind in SCALARS:
        node.write(str(graph.scalar_text(obj)))
    elif isinstance(obj, type):
        describe_class(graph, node, obj)
    elif isinstance(obj, ModuleType):
        _describe_module(graph, node, obj)
    elif kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        describe_array(graph, node, obj)
    elif isinstance(obj, functools.partial):
        _describe_partial(graph, node, obj)
    elif kind.__module__.partition(".")[0] == "numba":
        describe_numba(graph, node, obj)
    elif kind.__module__.startswith("llvmlite.ir"):
        describe_by_name(graph, node, obj)
    elif is_numba_type(kind):
        node.write("instance")
        graph.value(node, kind, kind.__qualname__)
        describe_by_name(graph, node, obj)
    elif graph.is_own(kind.__module__):
        describe_instance(graph, node, obj)
    else:
        _describe_foreign(graph, node, obj)


def _describe_function(graph: Graph, node: Node, function: FunctionType) -> None:
    namespace = function.__globals__
    module = str(namespace.get("__name__", ""))
    if graph.is_own(module):
        _describe_own_function(graph, node, function, module)
    else:
        _describe_foreign_function(graph, node, function, module)


def _describe_own_function(graph: Graph, node: Node, function: FunctionType, module: str) -> None:
    code = function.__code__
    form = normal_form(code)
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    defaults = _defaults(function)
    node.kind = FUNCTION
    # A wrapper made by functools.wraps bears the name of what it wraps; generated code has no telling name of its own.
    written = function.__qualname__ if code.co_filename.startswith("<") else code.co_qualname
    node.name = f"{module}.{written}".lstrip(".")
    node.source = source_text(form)
    node.strings |= form.strings
    node.introspection |= form.introspection
    node.open_keywords = form.open_keywords and module.partition(".")[0] != "earmark"
    note_mutations(form, function.__globals__, cells, defaults)
    node.write("function")
    Binder(graph, node, form, function.__globals__).bind(form)
    for variable in form.free:
        _cell(graph, node, cells[variable], f"{node.name}.{variable}")
    _write_defaults(graph, node, function, defaults)
    _write_attributes(graph, node, function)


def _defaults(function: FunctionType) -> dict[str, Any]:
    """Default values by parameter name, in the order of the parameters."""
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    values = function.__defaults__ or ()
    found = dict(zip(positional[len(positional) - len(values) :], values, strict=True))
    keyword_only = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    given = function.__kwdefaults__ or {}
    found.update((name, given[name]) for name in keyword_only if name in given)
    return found


def _write_defaults(graph: Graph, node: Node, function: FunctionType, defaults: dict[str, Any]) -> None:
    for name, value in defaults.items():
        node.write(f"default {function.__code__.co_varnames.index(name)}")
        graph.value(node, value, f"{node.name}({name}=)", named=True)


def _write_attributes(graph: Graph, node: Node, function: FunctionType) -> None:
    attributes = function.__dict__
    if "__wrapped__" in attributes:
        node.write("wraps")
        graph.value(node, attributes["__wrapped__"], node.name)
    for name in sorted(attributes.keys() - _DERIVED):
        value = state.held(function, name, attributes[name])
        if value is not state.ABSENT:
            node.write(f"attribute {name}")
            graph.value(node, value, f"{node.name}.{name}", named=True)


def _cell(graph: Graph, node: Node, cell: CellType, name: str) -> None:
    try:
        value = state.held(cell, "", cell.cell_contents)
    except ValueError:
        node.write("empty cell")
        return
    node.write("cell")
    graph.value(node, value, name, named=True)


def _describe_foreign_function(graph: Graph, node: Node, function: FunctionType, module: str) -> None:
    """By name; a function made inside another also by what it encloses, which may be own code."""
    code = function.__code__
    node.external = True
    node.write(f"external {module}.{code.co_qualname}")
    graph.library(node, module)
    _refuse_bare(graph, function)
    if "<locals>" not in code.co_qualname and "__wrapped__" not in function.__dict__:
        return
    if hasattr(function, "registry") and hasattr(function, "dispatch"):
        _write_registry(graph, node, function)
        return
    for cell in function.__closure__ or ():
        _cell(graph, node, cell, function.__qualname__)
    if "__wrapped__" in function.__dict__:
        graph.value(node, function.__dict__["__wrapped__"], function.__qualname__)


def _write_registry(graph: Graph, node: Node, function: Any) -> None:
    """The implementations of a ``functools.singledispatch`` function, by type."""
    for handled, implementation in function.registry.items():
        graph.value(node, handled, handled.__qualname__)
        graph.value(node, implementation, f"{function.__qualname__}[{handled.__qualname__}]")


def _describe_builtin(graph: Graph, node: Node, function: Any) -> None:
    """A function in C; one bound to an object other than its module leads to that object."""
    node.external = True
    owner = getattr(function, "__self__", None)
    _refuse_bare(graph, function)
    if owner is None or isinstance(owner, ModuleType):
        module = function.__module__ or getattr(owner, "__name__", "builtins")
        node.write(f"external {module}.{function.__qualname__}")
        graph.library(node, module)
        return
    node.write(f"method {function.__name__}")
    graph.value(node, owner, function.__qualname__)


def _refuse_bare(graph: Graph, function: Any) -> None:
    """Refuse ``map(getattr, ...)`` and the like: a construct that is handed on instead of called with a constant."""
    known = external_name(function)
    if known in UNFOLLOWABLE and known not in CONSTANT_DECIDES and not graph.permissive:
        code = sys._getframe().f_code
        raise unfollowable(known, code, 0, str(getattr(function, "__module__", "")))


def _describe_descriptor(graph: Graph, node: Node, descriptor: Any) -> None:
    """Methods and slots of C types: ``str.upper``, ``tuple.__new__``."""
    node.external = True
    owner = getattr(descriptor, "__objclass__", None) or type(getattr(descriptor, "__self__", None))
    node.write(f"descriptor {owner.__module__}.{owner.__qualname__}.{descriptor.__name__}")


def _describe_method(graph: Graph, node: Node, method: MethodType) -> None:
    node.external = True
    node.write("method")
    graph.value(node, method.__func__, node.name)
    graph.value(node, method.__self__, f"{node.name}.__self__")


def _describe_partial(graph: Graph, node: Node, partial: functools.partial[Any]) -> None:
    node.write(type(partial).__name__)
    graph.value(node, partial.func, node.name)
    node.strings.update(partial.keywords)
    for position, value in enumerate(partial.args):
        graph.value(node, value, f"{node.name}[{position}]", named=True)
    for keyword in sorted(partial.keywords):
        node.write(f"keyword {keyword}")
        graph.value(node, partial.keywords[keyword], f"{node.name}({keyword}=)", named=True)


def _describe_wrapping(attribute: str) -> Describer:
    """A describer for objects that stand for the one function they hold."""

    def wrapping(graph: Graph, node: Node, obj: Any) -> None:
        node.external = True
        node.write(type(obj).__name__)
        graph.value(node, getattr(obj, attribute), node.name)

    return wrapping


def _describe_property(graph: Graph, node: Node, prop: property) -> None:
    node.external = True
    node.write("property")
    for function in (prop.fget, prop.fset, prop.fdel):
        graph.value(node, function, node.name)


def _describe_module(graph: Graph, node: Node, module: ModuleType) -> None:
    """A module that is handed around whole: all of an own one, the name of any other."""
    name = module.__name__
    if not graph.is_own(name):
        node.external = True
        node.write(f"external {name}")
        graph.library(node, name)
        return
    node.write("module")
    space = vars(module)
    for key in sorted(space):
        if key.startswith("__") and key.endswith("__"):
            continue
        node.write(f"name {key}")
        graph.value(node, state.held(space, key, space[key]), f"{name}.{key}", named=True)


def _describe_foreign(graph: Graph, node: Node, obj: Any) -> None:
    """An object of a library's class; a wrapper that says what it wraps leads there too."""
    wrapped = obj.__dict__.get("__wrapped__") if hasattr(obj, "__dict__") else None
    if wrapped is not None:
        node.write("wraps")
        graph.value(node, wrapped, node.name)
    describe_foreign_instance(graph, node, obj)


_DESCRIBERS: dict[type, Describer] = {
    FunctionType: _describe_function,
    MethodType: _describe_method,
    BuiltinFunctionType: _describe_builtin,
    MethodWrapperType: _describe_descriptor,
    WrapperDescriptorType: _describe_descriptor,
    type(str.upper): _describe_descriptor,
    type(FunctionType.__code__): _describe_descriptor,
    type(functools.partial.func): _describe_descriptor,
    type(vars(dict)["fromkeys"]): _describe_descriptor,
    ModuleType: _describe_module,
    functools.partial: _describe_partial,
    functools.partialmethod: _describe_partial,
    functools.cached_property: _describe_wrapping("func"),
    functools.singledispatchmethod: _describe_wrapping("dispatcher"),
    type(functools.lru_cache(lambda: None)): _describe_wrapping("__wrapped__"),
    property: _describe_property,
    staticmethod: _describe_wrapping("__func__"),
    classmethod: _describe_wrapping("__func__"),
}
