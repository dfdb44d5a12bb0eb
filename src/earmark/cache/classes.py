"""Descriptions of classes and of instances of own classes.

An own class counts with all its methods and attributes, its bases and its metaclass: a method may be called by code
that is not seen (a library that is handed the object), so leaving unused ones out would not be safe. Not counted are
names, docstrings and annotations, and what Python derives from the rest.
"""

from __future__ import annotations

import enum
import functools
from types import FunctionType
from typing import Any

from earmark.cache import state
from earmark.cache.binding import attributes_of, write_own_members
from earmark.cache.graph import Graph, Node
from earmark.cache.normal_form import normal_form
from earmark.cache.parts import CLASS
from earmark.cache.values import describe_foreign_instance, write_items, write_mapping

__all__ = ["describe_class", "describe_instance"]

_DERIVED = frozenset(
    [
        "__module__",
        "__qualname__",
        "__doc__",
        "__dict__",
        "__weakref__",
        "__annotations__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__abstractmethods__",
        "_abc_impl",
        "__parameters__",
        "__orig_bases__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__type_params__",
        "__signature__",
        "__attrs_attrs__",
        "__attrs_props__",
        "__pydantic_fields_set__",
        "_is_protocol",
        "_is_runtime_protocol",
        "__protocol_attrs__",
        "__non_callable_proto_members__",
        "__slotnames__",
        "__classcell__",
        "__classdictcell__",
        "__class_vars__",
        "__private_attributes__",
    ]
)
_ENUM_MACHINERY = frozenset(
    [
        "_member_names_",
        "_member_map_",
        "_value2member_map_",
        "_unhashable_values_",
        "_hashable_values_",
        "_member_type_",
        "_new_member_",
        "_use_args_",
        "_value_repr_",
        "_generate_next_value_",
        "__new__",
        "_unhashable_values_map_",
        "__reduce_ex__",
        "_boundary_",
        "_flag_mask_",
        "_singles_mask_",
        "_all_bits_",
        "_inverted_",
        "_sort_order_",
        "__str__",
        "__repr__",
        "__format__",
        "_use_args_",
        "__new_member__",
    ]
)
_SLOT_TYPES = {"member_descriptor", "getset_descriptor", "_tuplegetter"}
_MAKING = {
    "__init__",
    "__new__",
    "__post_init__",
    "__setstate__",
    "__attrs_post_init__",
    "model_post_init",
    "__init_subclass__",
}
_BUILTIN_CONTENT = (dict, list, tuple, set, frozenset, str, int, float, complex, bytes)


def describe_class(graph: Graph, node: Node, cls: type) -> None:
    """Write the node of a class."""
    if not graph.is_own(cls.__module__):
        node.external = True
        node.write(f"external {cls.__module__}.{cls.__qualname__}")
        graph.library(node, cls.__module__)
        write_own_members(graph, node, cls)
        return
    node.kind = CLASS
    node.name = f"{cls.__module__}.{cls.__qualname__}"
    node.write("class")
    for base in cls.__bases__:
        graph.value(node, base, base.__qualname__)
    if type(cls) is not type:
        node.write("metaclass")
        graph.value(node, type(cls), type(cls).__qualname__)
    skipped = _write_special(graph, node, cls)
    for name in sorted(vars(cls)):
        if name not in skipped:
            _write_member(graph, node, cls, name)


def _write_special(graph: Graph, node: Node, cls: type) -> frozenset[str]:
    """What enumerations, dataclasses and pydantic models keep in forms of their own; returns names to leave out."""
    skipped = _DERIVED
    if isinstance(cls, enum.EnumMeta):
        skipped |= _ENUM_MACHINERY | frozenset(cls.__members__)
        members: dict[str, enum.Enum] = dict(cls.__members__)
        for name, member in members.items():
            node.write(f"member {name}")
            graph.value(node, member._value_, f"{node.name}.{name}", named=True)
    if "__dataclass_fields__" in vars(cls):
        _write_fields(graph, node, vars(cls)["__dataclass_fields__"])
        node.write(repr(vars(cls)["__dataclass_params__"]))
        if hasattr(vars(cls).get("__repr__"), "__wrapped__"):
            skipped |= {"__repr__"}
    if "__pydantic_fields__" in vars(cls):
        skipped |= frozenset(name for name in vars(cls) if name.startswith("__pydantic_"))
        _write_model_fields(graph, node, vars(cls)["__pydantic_fields__"])
    return skipped


def _write_fields(graph: Graph, node: Node, fields: dict[str, Any]) -> None:
    node.strings.update(fields)
    for name, field in fields.items():
        if field._field_type.name == "_FIELD_CLASSVAR":
            continue  # an attribute, and written as one; its kw_only is a mark whose repr holds an address
        node.write(
            f"field {name} {field.init} {field.compare} {field.hash} {field.kw_only} {field._field_type!r}"
        )
        if not _is_missing(field.default):
            graph.value(node, field.default, f"{node.name}.{name}", named=True)
        if not _is_missing(field.default_factory):
            node.write("factory")
            graph.value(node, field.default_factory, f"{node.name}.{name}")
        if field.metadata:
            graph.value(node, dict(field.metadata), f"{node.name}.{name} metadata")


def _is_missing(value: Any) -> bool:
    """True for the dataclasses module's mark; a class that came by value to a worker has a copy of it."""
    return type(value).__qualname__ == "_MISSING_TYPE"


def _write_model_fields(graph: Graph, node: Node, fields: dict[str, Any]) -> None:
    """Fields of a pydantic model; here the annotation counts, since it converts values."""
    node.strings.update(fields)
    for name, field in fields.items():
        node.write(f"field {name} {field.annotation!r} {field.alias!r} {field.metadata!r}")
        if not field.is_required():
            graph.value(node, field.default, f"{node.name}.{name}", named=True)
        if field.default_factory is not None:
            graph.value(node, field.default_factory, f"{node.name}.{name}")


def _write_member(graph: Graph, node: Node, cls: type, name: str) -> None:
    value = vars(cls)[name]
    if type(value).__name__ in _SLOT_TYPES:
        return
    value = state.held(cls, name, value)
    if value is state.ABSENT:
        return
    node.write(f"attribute {name}")
    node.strings.add(name)
    graph.value(node, value, f"{node.name}.{name}", named=True)


def describe_instance(graph: Graph, node: Node, obj: Any) -> None:
    """Write the node of an instance of an own class: its class and its stored attributes.

    A class with a method ``__fingerprint__`` says itself what an instance stands for.
    """
    cls = type(obj)
    own_account = getattr(cls, "__fingerprint__", None)
    if own_account is not None:
        node.write("stands for")
        graph.value(node, own_account(obj), node.name)
        return
    node.write("instance")
    graph.value(node, cls, cls.__qualname__)
    if isinstance(obj, enum.Enum):
        node.write(f"member {obj.name}")
        return
    _write_builtin_content(graph, node, obj)
    written = _attributes_written(cls)
    stored = dict(_stored(obj))
    for name in sorted(written):
        owner_value = stored.get(name, state.ABSENT)
        state.hold(obj, name, owner_value)
    for name in sorted(stored):
        value = state.held(obj, name, stored[name])
        if value is not state.ABSENT:
            node.write(f"attribute {name}")
            node.strings.add(name)
            graph.value(node, value, f"{node.name}.{name}", named=True)


def _stored(obj: Any) -> list[tuple[str, Any]]:
    """Attributes in the instance's dict and slots, without values cached by properties."""
    cls = type(obj)
    found = []
    for name, value in attributes_of(obj).items():
        if not isinstance(getattr(cls, name, None), functools.cached_property):
            found.append((name, value))
    for base in cls.__mro__:
        for name, raw in vars(base).items():
            if type(raw).__name__ == "member_descriptor" and name not in _DERIVED and hasattr(obj, name):
                found.append((name, getattr(obj, name)))
    return found


def _attributes_written(cls: type) -> set[str]:
    """Attributes that methods other than the constructors assign to their ``self``: state, not configuration."""
    return {
        mutation.path[0]
        for base in cls.__mro__[:-1]
        for name, member in vars(base).items()
        if name not in _MAKING and isinstance(function := _function_of(member), FunctionType)
        for mutation in normal_form(function.__code__).mutations
        if mutation.base == "self"
    }


def _function_of(member: Any) -> Any:
    if isinstance(member, property):
        return member.fget
    return getattr(member, "__wrapped__", member)


def _write_builtin_content(graph: Graph, node: Node, obj: Any) -> None:
    """What a subclass of a builtin or C type holds besides its attributes."""
    foreign = next((base for base in type(obj).__mro__ if not graph.is_own(base.__module__)), object)
    if isinstance(obj, dict):
        write_mapping(graph, node, dict(state.content(obj)))
    elif isinstance(obj, list | tuple):
        write_items(graph, node, list(state.content(obj)))
    elif isinstance(obj, set | frozenset):
        graph.value(node, frozenset(obj), node.name)
    elif isinstance(obj, _BUILTIN_CONTENT):
        plain: Any = next(base for base in _BUILTIN_CONTENT if isinstance(obj, base))
        graph.value(node, plain.__new__(plain, obj), node.name)
    elif foreign is not object and not foreign.__flags__ & (1 << 9):
        describe_foreign_instance(graph, node, obj)
