"""The tokens of a normal form: lines of text, and references that are bound to live objects later."""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType
from typing import Any

__all__ = ["Argument", "Calling", "Import", "Load", "Mutation", "Nested", "NormalForm", "Parameter", "Token"]


@dataclass(frozen=True, slots=True)
class Argument:
    """The constant a call passes where it decides what is reached; ``known`` is False if it is not a constant."""

    known: bool
    value: Any = None


@dataclass(frozen=True, slots=True)
class Load:
    """A global name with the attributes read from it: ``cfg.audio.GAIN``."""

    name: str
    attributes: tuple[str, ...]
    offset: int
    argument: Argument | None = None
    through_getattr: bool = False


@dataclass(frozen=True, slots=True)
class Import:
    """A module, or a member of one, that the code imports itself, with the attributes read from it."""

    module: str
    level: int
    member: str | None
    attributes: tuple[str, ...]
    offset: int
    argument: Argument | None = None


@dataclass(frozen=True, slots=True)
class Nested:
    """A function, lambda, comprehension or class body inside the code."""

    form: NormalForm


@dataclass(frozen=True, slots=True)
class Calling:
    """A call of what the reference at byte ``callee`` means: the number of arguments, the last ``names`` by keyword."""

    callee: int
    count: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """The name of a parameter: it counts only where a keyword or a string of the closure can spell it."""

    position: int
    name: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """What the code writes to, from a ``base`` that is ``global``, ``free``, ``parameter`` or ``self``.

    An empty ``path`` of attributes means the name itself; ``rebinds`` tells an assignment from a change of a container.
    """

    base: str
    name: str
    path: tuple[str, ...]
    rebinds: bool


Token = str | Load | Import | Nested | Parameter | Calling


@dataclass(frozen=True, slots=True, eq=False)
class NormalForm:
    """Tokens in order; ``free`` variables in order of first use; ``strings`` that could name a parameter."""

    code: CodeType
    tokens: tuple[Token, ...]
    free: tuple[str, ...]
    strings: frozenset[str]
    introspection: frozenset[str]
    mutations: tuple[Mutation, ...]
    open_keywords: bool
    digest: str
