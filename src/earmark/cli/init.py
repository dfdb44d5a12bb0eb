"""`earmark init`: the files that make a folder a project."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from earmark.cli.options import Invocation, command, find_task, task_argument

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["init", "settings_text"]

_IGNORED = "# What earmark computes can be computed again; runs are yours to keep or to ignore.\n{cache}/\n"


@command()
@task_argument()
@click.pass_obj
def init(invocation: Invocation, task: str) -> None:
    """Make a folder a project: earmark.toml with every setting explained, and a .gitignore.

    Some tasks have a file more, such as live.toml of appliance. Nothing that exists is overwritten.

    \b
    Examples:
      earmark init zones
      earmark -C library init zones    # makes the folder where it is missing
      earmark init ./mytask.py         # a task of your own
    """
    from earmark.cli.output import note
    from earmark.errors import UsageError
    from earmark.tasks.settings import SETTINGS_FILE, Settings

    settings_file = invocation.folder / SETTINGS_FILE
    if settings_file.exists():
        raise UsageError(
            f"`{settings_file}` exists and is left as it is. Edit it, or choose another folder with -C."
        )
    declared = find_task(task)  # what cannot be found is refused now rather than at the next command
    invocation.folder.mkdir(parents=True, exist_ok=True)
    where = os.path.relpath(task, invocation.folder) if task.endswith(".py") else task
    _write_new(settings_file, settings_text(where))
    ignored = _IGNORED.format(cache=Settings().cache.parts[0])
    others = {".gitignore": ignored} | {name: text() for name, text in declared.init_files.items()}
    for name, text in others.items():
        path = invocation.folder / name
        if path.exists():
            note(invocation, f"`{path}` exists and is left as it is.")
        else:
            _write_new(path, text)
            click.echo(path)
    click.echo(settings_file)
    note(invocation, f"Next: earmark prepare {task} {declared.sources_noun}")


def settings_text(task: str) -> str:
    """Text of a new earmark.toml: the task, and every other setting as a comment with its default."""
    from earmark.tasks.settings import Settings, environment_name

    lines = [
        "# Settings of this earmark project. The command line wins over this file, and so do",
        f"# environment variables such as {environment_name('workers')}. To change one, remove its `# `.",
        "",
    ]
    lines += _section_lines(Settings, "", {"task": task})
    return "\n".join(lines) + "\n"


def _section_lines(model: type[BaseModel], prefix: str, given: dict[str, object]) -> list[str]:
    """Plain settings first, tables after them, as TOML wants it."""
    from pydantic import BaseModel

    lines: list[str] = []
    tables: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            tables += ["", f"[{prefix}{name}]", *_section_lines(field.annotation, f"{prefix}{name}.", {})]
            continue
        lines.append(f"# {field.description}")
        default = field.get_default(call_default_factory=True)
        if name in given:
            lines.append(f"{name} = {_toml(given[name])}")
        elif default is None or default == {}:
            lines.append(f"# {name} =   (as the task declares)" if default is None else f"# {name} = {{}}")
        else:
            lines.append(f"# {name} = {_toml(default)}")
    return lines + tables


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    return json.dumps(str(value), ensure_ascii=False)


def _write_new(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
