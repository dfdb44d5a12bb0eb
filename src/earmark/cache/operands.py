"""What a straight line of instructions tells: where an operand is computed, what is called, what is written to.

Operands are found by counting backwards what each instruction pushes and pops. The search ends at a jump or at the
target of one: there the answer is "unknown", never a guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType

from earmark.cache.bytecode import JUMP, Instruction, stack_effect
from earmark.cache.symbols import Mutation

__all__ = ["Operands", "parameter_count"]

_MUTATING_METHODS = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "extendleft",
        "insert",
        "move_to_end",
        "pop",
    }
    | {"popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort", "update"}
)

_SUBSCRIPTS = {"BINARY_SUBSCR", "BINARY_SLICE"}

_Base = tuple[str, str, tuple[str, ...], bool]


def parameter_count(code: CodeType) -> int:
    """Number of parameters, ``*args`` and ``**kwargs`` included."""
    return code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & 4) + bool(code.co_flags & 8)


class Operands:
    """Questions about the instructions of one code object."""

    def __init__(self, code: CodeType, instructions: list[Instruction]) -> None:
        self.code = code
        self.instructions = instructions
        self.targets = {ins.value for ins in instructions if ins.kind == JUMP}

    def callee(self, call: int) -> int | None:
        """First instruction of the chain of names that the ``CALL`` at index ``call`` calls, if it is one."""
        end = call - (self.instructions[call].op == "CALL_KW")  # its keyword names lie on the stack
        while end and self.instructions[end - 1].op == "KW_NAMES":
            end -= 1
        first = self.argument(end, int(self.instructions[call].value), 0)
        end = first[0] if first else end
        if (not first and self.instructions[call].value) or not end or end in self.targets:
            return None
        start = self.chain_start(end - 1)
        return start if self.is_chain(start, end) else None

    def call_of(self, index: int) -> int | None:
        """The ``CALL`` of the callable that instruction ``index`` pushes, if its arguments are one straight line."""
        depth = 1
        for at in range(index + 1, len(self.instructions)):
            ins = self.instructions[at]
            if ins.kind == JUMP or at in self.targets:
                return None
            depth += stack_effect(ins)
            if ins.op == "CALL" and depth == 1:
                return at
            if depth < 1 or (ins.op in ("CALL_FUNCTION_EX", "CALL_KW") and depth == 1):
                return None
            if at == index + 1 and depth == 1:
                return None
        return None

    def argument(self, end: int, count: int, position: int) -> tuple[int, int] | None:
        """Where the positional argument ``position`` of a call is computed, as [start, end)."""
        if position >= count:
            return None
        for _ in range(count - 1 - position):
            start = self.operand_start(end)
            if start is None:
                return None
            end = start
        start = self.operand_start(end)
        return None if start is None else (start, end)

    def operand_start(self, end: int) -> int | None:
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

    def is_chain(self, start: int, end: int) -> bool:
        ops = self.instructions
        return ops[start].op in ("LOAD_GLOBAL", "LOAD_FAST") and all(
            ops[i].op == "LOAD_ATTR" for i in range(start + 1, end)
        )

    def chain_start(self, index: int) -> int:
        while index > 0 and self.instructions[index].op == "LOAD_ATTR":
            index -= 1
        return index

    def mutations(self) -> Iterator[Mutation]:
        """Everything outside its own variables that the code assigns, deletes, or changes by a container's method."""
        for index, ins in enumerate(self.instructions):
            if ins.op in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                yield Mutation("global", str(ins.value), (), True)
            elif ins.op in ("STORE_DEREF", "DELETE_DEREF") and ins.value in self.code.co_freevars:
                yield Mutation("free", str(ins.value), (), True)
            elif ins.op in ("STORE_ATTR", "DELETE_ATTR"):
                yield from self._mutation(self._attribute_owner(index), (str(ins.value),), True)
            elif ins.op in ("STORE_SUBSCR", "DELETE_SUBSCR"):
                yield from self._mutation(self._subscript_owner(index), (), False)
            elif ins.op == "LOAD_ATTR" and ins.value in _MUTATING_METHODS:
                yield from self._mutation(index, (), False)

    def _attribute_owner(self, index: int) -> int | None:
        """Where the object of an attribute assignment has been computed; ``x.n += 1`` keeps a copy of it."""
        ops = self.instructions
        if index and ops[index - 1].op == "SWAP":
            for at in range(index - 2, 0, -1):
                if (
                    ops[at].op == "LOAD_ATTR"
                    and ops[at].value == ops[index].value
                    and ops[at - 1].op == "COPY"
                ):
                    return at - 1
        return index

    def _subscript_owner(self, index: int) -> int | None:
        """Where the container of an item assignment has been computed; ``x[k] += 1`` keeps copies of it and the key."""
        ops = self.instructions
        if index and ops[index - 1].op == "SWAP":
            for at in range(index - 2, 1, -1):
                if ops[at].op in _SUBSCRIPTS and ops[at - 1].op == ops[at - 2].op == "COPY":
                    return self.operand_start(at - 2)
        return self.operand_start(index)

    def _mutation(self, end: int | None, path: tuple[str, ...], rebinds: bool) -> Iterator[Mutation]:
        found = None if end is None else self._base(end, path, 0)
        if found is not None:
            base, name, reached, direct = found
            yield Mutation(base, name, reached, rebinds and direct)

    def _base(self, end: int, path: tuple[str, ...], depth: int) -> _Base | None:
        """The name from which the value on top of the stack before ``end`` was read, and the attributes between.

        The last item is False if a subscript comes in between: then the container is what changes.
        """
        if end < 1 or depth > 8:
            return None
        ins = self.instructions[end - 1]
        if ins.op == "LOAD_ATTR":
            return self._base(end - 1, (str(ins.value), *path), depth + 1)
        if ins.op in _SUBSCRIPTS:
            key = self.operand_start(end - 1)
            found = None if key is None else self._base(key, (), depth + 1)
            return None if found is None else (*found[:3], False)
        if ins.op == "COPY":
            return self._base(end - 1, path, depth + 1)
        if ins.op in ("LOAD_GLOBAL", "LOAD_NAME"):
            return "global", str(ins.value), path, True
        if ins.op == "LOAD_DEREF":
            return ("free", str(ins.value), path, True) if ins.value in self.code.co_freevars else None
        return self._local_base(ins, path, depth) if ins.op == "LOAD_FAST" else None

    def _local_base(self, ins: Instruction, path: tuple[str, ...], depth: int) -> _Base | None:
        variable = str(ins.value)
        parameters = self.code.co_varnames[: parameter_count(self.code)]
        if parameters and variable == parameters[0] and path:
            return "self", variable, path, True
        if variable in parameters:
            return "parameter", variable, path, True
        stores = [
            index
            for index, other in enumerate(self.instructions)
            if other.op == "STORE_FAST" and other.value == variable
        ]
        return self._base(stores[0], path, depth + 1) if len(stores) == 1 else None

    def has_open_keywords(self) -> bool:
        """True if a call spreads a dict whose keys are not the function's own ``**keywords``."""
        own = self.code.co_varnames[parameter_count(self.code) - 1] if self.code.co_flags & 8 else None
        return any(
            ins.op == "DICT_MERGE"
            and not (
                self.instructions[index - 1].op == "LOAD_FAST" and self.instructions[index - 1].value == own
            )
            for index, ins in enumerate(self.instructions)
        )
