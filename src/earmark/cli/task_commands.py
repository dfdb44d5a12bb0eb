"""Commands that a task has in its own form: ``earmark train market`` has other options than ``earmark train zones``.

Where the arguments of a command name such a task, its own command takes over, with its own help::

    earmark train market --help

A project whose ``earmark.toml`` names the task may leave it out, as everywhere.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

__all__ = ["TASK_COMMANDS", "forms_of", "own_command", "task_commands_of"]

_APPLIANCE = "earmark.cli.appliance."
_MARKET = "earmark.cli.market."
_METER = "earmark.cli.meter."

TASK_COMMANDS: dict[tuple[str, str], str] = {
    ("demo", "appliance"): _APPLIANCE + "demo:demo",
    ("prepare", "appliance"): _APPLIANCE + "prepare:prepare",
    ("extract", "appliance"): _APPLIANCE + "extract:extract",
    ("train", "appliance"): _APPLIANCE + "train:train",
    ("grid", "appliance"): _APPLIANCE + "grid:grid",
    ("thresholds", "appliance"): _APPLIANCE + "thresholds:thresholds",
    ("evaluate", "appliance"): _APPLIANCE + "evaluate:evaluate",
    ("predict", "appliance"): _APPLIANCE + "predict:predict",
    ("stream", "appliance"): _APPLIANCE + "stream:stream",
    ("live", "appliance"): _APPLIANCE + "live:live",
    ("collect", "appliance"): _APPLIANCE + "collect:collect",
    ("demo", "market"): _MARKET + "demo:demo",
    ("collect", "market"): _MARKET + "collect:collect",
    ("prepare", "market"): _MARKET + "prepare:prepare",
    ("label", "market"): _MARKET + "label:label",
    ("migrate", "market"): _MARKET + "migrate:migrate",
    ("extract", "market"): _MARKET + "extract:extract",
    ("train", "market"): _MARKET + "train:train",
    ("grid", "market"): _MARKET + "grid:grid",
    ("evaluate", "market"): _MARKET + "evaluate:evaluate",
    ("predict", "market"): _MARKET + "predict:predict",
    ("stream", "market"): _MARKET + "stream:stream",
    ("live", "market"): _MARKET + "live:live",
    ("check lookahead", "market"): _MARKET + "check:lookahead",
    ("cache check", "market"): _MARKET + "extract:check",
    ("data show", "market"): _MARKET + "data:show",
    ("data ledger", "market"): _MARKET + "data:ledger",
    ("prepare", "meter"): _METER + "prepare:prepare",
    ("store validate", "meter"): _METER + "validate:validate",
    ("train", "meter"): _METER + "train:train",
    ("grid", "meter"): _METER + "grid:grid",
    ("thresholds", "meter"): _METER + "thresholds:thresholds",
    ("evaluate", "meter"): _METER + "evaluate:evaluate",
    ("extract", "meter"): _METER + "extract:extract",
    ("predict", "meter"): _METER + "predict:predict",
    ("stream", "meter"): _METER + "stream:stream",
    ("live", "meter"): _METER + "live:live",
}
"""Command and task -> module and attribute."""


def task_commands_of(command: str) -> dict[str, str]:
    """Task -> module and attribute, for the tasks that have `command` in their own form."""
    return {task: target for (name, task), target in TASK_COMMANDS.items() if name == command}


def forms_of(command: str) -> dict[str, click.Command]:
    """The same, imported: a command, or a group of its own."""
    found = {}
    for task, target in task_commands_of(command).items():
        module, _, attribute = target.partition(":")
        found[task] = getattr(import_module(module), attribute)
    return found


def own_command(
    command: str, declared: Sequence[click.Parameter], args: Sequence[str], folder: Path
) -> tuple[str, list[str]] | None:
    """The task whose own form of `command` these arguments ask for, and the arguments without its name.

    Parameters
    ----------
    command : str
        ``train``, or ``check lookahead``.
    declared : sequence of click.Parameter
        Those of the general command; they tell which options take a value.
    args : sequence of str
        What follows the command.
    folder : Path
        The project folder, whose settings may name the task.
    """
    tasks = task_commands_of(command)
    if not tasks:
        return None
    for position in _positionals(declared, args):
        if args[position] in tasks:
            return args[position], [*args[:position], *args[position + 1 :]]
        return None
    named = _task_of_settings(folder)
    return (named, list(args)) if named in tasks else None


def _positionals(declared: Sequence[click.Parameter], args: Sequence[str]) -> Iterator[int]:
    """Positions of arguments that are neither an option nor, as far as the general command knows, its value."""
    taking = {
        name
        for option in declared
        if isinstance(option, click.Option) and not option.is_flag and not option.count
        for name in option.opts
    }
    is_value = False
    for position, argument in enumerate(args):
        if argument == "--":
            return
        if not is_value and not argument.startswith("-"):
            yield position
        is_value = not is_value and argument in taking


def _task_of_settings(folder: Path) -> Any:
    path = folder / "earmark.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("task")
    except (OSError, ValueError):
        return None  # absent, or broken: the command itself reads it again and says what is wrong
