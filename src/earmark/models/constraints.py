"""Constraints on parameters, as data: what a value must be, how to say so, and examples that break it.

A `Parameter` carries the default, the constraint and one line of meaning; estimators declare a table of
them. Validation, error messages, documentation and the tests that try invalid values all read that table.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from earmark.errors import UsageError

__all__ = [
    "Choice",
    "Constraint",
    "Either",
    "Flag",
    "Interval",
    "Optional",
    "Parameter",
    "Texts",
    "canonical",
    "check_parameters",
    "closest",
]


class Constraint(Protocol):
    """What a parameter's value must be."""

    def accepts(self, value: Any) -> bool: ...

    def describe(self) -> str: ...

    def invalid_examples(self) -> list[Any]: ...


@dataclass(frozen=True)
class Interval:
    """A number in a closed or half-open interval.

    Parameters
    ----------
    kind : type
        ``int`` or ``float``; an ``int`` is also accepted where a ``float`` is asked for, a ``bool`` never.
    low, high : float or None
        Limits; None is unbounded.
    open_low, open_high : bool
        Whether the limit itself is excluded.
    """

    kind: type
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False

    def accepts(self, value: Any) -> bool:
        """Whether `value` is a finite number of the right kind inside the limits."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if (self.kind is int and not isinstance(value, int)) or not math.isfinite(value):
            return False
        return not self._below(value) and not self._above(value)

    def describe(self) -> str:
        """E.g. ``a float in (0, 1]``."""
        left = "(" if self.open_low or self.low is None else "["
        right = ")" if self.open_high or self.high is None else "]"
        low = "-inf" if self.low is None else f"{self.low:g}"
        high = "inf" if self.high is None else f"{self.high:g}"
        article = "an int" if self.kind is int else "a float"
        return f"{article} in {left}{low}, {high}{right}"

    def invalid_examples(self) -> list[Any]:
        """Values just outside each limit and of wrong kinds."""
        examples: list[Any] = ["7", None, True, math.nan, math.inf]
        if self.kind is int:
            examples.append(0.5 if self.low is None else self.low + 0.5)
        if self.low is not None:
            examples.append(self.kind(self.low) if self.open_low else self.kind(self.low - 1))
        if self.high is not None:
            examples.append(self.kind(self.high) if self.open_high else self.kind(self.high + 1))
        return examples

    def _below(self, value: float) -> bool:
        return self.low is not None and (value < self.low or (self.open_low and value == self.low))

    def _above(self, value: float) -> bool:
        return self.high is not None and (value > self.high or (self.open_high and value == self.high))


@dataclass(frozen=True)
class Choice:
    """One of a fixed set of strings."""

    options: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        """Whether `value` is one of the options."""
        return isinstance(value, str) and value in self.options

    def describe(self) -> str:
        """E.g. ``one of "sqrt", "log2"``."""
        return "one of " + ", ".join(f'"{option}"' for option in self.options)

    def invalid_examples(self) -> list[Any]:
        """A near miss and values of wrong kinds."""
        return [self.options[0] + "_", 3, None]


@dataclass(frozen=True)
class Flag:
    """True or False, and nothing that merely looks like it."""

    def accepts(self, value: Any) -> bool:
        """Whether `value` is a bool."""
        return isinstance(value, bool)

    def describe(self) -> str:
        """The words of the error message."""
        return "true or false"

    def invalid_examples(self) -> list[Any]:
        """Truthy and falsy values that are no bools."""
        return [1, 0, "true", None]


@dataclass(frozen=True)
class Texts:
    """A tuple of non-empty strings, possibly none."""

    def accepts(self, value: Any) -> bool:
        """Whether `value` is a tuple of strings that are not empty."""
        return isinstance(value, tuple) and all(isinstance(text, str) and text for text in value)

    def describe(self) -> str:
        """The words of the error message."""
        return "a tuple of non-empty strings"

    def invalid_examples(self) -> list[Any]:
        """A string, which is a sequence of strings as well, and tuples that hold something else."""
        return ["*drop*", ("",), (1,), None]


@dataclass(frozen=True)
class Optional:
    """None, or what the inner constraint accepts."""

    inner: Constraint

    def accepts(self, value: Any) -> bool:
        """Whether `value` is None or fits the inner constraint."""
        return value is None or self.inner.accepts(value)

    def describe(self) -> str:
        """The inner words, ``or none``."""
        return f"{self.inner.describe()}, or none"

    def invalid_examples(self) -> list[Any]:
        """The inner examples without None."""
        return [value for value in self.inner.invalid_examples() if value is not None]


@dataclass(frozen=True)
class Either:
    """What one of two constraints accepts."""

    first: Constraint
    second: Constraint

    def accepts(self, value: Any) -> bool:
        """Whether `value` fits one of them."""
        return self.first.accepts(value) or self.second.accepts(value)

    def describe(self) -> str:
        """Both descriptions."""
        return f"{self.first.describe()}, or {self.second.describe()}"

    def invalid_examples(self) -> list[Any]:
        """Examples of each that the other does not accept."""
        return [
            value
            for value in self.first.invalid_examples() + self.second.invalid_examples()
            if not self.accepts(value)
        ]


@dataclass(frozen=True)
class Parameter:
    """Default, constraint and meaning of one parameter."""

    default: Any
    constraint: Constraint
    meaning: str


def check_parameters(owner: str, declared: Mapping[str, Parameter], given: Mapping[str, Any]) -> None:
    """Check names and values together; one error lists every problem.

    Raises
    ------
    UsageError
        Naming each unknown parameter with its likely spelling, and each value that breaks its constraint.
    """
    problems = []
    for name, value in given.items():
        if name not in declared:
            problems.append(f"has no parameter `{name}`{closest(name, declared)}")
        elif not declared[name].constraint.accepts(value):
            problems.append(f"`{name}` is {value!r}, expected {declared[name].constraint.describe()}")
    if problems:
        raise UsageError(
            f"{owner}: {'; '.join(problems)}. Its parameters are: {', '.join(sorted(declared))}."
        )


def canonical(name: str, known: Collection[str], aliases: Mapping[str, str], kind: str) -> str:
    """The known name behind a name or alias; case and ``-`` do not matter.

    Parameters
    ----------
    name : str
    known : collection of str
    aliases : mapping
        Alias -> known name.
    kind : str
        What is named, for the message.

    Raises
    ------
    UsageError
        For an unknown name, with the likely one.
    """
    folded = name.strip().lower().replace("-", "_")
    folded = aliases.get(folded, folded)
    if folded not in known:
        hint = closest(folded, [*known, *aliases])
        raise UsageError(f"There is no {kind} `{name}`{hint}. Choose one of: {', '.join(known)}.")
    return folded


def closest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean `x`?)`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean `{near[0]}`?)" if near else ""
