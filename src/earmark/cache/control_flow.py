"""Visits code along its control flow, so that the layout of blocks does not matter.

How a compiler orders blocks, turns conditions round, copies short exits and threads jumps to jumps depends on line
breaks and on its version. Here the visit starts at the entry and goes straight on at each conditional jump, which is
always written as "jump if false"; places that several paths reach become labels, numbered as they are met; short
exits are written out at every jump to them; unreachable code is not written at all. Two codes that do the same in the
same order with the same branches give the same lines.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from types import CodeType
from typing import Protocol

from earmark.cache.bytecode import JUMP, Instruction, exception_table

__all__ = ["Flow", "Writer"]

_UNCONDITIONAL = {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_ABSOLUTE", "JUMP"}
_KEEPING = {"JUMP_IF_TRUE_OR_POP": "POP_JUMP_IF_TRUE", "JUMP_IF_FALSE_OR_POP": "POP_JUMP_IF_FALSE"}
_TURNED = {"POP_JUMP_IF_TRUE": "POP_JUMP_IF_FALSE", "POP_JUMP_IF_NOT_NONE": "POP_JUMP_IF_NONE"}
_CONDITIONAL = set(_KEEPING) | set(_KEEPING.values())
_TERMINAL = {"RETURN_VALUE", "RAISE_VARARGS", "RERAISE", "INTERPRETER_EXIT"}
_SHORT_EXIT = 6
"""Exits of up to this many instructions are copied to each jump; the compiler itself copies those of up to 4."""


class Writer(Protocol):
    """What `Flow` writes to."""

    def line(self, text: str) -> None:
        """Add a line: a label, a jump, a change of handler."""

    def starts_chain(self, instruction: Instruction) -> bool:
        """True if the attribute reads after the instruction belong to it: ``cfg`` of ``cfg.audio.GAIN``."""

    def instruction(self, index: int, attributes: list[str]) -> None:
        """Add the instruction at ``index`` of the decoded list, with the attributes read from it."""


class Flow:
    """Visits the instructions that are kept along the control flow, and has each written once per path that matters.

    Parameters
    ----------
    code : code object
        Whose exception table applies.
    decoded : list of Instruction
        All instructions of it.
    dropped : set of int
        Indices of those to pass over.
    writer : Writer
        Writes lines and single instructions.
    """

    def __init__(self, code: CodeType, decoded: list[Instruction], dropped: set[int], writer: Writer) -> None:
        self.out = writer
        self.original = [index for index in range(len(decoded)) if index not in dropped]
        self.instructions = [decoded[index] for index in self.original]
        renumbered, following = {}, len(self.original)
        position = {index: new for new, index in enumerate(self.original)}
        for index in range(len(decoded), -1, -1):
            following = position.get(index, following)
            renumbered[index] = following
        self.target = {
            new: renumbered[ins.value] for new, ins in enumerate(self.instructions) if ins.kind == JUMP
        }
        self._straighten()
        self.handler = self._handlers(code, decoded, renumbered)
        self.exits: dict[int, tuple[int, ...] | None] = {}
        self.labels: dict[int, int] = {}
        self.queue: deque[int] = deque()
        self.current: tuple[int, int, bool] | None = None
        self.labelled = self._find_labels()

    def _handlers(
        self, code: CodeType, decoded: list[Instruction], renumbered: dict[int, int]
    ) -> list[tuple[int, int, bool] | None]:
        """Per instruction the handler that an exception goes to, with its stack depth and whether lasti is pushed."""
        handlers: list[tuple[int, int, bool] | None] = [None] * len(self.instructions)
        offsets = [ins.offset for ins in decoded]
        for row in exception_table(code):
            target = self.thread(renumbered[bisect_left(offsets, row.target)])
            start, end = (renumbered[bisect_left(offsets, offset)] for offset in (row.start, row.end))
            for index in range(start, end):
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
            following = index + 1
            if index in self.target and ins.op not in _UNCONDITIONAL:
                _, target, following = self.branch(index)
                stack.append(target)
                if self.short_exit(target) is None:
                    labelled.add(target)
            if ins.op not in _TERMINAL:
                following = self.thread(following if ins.op not in _UNCONDITIONAL else index)
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
            op, target, following = self.branch(index)
            self._emit_branch(op, target)
            return following
        end = index + 1
        if self.out.starts_chain(ins):
            while (
                end < len(self.instructions)
                and end not in self.labelled
                and self.instructions[end].op == "LOAD_ATTR"
            ):
                end += 1
        self.out.instruction(
            self.original[index], [str(self.instructions[at].value) for at in range(index + 1, end)]
        )
        return -1 if ins.op in _TERMINAL else end

    def branch(self, index: int) -> tuple[str, int, int]:
        """A conditional jump as (operation, target, what follows); compilers turn conditions round as they like."""
        op, target = self.instructions[index].op, self.thread(self.target[index])
        if op in _TURNED:
            return _TURNED[op], self.thread(index + 1), target
        return op, target, index + 1

    def _emit_branch(self, op: str, target: int) -> None:
        leaving = self.short_exit(target)
        if leaving is None:
            self.out.line(f"{op} {self._label(target)}")
            self.queue.append(target)
            return
        self.out.line(f"{op} {{")
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

    def _label(self, index: int) -> int:
        return self.labels.setdefault(index, len(self.labels))
