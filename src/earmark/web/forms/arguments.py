"""What was filled in, as the words of a command line: looked at path by path, then checked by click without a run.

No value can become an option: options are written ``--name=value``, and arguments stand behind ``--``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from earmark.cli.options import Invocation
from earmark.errors import UsageError
from earmark.models.constraints import closest
from earmark.web.errors import RefusedPathError
from earmark.web.forms.form import Field, Form, FormError
from earmark.web.forms.market_training import FLAGS, setting_words
from earmark.web.forms.offered import PROSE, Target, name_of, target_of
from earmark.web.paths import AllowList, is_uri

__all__ = ["arguments", "command_line", "kind_of"]

_ON = frozenset(("true", "on", "1", "yes"))
_OFF = frozenset(("false", "off", "0", "no", ""))

Texts = dict[str, list[str]]


def arguments(form: Form, values: Mapping[str, Any], allowed: AllowList) -> list[str]:
    """Words behind the command and its task: ``["--folds=3", "--", "/music/a.wav"]``.

    Parameters
    ----------
    form : Form
    values : mapping
        Field -> text, number or truth value; of fields with several values a list, or lines. What is empty, or the
        default, is left to the command.
    allowed : AllowList
        Where paths may lie; they become absolute.

    Raises
    ------
    FormError
        All mistakes together, each beside its field.
    """
    target = target_of(form.name, form.task)
    errors: dict[str, str] = {}
    texts = _texts(form, values, errors)
    _look_at_paths(form, texts, allowed, errors)
    for field in form.all_fields:
        if field.required and not texts.get(field.name):
            errors.setdefault(field.name, f"{field.label} is needed.")
    _look_at_task(form.task, allowed)
    options, settings = _options(form, target, texts, errors)
    positional = [text for field in _by_position(form, target) for text in texts.get(field.name, ())]
    errors |= {
        name: told for name, told in _complaints(target, form.task, options).items() if name not in errors
    }
    words = [*settings, *(word for own in options.values() for word in own)]
    words += ["--", *positional] if positional else []
    if not errors:
        errors = _complaint_of_all(target, form.task, words)
    if errors:
        raise FormError(errors)
    return [*form.words, *words]


def command_line(form: Form, words: Sequence[str]) -> list[str]:
    """Everything behind ``earmark``: the command, the task, and what `arguments` gave."""
    return [*form.command.split(), *([] if form.task is None else [form.task]), *words]


def kind_of(form: Form, words: Sequence[str]) -> Literal["job", "service"]:
    """Whether a command ends by itself; ``train --watch`` does not."""
    return "service" if "--watch" in words else form.kind


def _texts(form: Form, values: Mapping[str, Any], errors: dict[str, str]) -> Texts:
    """Texts per field, without those that are empty or the default."""
    fields = {field.name: field for field in form.all_fields}
    settings = _settings(form)
    found: Texts = {}
    for name, value in values.items():
        if name not in fields:
            errors[""] = f"There is no field `{name}`{closest(name, fields)}."
            continue
        texts = _split(fields[name], value)
        if any(not _is_encodable(text) for text in texts):
            errors[name] = "This holds characters that no command line can."
        elif texts and (name in settings or not _is_default(fields[name], texts)):
            found[name] = texts  # what a setting's default is, its preset says
    return found


def _split(field: Field, value: Any) -> list[str]:
    parts = value if isinstance(value, list | tuple) else [value]
    texts = [
        "" if part is None else str(part).lower() if isinstance(part, bool) else str(part) for part in parts
    ]
    if field.is_multiple:
        return [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    return [text for text in (text.strip() for text in texts[-1:]) if text]  # a switch sends off, then on


def _is_encodable(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _is_default(field: Field, texts: list[str]) -> bool:
    if field.default is None:
        return False
    if field.kind in ("switch", "flag"):
        return (texts[0].lower() in _ON) == bool(field.default) and texts[0].lower() in _ON | _OFF
    if field.is_multiple:
        return texts == [str(one) for one in field.default]
    if field.kind in ("integer", "number"):
        try:
            return float(texts[0]) == float(field.default)
        except ValueError:
            return False
    return texts == [str(field.default)]


def _look_at_paths(form: Form, texts: Texts, allowed: AllowList, errors: dict[str, str]) -> None:
    """Make paths absolute, and refuse texts that lead out of the allowed folders, whatever field they stand in."""
    for field in form.all_fields:
        if field.name not in texts or field.name in PROSE:
            continue
        try:
            texts[field.name] = [_looked_at(field, text, allowed) for text in texts[field.name]]
        except RefusedPathError as error:
            errors[field.name] = str(error)


def _looked_at(field: Field, text: str, allowed: AllowList) -> str:
    if field.kind == "path":
        return allowed.require_source(text)
    if field.kind not in ("text", "many") or field.choices or text.startswith("{"):
        return text  # numbers and choices name no file, nor does an object of settings
    part = text.partition("=")[2] if "=" in field.placeholder else text
    may_be_a_file = os.sep in part or part.startswith(("~", "..")) or _exists(allowed.folders[0] / part)
    if is_uri(part) or may_be_a_file:
        return text.removesuffix(part) + _kept(part, allowed)
    return text


def _exists(path: Path) -> bool:
    """Whether there is such a file; there is none under a name that no file can have."""
    try:
        return path.exists()
    except OSError:
        return False


def _kept(part: str, allowed: AllowList) -> str:
    """A text that may be a path: checked, absolute where it is one, as it was where it is a bare name."""
    found = allowed.require_source(part)
    return found if os.sep in part else part


def _look_at_task(task: str | None, allowed: AllowList) -> None:
    """Refuse a file that is not one of the project, or that a browser sent: a task is code."""
    if task is None or not task.endswith(".py"):
        return
    if allowed.is_upload(allowed.require(task)):
        raise RefusedPathError(f"`{task}` was uploaded, and a task is code. Name a file of the project.")


def _options(
    form: Form, target: Target, texts: Texts, errors: dict[str, str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Words per option of the command, and those of the settings of a training of market."""
    parameters = {name_of(one): one for one in target.click.params if isinstance(one, click.Option)}
    settings = _settings(form)
    own = [field for field in form.fields if field.name not in settings]
    words = {}
    for field in own:
        if field.name in texts and field.name not in errors:
            try:
                words[field.name] = list(_option_words(field, parameters[field.name], texts[field.name]))
            except ValueError as error:
                errors[field.name] = str(error)
    if not settings:
        return words, []
    given = {name: text[0] for name, text in texts.items() if name in settings and name not in errors}
    try:
        return words, setting_words(given)
    except FormError as error:
        errors |= error.errors
        return words, []


def _settings(form: Form) -> frozenset[str]:
    """Fields that are settings of a training of market, not options of its command."""
    if (form.name, form.task) != ("train", "market"):
        return frozenset()
    return frozenset(field.name for field in form.fields) - set(FLAGS)


def _option_words(field: Field, option: click.Option, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if field.kind not in ("flag", "switch"):
            yield f"{field.option}={text}"
            continue
        if text.lower() not in _ON | _OFF:
            raise ValueError(f"`{text}` is neither true nor false.")
        is_on = text.lower() in _ON
        if not option.is_flag:
            yield from [f"{field.option}={option.flag_value}"] * is_on
        elif is_on:
            yield field.option
        elif option.secondary_opts:
            yield option.secondary_opts[0]


def _by_position(form: Form, target: Target) -> list[Field]:
    fields = {field.name: field for field in form.argument_fields}
    order = [name_of(one) for one in target.click.params if isinstance(one, click.Argument)]
    return [fields[name] for name in order if name in fields]


def _complaints(target: Target, task: str | None, options: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What click says of each option alone, so that all mistakes are told at once."""
    found = {}
    for name, words in options.items():
        told = _complaint_of_all(target, task, words)
        if name in told:
            found[name] = told[name]
    return found


def _complaint_of_all(target: Target, task: str | None, words: Sequence[str]) -> dict[str, str]:
    """What click says of a command line; empty where it would run it."""
    own = [task] if target.takes_task and task is not None else []
    try:
        with target.click.make_context(target.command, [*own, *words], obj=Invocation()):
            return {}
    except click.MissingParameter as error:
        return {"" if error.param is None else name_of(error.param): "This is needed."}
    except click.UsageError as error:
        parameter = getattr(error, "param", None)
        return {"" if parameter is None else name_of(parameter): error.message}
    except UsageError as error:
        return {"": str(error)}
