"""Fields from click's parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import click

from earmark.web.forms.form import Field, Form, Kind
from earmark.web.forms.market_training import FLAGS, training_fields
from earmark.web.forms.offered import MAIN, Target, is_hidden, is_path, name_of, option_of, target_of

__all__ = ["form_of", "label_of"]

_N_MAIN = 8
_LABELS = {"lr": "Learning rate", "c": "C", "lr_head": "Learning rate of the head", "workers": "Processes"}
_WORDS = {
    "onnx": "ONNX",
    "url": "URL",
    "mlflow": "MLflow",
    "deam": "DEAM",
    "csv": "CSV",
    "cpcv": "CPCV",
    "pbo": "PBO",
}


@lru_cache(maxsize=256)
def form_of(command: str, task: str | None) -> Form:
    """The form of a command.

    Parameters
    ----------
    command : str
        One of `OFFERED`: ``train``, ``cache gc``.
    task : str or None
        Name of a task or, relative to the project folder, a file that defines one.

    Raises
    ------
    UsageError
        It is not offered, or that task has no such command.
    """
    target = target_of(command, task)
    shown = [one for one in target.click.params if not is_hidden(command, task, one)]
    arguments = [_field(one) for one in shown if isinstance(one, click.Argument)]
    options = [_field(one) for one in shown if isinstance(one, click.Option)]
    if (command, task) == ("train", "market"):
        options = [*training_fields(), *(one for one in options if one.name in FLAGS)]
    main = _main_names(command, task, [*arguments, *options])
    title, summary = _texts(target, task)
    return Form(
        name=command,
        task=task,
        command=target.command,
        words=target.words,
        title=title,
        summary=summary,
        fields=_ordered(options, main),
        argument_fields=_ordered(arguments, main),
        kind=target.kind,
    )


def _main_names(command: str, task: str | None, fields: Sequence[Field]) -> tuple[str, ...]:
    """Names of the fields that are shown at once; a user's own task has those of `zones`, the general form."""
    declared = MAIN.get((command, task)) or MAIN.get((command, "zones"))
    return declared or tuple(one.name for one in fields[:_N_MAIN])


def _ordered(fields: Sequence[Field], main: Sequence[str]) -> tuple[Field, ...]:
    """The main fields in their order, then the others in the command's."""
    first = sorted((one for one in fields if one.name in main), key=lambda one: main.index(one.name))
    rest = [replace(one, is_advanced=not one.required) for one in fields if one.name not in main]
    return (*first, *rest)


def _field(parameter: click.Parameter) -> Field:
    name = name_of(parameter)
    is_many = parameter.multiple or parameter.nargs == -1
    low, high = _bounds(parameter.type)
    help_text = getattr(parameter, "help", None) or ""
    return Field(
        name=name,
        label=label_of(name),
        help=" ".join(help_text.split()),
        kind=_kind(parameter, is_many=is_many),
        default=_default(parameter),
        minimum=low,
        maximum=high,
        choices=tuple(map(str, parameter.type.choices)) if isinstance(parameter.type, click.Choice) else (),
        required=parameter.required,
        placeholder=(parameter.metavar or "").strip("[]."),
        is_multiple=is_many,
        is_above=bool(getattr(parameter.type, "min_open", False)),
        is_below=bool(getattr(parameter.type, "max_open", False)),
        option=option_of(parameter) if isinstance(parameter, click.Option) else "",
    )


def label_of(name: str) -> str:
    """``batch_size`` -> ``Batch size``."""
    if name in _LABELS:
        return _LABELS[name]
    words = [_WORDS.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _kind(parameter: click.Parameter, *, is_many: bool) -> Kind:
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return "switch" if parameter.secondary_opts else "flag"
    if takes_no_value(parameter):
        return "flag"
    if is_path(parameter):
        return "path"
    if is_many:
        return "many"
    if isinstance(parameter.type, click.Choice):
        return "choice"
    numbers: dict[type, Kind] = {click.types.IntParamType: "integer", click.types.FloatParamType: "number"}
    return next((kind for known, kind in numbers.items() if isinstance(parameter.type, known)), "text")


def takes_no_value(parameter: click.Parameter) -> bool:
    """Whether an option may stand without its value: a page offers it as on or off."""
    return (
        isinstance(parameter, click.Option)
        and isinstance(parameter.flag_value, str)
        and not parameter.is_flag
    )


def _bounds(kind: click.ParamType[Any]) -> tuple[float | None, float | None]:
    if not isinstance(kind, click.IntRange | click.FloatRange):
        return None, None
    return kind.min, kind.max


def _default(parameter: click.Parameter) -> Any:
    found = parameter.default
    if isinstance(found, list | tuple):
        return tuple(found)
    return found if isinstance(found, bool | int | float | str) else None


def _texts(target: Target, task: str | None) -> tuple[str, str]:
    """The first sentence of a command's help, and the rest of its text without the examples."""
    text = inspect.cleandoc(target.click.help or "").split("\b")[0].split("\f")[0]
    if task is not None:
        text = re.sub(r"\bTASK\b", task, text)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip())]
    head, _, rest = paragraphs[0].partition(". ")
    return head.rstrip(".") + ".", "\n\n".join(part for part in (rest, *paragraphs[1:]) if part)
