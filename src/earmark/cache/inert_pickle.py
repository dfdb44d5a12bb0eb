"""Reading a pickle as data: nothing in it is imported, called or built.

A pickle is a program for a small stack machine. This module runs that machine over `pickletools.genops` with
its own handlers: lists, dictionaries, strings and numbers come out as they are; numpy arrays are rebuilt from
their bytes here; the few internals of pandas that a data frame needs and classes of the program that wrote
the file become `Record`s, which hold what the pickle says about them and have no behaviour.

What a pickle may name is a closed list: see `earmark.cache.inert_objects`. A class from outside the standard
library and the large libraries may be named if it is made without arguments, as data classes are. Anything
else (``os.system``, ``builtins.eval``, a function of numpy, the extension registry, persistent ids) is
refused with its name before anything is read on.

Memory is bounded: the file by ``max_bytes``; what is made by naming one big object over and over by a budget
of `EXPANSION` times the file; and foreign objects are never printed, hashed or compared, which could take
exponential time.

Reference: the opcode table of the standard module `pickletools`; PEP 307, PEP 3154, PEP 574.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from earmark.cache.inert_objects import (
    Record,
    called,
    checked_global,
    finished_array,
    made,
    name_of,
    plain_key,
    plain_set,
    refused,
    set_state,
    text_of,
)
from earmark.errors import CacheError

__all__ = ["Record", "read_inert"]

MAX_BYTES: Final = 512 << 20
EXPANSION: Final = 16
SMALL_BYTES: Final = 1 << 16


_MARK: Final = object()
"""What MARK puts on the stack."""


def read_inert(data: bytes, *, max_bytes: int = MAX_BYTES) -> Any:
    """The object in the pickle ``data``, of plain Python objects, numpy arrays and `Record`.

    Raises
    ------
    CacheError
        The pickle is larger than ``max_bytes``, malformed, or names something outside the closed list.
    """
    if len(data) > max_bytes:
        raise CacheError(
            f"The pickle has {len(data)} bytes. Expected at most {max_bytes}. Raise max_bytes if you trust its size."
        )
    machine = _Machine(EXPANSION * len(data) + SMALL_BYTES)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return finished_array(*machine.pop_n(1))
            machine.step(opcode.name, argument)
    except (
        ValueError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise CacheError(
            f"The pickle is malformed: {error}. Expected a complete pickle. Make a fresh copy of the file."
        ) from error
    raise CacheError(
        "The pickle ends without a STOP opcode. Expected a complete file. Make a fresh copy of it."
    )


class _Machine:
    """The stack, the memo, and one handler per opcode."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHES:
            self.stack.append(bytes(argument) if isinstance(argument, bytearray) else argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _HANDLERS:
            _HANDLERS[name](self, argument)
        else:
            raise refused(f"the opcode {name}")

    def pop_to_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark on the stack")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def pop_n(self, count: int) -> tuple[Any, ...]:
        if count > len(self.stack):
            raise ValueError("the stack is empty")
        items = tuple(self.stack[-count:])
        if any(item is _MARK for item in items):
            raise ValueError("a mark where a value was expected")
        del self.stack[-count:]
        return items

    def charge(self, *values: Any) -> None:
        """Take the sizes of ``values``, which are about to be copied, from the budget."""
        for value in values:
            if isinstance(value, (tuple, list, dict, set, str, bytes)):
                self.budget -= len(value)
                if isinstance(value, tuple):
                    self.budget -= sum(
                        len(item) for item in value if isinstance(item, (list, dict, set, str, bytes))
                    )
        if self.budget < 0:
            raise refused(f"more than {EXPANSION} times its own size, by repetition")

    def set_items(self, items: Sequence[Any]) -> None:
        target = self.stack[-1]
        pairs = zip(items[::2], items[1::2], strict=True)
        if isinstance(target, dict):
            target.update((plain_key(key), value) for key, value in pairs)
        elif isinstance(target, Record):
            target.state.update((text_of(key), value) for key, value in pairs)
        else:
            raise ValueError(f"{type(target).__name__} cannot hold items")

    def extend(self, items: Sequence[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(plain_key(item) for item in items)
        else:
            raise ValueError(f"{type(target).__name__} cannot be extended")

    def find(self, module: Any, name: Any) -> None:
        self.stack.append(checked_global(module, name))

    def reduce(self, _: Any) -> None:
        function, arguments = self.pop_n(2)
        self.charge(arguments)
        self.stack.append(called(function, tuple(arguments)))

    def new_object(self, _: Any) -> None:
        kind, arguments = self.pop_n(2)
        self.charge(arguments)
        self.stack.append(made(kind, tuple(arguments)))

    def new_object_with_keywords(self, _: Any) -> None:
        kind, arguments, keywords = self.pop_n(3)
        if keywords:
            raise refused(f"a call of {name_of(kind)} with keyword arguments")
        self.stack.append(made(kind, tuple(arguments)))

    def instance(self, argument: Any) -> None:
        arguments = tuple(self.pop_to_mark())
        module, name = str(argument).split(" ", 1)
        self.stack.append(made(checked_global(module, name), arguments))

    def object(self, _: Any) -> None:
        kind, *arguments = self.pop_to_mark()
        self.stack.append(made(kind, tuple(arguments)))

    def build(self, _: Any) -> None:
        target, state = self.pop_n(2)
        self.stack.append(target)
        self.charge(state)
        set_state(target, state)

    def put(self, index: Any) -> None:
        self.memo[int(index)] = self.stack[-1]

    def get(self, index: Any) -> None:
        self.stack.append(self.memo[int(index)])


_CONSTANTS: Final[Mapping[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}

_PUSHES: Final = frozenset(
    {
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
    }
)

_HANDLERS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    "PROTO": lambda machine, version: None if version <= 5 else _refuse(f"pickle protocol {version}"),
    "FRAME": lambda machine, _: None,
    "POP": lambda machine, _: _drop(machine.stack.pop()),
    "POP_MARK": lambda machine, _: _drop(machine.pop_to_mark()),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_to_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(machine.pop_n(1)),
    "TUPLE2": lambda machine, _: machine.stack.append(machine.pop_n(2)),
    "TUPLE3": lambda machine, _: machine.stack.append(machine.pop_n(3)),
    "FROZENSET": lambda machine, _: machine.stack.append(plain_set(machine.pop_to_mark())),
    "DICT": lambda machine, _: _push_dict(machine),
    "APPEND": lambda machine, _: machine.extend(machine.pop_n(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.pop_n(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "GLOBAL": lambda machine, argument: machine.find(*str(argument).split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.find(*machine.pop_n(2)),
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.new_object,
    "NEWOBJ_EX": _Machine.new_object_with_keywords,
    "INST": _Machine.instance,
    "OBJ": _Machine.object,
    "BUILD": _Machine.build,
    "MEMOIZE": lambda machine, _: machine.put(len(machine.memo)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
}


def _push_dict(machine: _Machine) -> None:
    items = machine.pop_to_mark()
    machine.stack.append({})
    machine.set_items(items)


def _drop(_: object) -> None:
    return None


def _refuse(what: str) -> None:
    raise refused(what)
