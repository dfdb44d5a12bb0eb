"""The normal form of a code object: what it computes, without how it was written down.

Two code objects have equal normal forms when they differ only in comments, docstrings, annotations, positions,
formatting, or the names of local variables. It is read from the code that runs, not from the source text, so an edited
file does not change what a running process says of itself.

How
---
* Instructions are visited along the control flow (`earmark.cache.control_flow`); the layout of blocks does not matter.
* Local variables are numbered by first use, constants stand where they are used.
* Annotations of nested functions and docstrings of nested classes are cut out.
* References to what lives outside the code are left symbolic (`earmark.cache.symbols`): the closure binds them to live
  objects. ``import`` statements that only bind a local name vanish into the references that use it.
* What the code writes to (`Mutation`) is noted: memo dicts and counters are state, not configuration.

A normal form depends on nothing but the code object and is kept per code object.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from types import CodeType
from typing import Any

from earmark.cache.bytecode import CONSTANT, LOCAL, NAME, Instruction, decode, exception_table
from earmark.cache.control_flow import Flow
from earmark.cache.operands import Operands, parameter_count
from earmark.cache.symbols import Argument, Calling, Import, Load, Nested, NormalForm, Parameter, Token

__all__ = ["INTROSPECTION", "constant_text", "normal_form"]

_FLAGS = 0x04 | 0x08 | 0x20 | 0x80 | 0x100 | 0x200
"""Flags that change what a call does: *args, **kwargs, generator, coroutine, iterable coroutine, async generator."""

_OPTIMIZED = 0x01
_INSPECTED_BY_CALL = frozenset({"getattr", "import_module", "__import__"})
INTROSPECTION = frozenset(
    {"__annotations__", "__doc__", "__module__", "__name__", "__qualname__"}
    | {"annotation", "get_annotations", "get_type_hints", "getdoc"}
)
"""Names by which code reads its own names, docstrings and annotations: where they occur, those count."""


@cache
def _normal_form(key: _ByIdentity) -> NormalForm:
    return Normaliser(key.code).run()


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
        return f"str {value!a}"
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
    return struct.pack(">d", value).hex()


class Normaliser:
    """One pass over one code object."""

    def __init__(self, code: CodeType) -> None:
        self.code = code
        self.instructions = decode(code)
        self.operands = Operands(code, self.instructions)
        self.guarded = exception_table(code)
        self.dropped: set[int] = set()
        self.units: dict[int, CodeType] = {}
        self.arguments: dict[int, Argument] = {}
        self.getattr_names: dict[int, str] = {}
        self.callings: dict[int, Calling] = {}
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
        for index, ins in enumerate(self.instructions):
            if index in self.dropped:
                continue
            if ins.kind == NAME and ins.value in INTROSPECTION:
                self.introspection.add(str(ins.value))
            if ins.kind == CONSTANT:
                self.strings.update(_strings_in(ins.value))
        mutations = tuple(dict.fromkeys(self.operands.mutations()))
        self._signature()
        Flow(code, self.instructions, self.dropped, self).emit()
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
            self.operands.has_open_keywords() or any(form.open_keywords for form in self.nested),
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
        elif op in ("CALL", "CALL_KW"):
            self._fold_call(index, ins)
        elif op in ("LOAD_GLOBAL", "LOAD_NAME") and ins.value in _INSPECTED_BY_CALL:
            self._inspect_call(index, index, str(ins.value))
        elif op == "LOAD_ATTR" and ins.value == "import_module":
            self._inspect_call(self.operands.chain_start(index), index, "import_module")
        elif op == "LOAD_ATTR" and ins.value == "modules":
            self._inspect_subscript(self.operands.chain_start(index), index)

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
            start = self.operands.operand_start(end)
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
            start = (
                end - 1 - len(self.units[make].co_freevars) if flag == 8 else self.operands.operand_start(end)
            )
            if start is None:
                return
            if at == index and flag in (4, 8, 16):
                self.dropped.update(range(start, end))
                self.dropped.add(index)
            end = start

    def _fold_import(self, index: int, ins: Instruction) -> None:
        """Resolve an import whose names are bound once, as locals, and cut the statement out."""
        level, members = self.instructions[index - 2].value, self.instructions[index - 1].value
        if any(row.start <= ins.offset < row.end for row in self.guarded):
            return  # what happens when the import fails is part of the code
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
        if variable in self.code.co_varnames[: parameter_count(self.code)]:
            return False
        writes = [ins for ins in self.instructions if ins.kind == LOCAL and ins.value == variable]
        return sum(ins.op in ("STORE_FAST", "DELETE_FAST", "STORE_DEREF") for ins in writes) == 1

    def _fold_call(self, index: int, ins: Instruction) -> None:
        """Take keyword names and call together where a global name is called, so that spelling does not matter."""
        names: tuple[str, ...] = ()
        if (index and self.instructions[index - 1].op == "KW_NAMES") or ins.op == "CALL_KW":
            names = self.instructions[index - 1].value
        start = self.operands.callee(index)
        if start is None or not isinstance(names, tuple):
            return
        callee = self.instructions[start]
        if callee.op == "LOAD_FAST" and callee.value not in self.imports:
            return
        if names:
            self.dropped.add(index - 1)
        self.callings[index] = Calling(callee.offset, int(ins.value), names)

    def _inspect_call(self, start: int, index: int, name: str) -> None:
        """Note the constant that decides what ``getattr`` or ``import_module`` reaches."""
        self.arguments[start] = Argument(False)
        call = self.operands.call_of(index)
        if call is None or self.instructions[call - 1].op == "KW_NAMES":
            return
        count = int(self.instructions[call].value)
        found, value = self._constant_argument(call, count, 1 if name == "getattr" else 0)
        if not found or not isinstance(value, str):
            return
        package = self._constant_argument(call, count, 1)[1] if name == "import_module" else None
        self.arguments[start] = Argument(True, (value, package) if name == "import_module" else value)
        base = self.operands.argument(call, count, 0) if name == "getattr" else None
        if base is not None and self.operands.is_chain(*base):
            self.getattr_names[base[0]] = value

    def _constant_argument(self, call: int, count: int, position: int) -> tuple[bool, Any]:
        bounds = self.operands.argument(call, count, position)
        if bounds is None or bounds[1] - bounds[0] != 1 or self.instructions[bounds[0]].op != "LOAD_CONST":
            return False, None
        return True, self.instructions[bounds[0]].value

    def _inspect_subscript(self, start: int, index: int) -> None:
        """Note the key of ``sys.modules["name"]``."""
        ops = self.instructions
        constant = (
            index + 2 < len(ops)
            and ops[index + 1].op == "LOAD_CONST"
            and isinstance(ops[index + 1].value, str)
        )
        if constant and ops[index + 2].op in ("BINARY_SUBSCR", "BINARY_OP"):
            self.arguments[start] = Argument(True, ops[index + 1].value)
        else:
            self.arguments[start] = Argument(False)

    # Tokens

    def _signature(self) -> None:
        code = self.code
        count = parameter_count(code)
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

    def starts_chain(self, instruction: Instruction) -> bool:
        """True for a global name, and for a local one that an import statement bound."""
        if instruction.op == "LOAD_FAST":
            return instruction.value in self.imports
        return instruction.op in ("LOAD_GLOBAL", "LOAD_NAME")

    def instruction(self, index: int, attributes: list[str]) -> None:
        """Write one instruction, for `Flow`."""
        ins = self.instructions[index]
        if self.starts_chain(ins):
            self._write_load(index, ins, tuple(attributes))
        elif index in self.units:
            self._write_function(index, self.units[index])
        elif index in self.callings:
            self.token(self.callings[index])
        elif ins.op == "IMPORT_NAME":
            self._write_import(index, ins)
        elif ins.kind == LOCAL:
            self.line(f"{ins.op} {self.number(str(ins.value))}")
        elif isinstance(ins.value, CodeType):
            self._write_nested(ins.value)
        elif ins.kind == CONSTANT:
            self.line(f"{ins.op} {constant_text(ins.value)}")
        else:
            self.line(f"{ins.op} {ins.value}")

    def _write_load(self, index: int, ins: Instruction, attributes: tuple[str, ...]) -> None:
        argument = self.arguments.get(index)
        if ins.op == "LOAD_FAST":
            module, level, member = self.imports[str(ins.value)]
            self.token(Import(module, level, member, attributes, ins.offset, argument))
            return
        named = self.getattr_names.get(index)
        reached = attributes if named is None else (*attributes, named)
        self.token(Load(str(ins.value), reached, ins.offset, argument, named is not None))

    def _write_import(self, index: int, ins: Instruction) -> None:
        """An import that could not be resolved to locals bound once: reach what it names, whole."""
        level, members = self.instructions[index - 2].value, self.instructions[index - 1].value
        self.line("import")
        for member in members or (None,):
            self.token(Import(str(ins.value), int(level or 0), member, (), ins.offset))

    def _write_function(self, index: int, code: CodeType) -> None:
        """A nested function: the flags that remain, its closure in the order the inner code uses it, and its form."""
        has_flags = self.instructions[index].argument is not None
        self.line(f"function {int(self.instructions[index].value) & ~0x0C if has_flags else 0}")
        for variable in self._write_nested(code).free:
            self.line(f"closes {self.number(variable)}")

    def _write_nested(self, code: CodeType) -> NormalForm:
        form = normal_form(code)
        self.nested.append(form)
        self.token(Nested(form))
        return form


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
        text = token if isinstance(token, str) else _symbol(token)
        state.update(text.encode())
        state.update(b"\0")
    return state.hexdigest()


def _symbol(token: Load | Import | Nested | Parameter | Calling) -> str:
    if isinstance(token, Nested):
        return token.form.digest
    if isinstance(token, Load):
        return ".".join((token.name, *token.attributes))
    if isinstance(token, Import):
        return f"{'.' * token.level}{token.module}:{token.member or ''}:{'.'.join(token.attributes)}"
    if isinstance(token, Calling):
        return f"{token.count} {token.names}"
    return str(token.position)
