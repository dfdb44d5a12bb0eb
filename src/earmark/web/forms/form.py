"""What a form is: the fields of one command, as a page draws them and an API lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from earmark.errors import UsageError

__all__ = ["Field", "Form", "FormError", "Kind"]

Kind = Literal["text", "integer", "number", "choice", "flag", "switch", "path", "many"]
"""``flag``: on or not told; ``switch``: on, off, or its default; ``many``: a value per line."""


@dataclass(frozen=True)
class Field:
    """One option or argument of a command.

    Parameters
    ----------
    name : str
        Key of its value in what a form sends.
    label, help, placeholder : str
    kind : str
        See `Kind`.
    default : object
        None where the command decides by itself.
    minimum, maximum : float or None
        Of numbers; `is_above` and `is_below` where the bound itself is left out.
    choices : tuple of str
        Empty where any value goes.
    is_multiple : bool
        Several values, one per line; paths are of kind ``path`` then, too.
    is_advanced : bool
        Folded away.
    option : str
        As the command line spells it; empty for an argument.
    """

    name: str
    label: str
    help: str = ""
    kind: Kind = "text"
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False
    is_advanced: bool = False
    placeholder: str = ""
    is_multiple: bool = False
    is_above: bool = False
    is_below: bool = False
    option: str = ""

    @property
    def range(self) -> str:
        """The bounds in words, empty without any."""
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and not (self.is_above or self.is_below):
            return f"{low:g} to {high:g}"
        lower = "" if low is None else f"{'above' if self.is_above else 'at least'} {low:g}"
        upper = "" if high is None else f"{'below' if self.is_below else 'at most'} {high:g}"
        return ", ".join(part for part in (lower, upper) if part)


@dataclass(frozen=True)
class Form:
    """The fields of one command.

    Parameters
    ----------
    name, task : str, str or None
        What it was asked for by: ``train`` and ``market``, ``migrate legacy`` and ``market``, ``cache gc`` and None.
    command, words : str, tuple of str
        What a command line begins with: `command`, the task, `words`, as in ``migrate market legacy``.
    title, summary : str
        The first sentence of its help, and the paragraphs behind it.
    fields, argument_fields : tuple of Field
        Options, and arguments by position.
    kind : str
        ``job``, or ``service`` for what runs until it is stopped.
    """

    name: str
    task: str | None
    command: str
    words: tuple[str, ...]
    title: str
    summary: str
    fields: tuple[Field, ...]
    argument_fields: tuple[Field, ...] = ()
    kind: Literal["job", "service"] = "job"

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """Arguments first."""
        return (*self.argument_fields, *self.fields)

    @property
    def main_fields(self) -> tuple[Field, ...]:
        """What is shown at once."""
        return tuple(field for field in self.all_fields if not field.is_advanced)

    @property
    def advanced_fields(self) -> tuple[Field, ...]:
        """What is folded away."""
        return tuple(field for field in self.all_fields if field.is_advanced)

    def with_defaults(self, values: Mapping[str, Any]) -> Form:
        """The same with other defaults, as a preset gives; an empty one is none."""
        given = {name: None if value == "" else value for name, value in values.items()}
        changed = tuple(replace(one, default=given.get(one.name, one.default)) for one in self.fields)
        return replace(self, fields=changed)


class FormError(UsageError):
    """Values that a command would refuse.

    Parameters
    ----------
    errors : mapping
        Name of a field -> what is wrong with it; the empty name: with all of them together.
    """

    http_status = 422

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__(" ".join(f"{name}: {told}" if name else told for name, told in self.errors.items()))
