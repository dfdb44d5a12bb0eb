"""Values that the code itself changes while it runs: memo dicts, counters, lazily loaded tables, random generators.

Such a value is not configuration. What the code will put there follows from the code, which is hashed; so the value
counts as it was when it was first seen in this process, normally at the declaration, and later content does not change
a fingerprint. Only what the code of a closure writes to is treated so; an object that is changed from outside, such
as a registry or a configuration that a notebook patches, is read anew each time.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Any

__all__ = ["ABSENT", "content", "held", "hold", "snapshot"]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
"""Stands for an attribute or name that did not exist when it was first seen."""

_first_seen: dict[tuple[int, str, int], tuple[Any, Any]] = {}


def hold(owner: Any, name: str, value: Any) -> None:
    """Remember ``value``, found under ``name`` in ``owner``, as it is now, unless an earlier one is remembered."""
    _first_seen.setdefault(_key(owner, name), (owner, snapshot(value)))


def held(owner: Any, name: str, value: Any) -> Any:
    """What was first seen under ``name`` in ``owner``, or ``value`` if that name is not state."""
    if not _first_seen:
        return value
    entry = _first_seen.get(_key(owner, name))
    return value if entry is None else entry[1]


def content(container: Any) -> Any:
    """The container as first seen if it is state, else itself."""
    return held(container, "", container)


def snapshot(value: Any) -> Any:
    """A copy of the builtin containers and arrays in ``value``; everything else is shared."""
    kind = type(value)
    if kind is dict:
        return {key: snapshot(element) for key, element in value.items()}
    if kind in (list, set, tuple, frozenset):
        return kind(snapshot(element) for element in value)
    if isinstance(value, dict | list | set | bytearray | deque):
        return copy.copy(value)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return value.copy()
    return value


def _key(owner: Any, name: str) -> tuple[int, str, int]:
    # A reloaded module keeps its namespace but gets a new __spec__: what was seen before the reload is void.
    specification = owner.get("__spec__") if type(owner) is dict and "__builtins__" in owner else None
    return id(owner), name, id(specification)
