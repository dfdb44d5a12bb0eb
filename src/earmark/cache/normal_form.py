"""The normal form of a code object: what it computes, without how it was written down.

Two code objects have equal normal forms when they differ only in comments, docstrings, annotations, positions,
formatting, or the names of local variables. It is read from the code that runs, not from the source text, so an edited
file does not change what a running process says of itself.

How
---
* Instructions are visited along the control flow from the entry; jumps become labels in the order of the visit, short
  exits are written out at each jump to them, so that neither line breaks nor the layout of blocks matter.
* Local variables are numbered by first use, constants stand where they are used.
* Annotations of nested functions and docstrings of nested classes are cut out.
* References to what lives outside the code are left symbolic (`Load`, `Import`, `Nested`): the closure binds them
  to live objects. ``import`` statements that only bind a local name vanish into the references that use it.
* What the code writes to (`Mutation`) is noted: memo dicts and counters are state, not configuration.

A normal form depends on nothing but the code object and is kept per code object.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

from earmark.cache.bytecode import (
    CONSTANT,
    JUMP,
    LOCAL,
    NAME,
    Instruction,
    decode,
    exception_table,
    stack_effect,
)

__all__ = [
    "Call",
    "Import",
    "Load",
    "Mutation",
    "Nested",
    "NormalForm",
    "Parameter",
    "constant_text",
    "normal_form",
]

_UNCONDITIONAL = {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_ABSOLUTE", "JUMP"}
_KEEPING = {"JUMP_IF_TRUE_OR_POP": "POP_JUMP_IF_TRUE", "JUMP_IF_FALSE_OR_POP": "POP_JUMP_IF_FALSE"}
_CONDITIONAL = set(_KEEPING) | set(_KEEPING.values())
_TERMINAL = {"RETURN_VALUE", "RAISE_VARARGS", "RERAISE", "INTERPRETER_EXIT"}
_SHORT_EXIT = 6
"""Exits of up to this many instructions are copied to each jump; the compiler itself copies those of up to 4."""

_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
"""Flags that change what a call does: *args, **kwargs, generator, coroutine, iterable coroutine, async generator."""

_OPTIMIZED = 0x01
_MUTATING_METHODS = frozenset(
    "add append appendleft clear discard extend extendleft insert pop popitem popleft remove reverse rotate setdefault "
    "sort update move_to_end".split()
)
_INSPECTED_BY_CALL = frozenset({"getattr", "import_module", "__import__"})
_SUBSCRIPTS = {"BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR"}
INTROSPECTION = frozenset(
    "__annotations__ __doc__ __module__ __name__ __qualname__ annotation get_annotations get_type_hints getdoc".split()
)


@dataclass(frozen=True, slots=True)
class Call:
    """The constant a call passes where it decides what is reached; ``known`` is False if it is not a constant."""

    known: bool
    value: Any = None


@dataclass(frozen=True, slots=True)
class Load:
    """A global name with the attributes read from it: ``cfg.audio.GAIN``."""

    name: str
    attributes: tuple[str, ...]
    offset: int
    call: Call | None = None
    through_getattr: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """A module, or a member of one, that the code imports itself, with the attributes read from it."""

    module: str
    level: int
    member: str | None
    attributes: tuple[str, ...]
    offset: int
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Nested:
    """A function, lambda, comprehension or class body inside the code."""

    form: NormalForm


@dataclass(frozen=True, slots=True)
class Parameter:
    """The name of a parameter: it counts only where a keyword or a string of the closure can spell it."""

    position: int
    name: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """What the code writes to: ``base`` is ``global``, ``free``, ``parameter`` or ``self``; empty ``path`` is the name itself."""

    base: str
    name: str
    path: tuple[str, ...]
    rebinds: bool


Token = str | Load | Import | Nested | Parameter


@dataclass(frozen=True, slots=True)
class NormalForm:
    """Tokens in order; ``free`` the free variables in order of first use; ``strings`` all that could name a parameter."""

    code: CodeType
    tokens: tuple[Token, ...]
    free: tuple[str, ...]
    strings: frozenset[str]
    introspection: frozenset[str]
    mutations: tuple[Mutation, ...]
    open_keywords: bool
    digest: str


@lru_cache(maxsize=None)
def _normal_form(key: _ByIdentity) -> NormalForm:
    return _Normaliser(key.code).run()


class _ByIdentity:
    """Code objects compare by value, equal ones may differ in what they nest; and comparing them is slow."""

    __slots__ = ("code",)

    def __init__(self, code: CodeType) -> None:
        self.code = code

    def __hash__(self) -> int:
        return id(self.code)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.code is self.code


def normal_form(code: CodeType) -> NormalForm:
    """The normal form of a code object, computed once."""
    return _normal_form(_ByIdentity(code))


def constant_text(value: Any) -> str:
    """A constant as one line of text that tells type and value apart: 1, 1.0 and True; 0.0 and -0.0."""
    kind = type(value)
    if kind is float:
        return f"float {value.hex()}" if value == value else f"float nan {_float_bits(value)}"
    if kind is complex:
        return f"complex({constant_text(value.real)}, {constant_text(value.imag)})"
    if kind is str:
        return f"str {ascii(value)}"
    if kind is tuple:
        return f"tuple({', '.join(map(constant_text, value))})"
    if kind is frozenset:
        return f"frozenset({', '.join(sorted(map(constant_text, value)))})"
    if kind is slice:
        return f"slice({', '.join(map(constant_text, (value.start, value.stop, value.step)))})"
    if isinstance(value, CodeType):
        return f"code {normal_form(value).digest}"
    return f"{kind.__name__} {value!r}"


def _float_bits(value: float) -> str:
    import struct

    return struct.pack(">d", value).hex()


class _Normaliser:
    """One pass over one code object."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.instructions = decode(code)
        self.targets = {ins.value for ins in self.instructions if ins.kind == JUMP}
        self.dropped: set[int] = set()
        self.units: dict[int, CodeType] = {}
        self.calls: dict[int, Call] = {}
        self.getattr_names: dict[int, str] = {}
        self.imports: dict[str, tuple[str, int, str | None]] = {}
        self.strings: set[str] = set()
        self.introspection: set[str] = set()
        self.numbers: dict[str, int] = {}
        self.free: list[str] = []
        self.tokens: list[Token] = []
        self.lines: list[str] = []
        self.nested: list[NormalForm] = []

    def run(self) -> NormalForm:
        code = self.code
        if not code.co_flags & _OPTIMIZED:
            self._cut_class_preamble()
        for index, ins in enumerate(self.instructions):
            self._prepare(index, ins)
        mutations = tuple(dict.fromkeys(self._mutations()))
        self._signature()
        _Flow(self).emit()
        self._flush()
        nested_strings = frozenset().union(*(form.strings for form in self.nested))
        nested_names = frozenset().union(*(form.introspection for form in self.nested))
        nested_mutations = tuple(
            mutation
            for form in self.nested
            for mutation in form.mutations
            if mutation.base == "global" or (mutation.base == "free" and mutation.name in code.co_freevars)
        )
        return NormalForm(
            code,
            tuple(self.tokens),
            tuple(self.free),
            frozenset(self.strings) | nested_strings,
            frozenset(self.introspection) | nested_names,
            mutations + nested_mutations,
            self._has_open_keywords() or any(form.open_keywords for form in self.nested),
            _digest(self.tokens),
        )

    # What is cut out or noted before the visit

    def _cut_class_preamble(self) -> None:
        """Drop ``__module__``, ``__qualname__`` and ``__doc__`` of a class body: names and text, not behaviour."""
        for index in range(1, len(self.instructions)):
            ins = self.instructions[index]
            if ins.op == "STORE_NAME" and ins.value in ("__module__", "__qualname__", "__doc__"):
                self.dropped |= {index - 1, index}
            if ins.op == "STORE_NAME" and ins.value in ("__firstlineno__", "__static_attributes__"):
                self.dropped |= {index - 1, index}

    def _prepare(self, index: int, ins: Instruction) -> None:
        op = ins.op
        if op in ("MAKE_CELL", "COPY_FREE_VARS"):
            self.dropped.add(index)
        elif op == "MAKE_FUNCTION":
            self._fold_function(index, ins)
        elif op == "SET_FUNCTION_ATTRIBUTE":
            self._fold_attribute(index, ins)
        elif op == "IMPORT_NAME" and index >= 2:
            self._fold_import(index, ins)
        elif op in ("LOAD_GLOBAL", "LOAD_NAME") and ins.value in _INSPECTED_BY_CALL:
            self._inspect_call(index, index, str(ins.value))
        elif op == "LOAD_ATTR" and ins.value == "import_module":
            self._inspect_call(self._chain_start(index), index, "import_module")
        elif op == "LOAD_ATTR" and ins.value == "modules":
            self._inspect_subscript(self._chain_start(index), index)
        if ins.kind == NAME and ins.value in INTROSPECTION:
            self.introspection.add(str(ins.value))
        if ins.kind == CONSTANT:
            self.strings.update(_strings_in(ins.value))

    def _fold_function(self, index: int, ins: Instruction) -> None:
        """Take code, closure and annotations of a nested function together (3.11 and 3.12)."""
        code_at = index - 1
        if code_at < 0 or not isinstance(self.instructions[code_at].value, CodeType):
            return
        flags, end = int(ins.value), code_at
        if ins.opcode < 0 or ins.argument is None:
            flags = 0
        if flags & 8:
            end = self._drop_closure_tuple(end, self.instructions[code_at].value)
        if flags & 4 and end is not None:
            start = self._operand_start(end)
            if start is not None:
                self.dropped.update(range(start, end))
        self.dropped.add(code_at)
        self.units[index] = self.instructions[code_at].value

    def _drop_closure_tuple(self, end: int, code: CodeType) -> int:
        count = len(code.co_freevars)
        self.dropped.update(range(end - 1 - count, end))
        return end - 1 - count

    def _fold_attribute(self, index: int, ins: Instruction) -> None:
        """The same where each attribute is set by its own instruction (3.13)."""
        make = index - 1
        while make >= 0 and self.instructions[make].op == "SET_FUNCTION_ATTRIBUTE":
            make -= 1
        if make not in self.units:
            return
        end = make - 1
        for at in range(make + 1, index + 1):
            flag = int(self.instructions[at].value)
            start = end - 1 - len(self.units[make].co_freevars) if flag == 8 else self._operand_start(end)
            if start is None:
                return
            if at == index and flag in (4, 8, 16):
                self.dropped.update(range(start, end))
                self.dropped.add(index)
            end = start

    def _fold_import(self, index: int, ins: Instruction) -> None:
        """Resolve an import whose names are bound once, as locals, and cut the statement out."""
        level, members = self.instructions[index - 2].value, self.instructions[index - 1].value
        bindings, end = self._import_bindings(index, str(ins.value), level, members)
        if bindings is None or any(not self._bound_once(variable) for variable in bindings):
            return
        self.imports.update(bindings)
        self.dropped.update(range(index - 2, end))

    def _import_bindings(
        self, index: int, module: str, level: int, members: tuple[str, ...] | None
    ) -> tuple[dict[str, tuple[str, int, str | None]] | None, int]:
        ops, at = self.instructions, index + 1
        if members is None:
            target = module.partition(".")[0]
            if at < len(ops) and ops[at].op == "IMPORT_FROM":
                target = module
                while at < len(ops) and ops[at].op in ("IMPORT_FROM", "SWAP", "POP_TOP"):
                    at += 1
            if at >= len(ops) or ops[at].op != "STORE_FAST":
                return None, at
            variable = str(ops[at].value)
            trailing = int(target == module and "." in module)
            return {variable: (target, level, None)}, at + 1 + trailing
        found: dict[str, tuple[str, int, str | None]] = {}
        while at + 1 < len(ops) and ops[at].op == "IMPORT_FROM" and ops[at + 1].op == "STORE_FAST":
            found[str(ops[at + 1].value)] = (module, level, str(ops[at].value))
            at += 2
        complete = len(found) == len(members) and at < len(ops) and ops[at].op == "POP_TOP"
        return (found if complete else None), at + 1

    def _bound_once(self, variable: str) -> bool:
        if variable in self.code.co_varnames[: _parameter_count(self.code)]:
            return False
        writes = [ins for ins in self.instructions if ins.kind == LOCAL and ins.value == variable]
        return sum(ins.op in ("STORE_FAST", "DELETE_FAST", "STORE_DEREF") for ins in writes) == 1

    def _inspect_call(self, start: int, index: int, name: str) -> None:
        """Note the constant that decides what ``getattr`` or ``import_module`` reaches."""
        call = self._call_of(index)
        if call is None:
            self.calls[start] = Call(False)
            return
        count, end = int(self.instructions[call].value), call
        while end - 1 >= 0 and self.instructions[end - 1].op == "KW_NAMES":
            end -= 1
        position = 1 if name == "getattr" else 0
        bounds = self._argument(end, count, position)
        known = (
            bounds is not None
            and bounds[1] - bounds[0] == 1
            and self.instructions[bounds[0]].op == "LOAD_CONST"
        )
        if not known or bounds is None or not isinstance(self.instructions[bounds[0]].value, str):
            self.calls[start] = Call(False)
            return
        value = self.instructions[bounds[0]].value
        if name == "import_module" and count == 2 and value.startswith("."):
            package = self._argument(end, count, 1)
            spelled = package and self.instructions[package[0]].op == "LOAD_CONST"
            self.calls[start] = Call(
                True, (value, self.instructions[package[0]].value if package and spelled else None)
            )
            return
        self.calls[start] = Call(True, value)
        base = self._argument(end, count, 0) if name == "getattr" else None
        if base is not None and self._is_chain(*base):
            self.getattr_names[base[0]] = value

    def _inspect_subscript(self, start: int, index: int) -> None:
        """Note the key of ``sys.modules["name"]``."""
        ops = self.instructions
        constant = (
            index + 2 < len(ops)
            and ops[index + 1].op == "LOAD_CONST"
            and isinstance(ops[index + 1].value, str)
        )
        if constant and ops[index + 2].op in ("BINARY_SUBSCR", "BINARY_OP"):
            self.calls[start] = Call(True, ops[index + 1].value)
        else:
            self.calls[start] = Call(False)

    def _call_of(self, index: int) -> int | None:
        """The ``CALL`` of the callable that instruction ``index`` pushes, if its arguments are one straight line."""
        depth = 1
        for at in range(index + 1, len(self.instructions)):
            ins = self.instructions[at]
            if ins.kind == JUMP or at in self.targets:
                return None
            depth += stack_effect(ins)
            if ins.op == "CALL" and depth == 1:
                return at
            if depth < 1 or ins.op in ("CALL_FUNCTION_EX", "CALL_KW") and depth == 1:
                return None
            if at == index + 1 and depth == 1:
                return None
        return None

    def _argument(self, end: int, count: int, position: int) -> tuple[int, int] | None:
        """Where the positional argument ``position`` of a call is computed, as [start, end)."""
        if position >= count:
            return None
        for _ in range(count - 1 - position):
            start = self._operand_start(end)
            if start is None:
                return None
            end = start
        start = self._operand_start(end)
        return None if start is None else (start, end)

    def _operand_start(self, end: int) -> int | None:
        """First instruction of the expression whose value is on top of the stack before ``end``."""
        needed = 1
        for at in range(end - 1, -1, -1):
            ins = self.instructions[at]
            if ins.kind == JUMP:
                return None
            needed -= stack_effect(ins)
            if needed <= 0:
                return at if needed == 0 else None
            if at in self.targets:
                return None
        return None

    def _is_chain(self, start: int, end: int) -> bool:
        ops = self.instructions
        return ops[start].op in ("LOAD_GLOBAL", "LOAD_FAST") and all(
            ops[i].op == "LOAD_ATTR" for i in range(start + 1, end)
        )

    def _chain_start(self, index: int) -> int:
        while index > 0 and self.instructions[index].op == "LOAD_ATTR":
            index -= 1
        return index

    # What the code writes to

    def _mutations(self) -> Iterator[Mutation]:
        for index, ins in enumerate(self.instructions):
            if ins.op in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                yield Mutation("global", str(ins.value), (), True)
            elif ins.op in ("STORE_DEREF", "DELETE_DEREF") and ins.value in self.code.co_freevars:
                yield Mutation("free", str(ins.value), (), True)
            elif ins.op in ("STORE_ATTR", "DELETE_ATTR"):
                yield from self._mutation(index, (str(ins.value),), True)
            elif ins.op in ("STORE_SUBSCR", "DELETE_SUBSCR"):
                key = self._operand_start(index)
                if key is not None:
                    yield from self._mutation(key, (), False)
            elif ins.op == "LOAD_ATTR" and ins.value in _MUTATING_METHODS:
                yield from self._mutation(index, (), False)

    def _mutation(self, end: int, path: tuple[str, ...], rebinds: bool) -> Iterator[Mutation]:
        base = self._base(end, path, 0)
        if base is not None:
            yield Mutation(base[0], base[1], base[2], rebinds and len(base[2]) == len(path))

    def _base(self, end: int, path: tuple[str, ...], depth: int) -> tuple[str, str, tuple[str, ...]] | None:
        """The name from which the value on top of the stack before ``end`` was read, and the attributes between."""
        if end < 1 or depth > 8:
            return None
        ins = self.instructions[end - 1]
        if ins.op == "LOAD_ATTR":
            return self._base(end - 1, (str(ins.value), *path), depth + 1)
        if ins.op in ("BINARY_SUBSCR", "BINARY_OP"):
            key = self._operand_start(end - 1)
            return None if key is None else self._base(key, (), depth + 1)
        if ins.op in ("COPY", "SWAP"):
            return self._base(end - 1, path, depth + 1)
        if ins.op in ("LOAD_GLOBAL", "LOAD_NAME"):
            return "global", str(ins.value), path
        if ins.op == "LOAD_DEREF":
            return ("free", str(ins.value), path) if ins.value in self.code.co_freevars else None
        return self._local_base(ins, path, depth) if ins.op == "LOAD_FAST" else None

    def _local_base(
        self, ins: Instruction, path: tuple[str, ...], depth: int
    ) -> tuple[str, str, tuple[str, ...]] | None:
        variable = str(ins.value)
        parameters = self.code.co_varnames[: _parameter_count(self.code)]
        if parameters and variable == parameters[0] and path:
            return "self", variable, path
        if variable in parameters:
            return "parameter", variable, path
        stores = [
            i
            for i, other in enumerate(self.instructions)
            if other.op == "STORE_FAST" and other.value == variable
        ]
        return self._base(stores[0], path, depth + 1) if len(stores) == 1 else None

    def _has_open_keywords(self) -> bool:
        """True if a call spreads a dict whose keys are not the function's own ``**keywords``."""
        own = self.code.co_varnames[_parameter_count(self.code) - 1] if self.code.co_flags & 8 else None
        return any(
            ins.op == "DICT_MERGE"
            and not (
                self.instructions[index - 1].op == "LOAD_FAST" and self.instructions[index - 1].value == own
            )
            for index, ins in enumerate(self.instructions)
        )

    # Tokens

    def _signature(self) -> None:
        code = self.code
        count = _parameter_count(code)
        self.line(
            f"code {code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags & _FLAGS}"
        )
        for position, name in enumerate(code.co_varnames[:count]):
            self.numbers[name] = position
            if code.co_posonlyargcount <= position < code.co_argcount + code.co_kwonlyargcount:
                self.token(Parameter(position, name))

    def line(self, text: str) -> None:
        self.lines.append(text)

    def token(self, token: Token) -> None:
        self._flush()
        self.tokens.append(token)

    def _flush(self) -> None:
        if self.lines:
            self.tokens.append("\n".join(self.lines))
            self.lines = []

    def number(self, variable: str) -> int:
        number = self.numbers.get(variable)
        if number is None:
            number = self.numbers[variable] = len(self.numbers)
            if variable in self.code.co_freevars:
                self.free.append(variable)
        return number

    def emit_function(self, index: int, code: CodeType) -> None:
        """A nested function: the flags that remain, its closure in the order the inner code uses it, and its form."""
        form = normal_form(code)
        self.nested.append(form)
        flags = (
            int(self.instructions[index].value) & ~0x0C
            if self.instructions[index].argument is not None
            else 0
        )
        self.line(f"function {flags}")
        self.token(Nested(form))
        for variable in form.free:
            self.line(f"closes {self.number(variable)}")


class _Flow:
    """Visits the instructions along the control flow and writes them to the normaliser."""

    def __init__(self, normaliser: _Normaliser) -> None:
        self.out = normaliser
        kept = [index for index in range(len(normaliser.instructions)) if index not in normaliser.dropped]
        self.original = kept
        self.instructions = [normaliser.instructions[index] for index in kept]
        renumbered, following = {}, len(kept)
        position = {index: new for new, index in enumerate(kept)}
        for index in range(len(normaliser.instructions), -1, -1):
            following = position.get(index, following)
            renumbered[index] = following
        self.target = {
            new: renumbered[ins.value] for new, ins in enumerate(self.instructions) if ins.kind == JUMP
        }
        self._straighten()
        self.handler = self._handlers(renumbered)
        self.exits: dict[int, tuple[int, ...] | None] = {}
        self.labels: dict[int, int] = {}
        self.queue: deque[int] = deque()
        self.current: tuple[int, int, bool] | None = None
        self.labelled = self._find_labels()

    def _handlers(self, renumbered: dict[int, int]) -> list[tuple[int, int, bool] | None]:
        handlers: list[tuple[int, int, bool] | None] = [None] * len(self.instructions)
        rows = exception_table(self.out.code)
        if not rows:
            return handlers
        index_at = {}
        for index, ins in enumerate(self.out.instructions):
            index_at.setdefault(ins.offset, index)
        offsets = sorted(index_at)
        from bisect import bisect_left

        def index_of(offset: int) -> int:
            at = bisect_left(offsets, offset)
            return renumbered[index_at[offsets[at]] if at < len(offsets) else len(self.out.instructions)]

        for row in rows:
            target = self.thread(index_of(row.target))
            for index in range(index_of(row.start), index_of(row.end)):
                handlers[index] = handlers[index] or (target, row.depth, row.lasti)
        return handlers

    def _straighten(self) -> None:
        """Follow chains of ``and`` / ``or`` jumps to their end; the compiler does so only within one source line."""
        for index, target in self.target.items():
            ins = self.instructions[index]
            while ins.op in _KEEPING:
                target = self.thread(target)
                other = self.instructions[target].op if target in self.target else ""
                if other not in _CONDITIONAL:
                    break
                ins.op = ins.op if other == ins.op else _KEEPING[ins.op]
                agrees = "TRUE" in other if "TRUE" in ins.op else "FALSE" in other
                target = self.target[target] if agrees else target + 1
            self.target[index] = target

    def thread(self, index: int) -> int:
        """Where execution that arrives at ``index`` really goes on, past unconditional jumps."""
        seen = set()
        while (
            index < len(self.instructions)
            and self.instructions[index].op in _UNCONDITIONAL
            and index not in seen
        ):
            seen.add(index)
            index = self.target[index]
        return index

    def _find_labels(self) -> set[int]:
        """Instructions that more than one path reaches, or that a conditional jump or an exception leads to."""
        arrivals: dict[int, int] = {}
        labelled: set[int] = set()
        stack, seen = [self.thread(0)], set()
        while stack:
            index = stack.pop()
            if index in seen or index >= len(self.instructions):
                continue
            seen.add(index)
            handler = self.handler[index]
            if handler is not None:
                labelled.add(handler[0])
                stack.append(handler[0])
            ins = self.instructions[index]
            if index in self.target and ins.op not in _UNCONDITIONAL:
                target = self.thread(self.target[index])
                stack.append(target)
                if self.short_exit(target) is None:
                    labelled.add(target)
            if ins.op not in _TERMINAL:
                following = self.thread(index + 1 if ins.op not in _UNCONDITIONAL else index)
                arrivals[following] = arrivals.get(following, 0) + 1
                stack.append(following)
        return labelled | {
            index for index, count in arrivals.items() if count > 1 and self.short_exit(index) is None
        }

    def short_exit(self, index: int) -> tuple[int, ...] | None:
        """The instructions from ``index`` to a return or raise, if they are few and do not branch."""
        if index not in self.exits:
            path: list[int] = []
            at = index
            result = None
            while at < len(self.instructions) and len(path) < _SHORT_EXIT:
                at = self.thread(at)
                if at in self.target:
                    break
                path.append(at)
                if self.instructions[at].op in _TERMINAL:
                    result = tuple(path)
                    break
                at += 1
            self.exits[index] = result
        return self.exits[index]

    def emit(self) -> None:
        self.queue.append(self.thread(0))
        done: set[int] = set()
        while self.queue:
            start = self.queue.popleft()
            if start not in done:
                self.current = None
                self._emit_run(start, done)
                self.out.line("end")

    def _emit_run(self, index: int, done: set[int]) -> None:
        while index < len(self.instructions):
            index = self.thread(index)
            if index in done and self.short_exit(index) is None:
                self.out.line(f"goto {self._label(index)}")
                return
            if index in self.labelled:
                self.out.line(f"label {self._label(index)}")
                self.current = None
            done.add(index)
            index = self._emit_one(index)
            if index < 0:
                return

    def _emit_one(self, index: int) -> int:
        """Write one instruction, or a chain of attribute reads; returns the next, -1 at the end of the path."""
        ins = self.instructions[index]
        self._mark_handler(index)
        if index in self.target:
            if ins.op in _UNCONDITIONAL:
                self.out.line("loop")
                return -1
            self._emit_branch(ins, self.thread(self.target[index]))
            return index + 1
        if ins.op in ("LOAD_GLOBAL", "LOAD_NAME") or (
            ins.op == "LOAD_FAST" and ins.value in self.out.imports
        ):
            return self._emit_load(index, ins)
        self._emit_plain(index, ins)
        return -1 if ins.op in _TERMINAL else index + 1

    def _emit_branch(self, ins: Instruction, target: int) -> None:
        leaving = self.short_exit(target)
        if leaving is None:
            self.out.line(f"{ins.op} {self._label(target)}")
            self.queue.append(target)
            return
        self.out.line(f"{ins.op} {{")
        before, self.current = self.current, None
        at = 0
        while at < len(leaving):
            following = self._emit_one(leaving[at])
            at += max(1, following - leaving[at]) if following > 0 else len(leaving)
        self.current = before
        self.out.line("}")

    def _mark_handler(self, index: int) -> None:
        handler = self.handler[index]
        if handler != self.current:
            self.current = handler
            if handler is None:
                self.out.line("unguarded")
            else:
                self.out.line(f"guarded {self._label(handler[0])} {handler[1]} {handler[2]:d}")
                self.queue.append(handler[0])

    def _emit_load(self, index: int, ins: Instruction) -> int:
        attributes = []
        at = index + 1
        while (
            at < len(self.instructions)
            and at not in self.labelled
            and self.instructions[at].op == "LOAD_ATTR"
        ):
            attributes.append(str(self.instructions[at].value))
            at += 1
        original = self.original[index]
        named = self.out.getattr_names.get(original)
        reached = (*attributes, named) if named is not None else tuple(attributes)
        call = self.out.calls.get(original)
        if ins.op == "LOAD_FAST":
            module, level, member = self.out.imports[str(ins.value)]
            self.out.token(Import(module, level, member, tuple(attributes), ins.offset, call))
        else:
            self.out.token(Load(str(ins.value), reached, ins.offset, call, named is not None))
        return at

    def _emit_plain(self, index: int, ins: Instruction) -> None:
        out = self.out
        code = out.units.get(self.original[index])
        if code is not None:
            out.emit_function(self.original[index], code)
        elif ins.op == "IMPORT_NAME":
            self._emit_import(index, ins)
        elif ins.kind == LOCAL:
            out.line(f"{ins.op} {out.number(str(ins.value))}")
        elif ins.kind == CONSTANT:
            if isinstance(ins.value, CodeType):
                form = normal_form(ins.value)
                out.nested.append(form)
                out.token(Nested(form))
            else:
                out.line(f"{ins.op} {constant_text(ins.value)}")
        elif ins.kind == NAME:
            out.line(f"{ins.op} {ins.value}")
        else:
            out.line(f"{ins.op} {ins.value}")

    def _emit_import(self, index: int, ins: Instruction) -> None:
        """An import that could not be resolved to locals bound once: reach what it names, whole."""
        level, members = self.instructions[index - 2].value, self.instructions[index - 1].value
        self.out.line("import")
        for member in members or (None,):
            self.out.token(Import(str(ins.value), int(level or 0), member, (), ins.offset))

    def _label(self, index: int) -> int:
        return self.labels.setdefault(index, len(self.labels))


def _parameter_count(code: CodeType) -> int:
    return code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)


def _strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple | frozenset):
        for element in value:
            yield from _strings_in(element)


def _digest(tokens: Sequence[Token]) -> str:
    """Hash of the tokens alone, names of globals included: who this code is, apart from what its names mean."""
    state = hashlib.blake2b(digest_size=8)
    for token in tokens:
        text = (
            token.form.digest
            if isinstance(token, Nested)
            else token
            if isinstance(token, str)
            else _symbol(token)
        )
        state.update(text.encode())
        state.update(b"\0")
    return state.hexdigest()


def _symbol(token: Load | Import | Parameter) -> str:
    if isinstance(token, Load):
        return ".".join((token.name, *token.attributes))
    if isinstance(token, Import):
        return f"{'.' * token.level}{token.module}:{token.member or ''}:{'.'.join(token.attributes)}"
    return str(token.position)
