"""What all commands share: the common options, the classes that carry them, and the argument for tasks.

The common options may stand before or after the command's name; the later one wins::

    earmark -C library extract zones --format json
    earmark extract zones -C library --format json
"""

from __future__ import annotations

import difflib
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from earmark.tasks.project import Project
    from earmark.tasks.settings import EffectiveSettings
    from earmark.tasks.task import Task

__all__ = [
    "FORMATS",
    "EarmarkCommand",
    "Invocation",
    "command",
    "common_options",
    "debugging",
    "task_argument",
]

FORMATS = ("table", "json", "csv")


@dataclass
class Invocation:
    """The common options of this run of the program; commands receive it by ``click.pass_obj``."""

    folder: Path = Path()
    format: str = "table"
    verbose: bool = False
    quiet: bool = False

    def settings(self, *, config: Path | None = None, **overrides: object) -> EffectiveSettings:
        """Effective settings of the project folder; ``split__folds=3`` stands for ``split.folds``, and `config` is
        read instead of ``earmark.toml``.
        """
        from earmark.errors import UsageError
        from earmark.tasks.settings import load_settings

        if not self.folder.is_dir():
            raise UsageError(
                f"The project folder `{self.folder}` does not exist. "
                f"Correct -C, or create it: earmark -C {self.folder} init TASK"
            )
        return load_settings(
            self.folder,
            {name.replace("__", "."): value for name, value in overrides.items()},
            file=config,
        )


def debugging(invocation: Invocation) -> bool:
    """True where the user asked to see tracebacks: ``-v`` or ``EARMARK_DEBUG=1``."""
    return invocation.verbose or os.environ.get("EARMARK_DEBUG", "0") not in ("", "0")


def common_options() -> list[click.Option]:
    """The one block of options that every command has."""
    return [
        click.Option(
            ["-C", "common_folder"],
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Project folder (default: here).",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["--format", "common_format"],
            type=click.Choice(FORMATS),
            help="Form of what goes to standard output (default: table).",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["-v", "--verbose", "common_verbose"],
            is_flag=True,
            default=None,
            help="Log more, and show tracebacks.",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["--quiet", "common_quiet"],
            is_flag=True,
            default=None,
            help="No progress, no notes: errors only.",
            expose_value=False,
            callback=_remember,
        ),
    ]


class EarmarkCommand(click.Command):
    """A command with the common options, shown after its own; one of the same name has its own meaning."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        taken = {name for parameter in self.params for name in parameter.opts}
        self.params += [option for option in common_options() if not taken.intersection(option.opts)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and refuse nan and inf in ranges: `click.FloatRange` lets them through, and no option means them."""
        rest = super().parse_args(ctx, args)
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            is_range = isinstance(parameter.type, click.FloatRange)
            if is_range and isinstance(value, float) and not math.isfinite(value):
                raise click.BadParameter(f"{value} is not a finite number.", ctx, parameter)
        return rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, with logs going to standard error at the level that was asked for."""
        configure_logging(ctx.ensure_object(Invocation))
        return super().invoke(ctx)


class EarmarkGroup(click.Group):
    """A group whose commands may be imported when they are named, and that names the likely one for a mistake.

    Parameters
    ----------
    lazy : mapping of str to str, optional
        Command -> ``module:attribute``; listed after those that were added.
    summaries : mapping of str to str, optional
        Command -> its first sentence, for the list; the command is asked where it is not in here.
    """

    def __init__(
        self,
        *args: Any,
        lazy: Mapping[str, str] | None = None,
        summaries: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})
        self.summaries = dict(summaries or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands, in declared order."""
        return [*self.commands, *self.lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command named ``cmd_name``, imported now if it is lazy; None if there is none."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self.lazy[cmd_name].partition(":")
        found: click.Command = getattr(import_module(module), attribute)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of ``args``, or name the likely one."""
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            close = difflib.get_close_matches(args[0], names, n=1)
            advice = f"Did you mean `{close[0]}`?" if close else f"Commands: {', '.join(names)}."
            raise click.UsageError(f"`{args[0]}` is not a command. {advice}", ctx)
        name, found, rest = super().resolve_command(ctx, args)
        return (name, found, rest) if found is None else self._of_task(ctx, str(name), found, rest)

    def _of_task(
        self, ctx: click.Context, name: str, found: click.Command, args: list[str]
    ) -> tuple[str, click.Command, list[str]]:
        """The form of the command that belongs to the task in `args`, where that task has one of its own."""
        from earmark.cli.task_commands import forms_of, own_command

        spelled = " ".join([*ctx.command_path.split()[1:], name])
        own = own_command(spelled, found.params, args, ctx.ensure_object(Invocation).folder)
        if own is None:
            return name, found, args
        task, rest = own
        return f"{name} {task}", forms_of(spelled)[task], rest

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the whole first sentence of each."""
        rows = []
        for name in self.list_commands(ctx):
            summary = self.summaries.get(name)
            if summary is None:
                found = self.get_command(ctx, name)
                summary = "" if found is None else found.get_short_help_str(limit=200)
            rows.append((name, summary))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def command(name: str | None = None, **kwargs: Any) -> Callable[[Callable[..., int | None]], EarmarkCommand]:
    """Declare a command whose function returns its exit code (None: 0)."""
    return click.command(name, cls=EarmarkCommand, **kwargs)


def configure_logging(invocation: Invocation) -> None:
    """Send the package's log to standard error: warnings, with ``-v`` also notes, with ``--quiet`` errors."""
    level = logging.INFO if invocation.verbose else logging.ERROR if invocation.quiet else logging.WARNING
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("earmark").setLevel(level)


def task_argument(*, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The argument TASK; not required where ``earmark.toml`` can name it."""
    return click.argument("task", shell_complete=_complete_task, required=required)


def open_project(
    invocation: Invocation, task: str | None, *, config: Path | None = None, **overrides: object
) -> Project:
    """The project in ``-C`` with the task that was named, else the one of ``earmark.toml`` (or `config`).

    A task file named there is relative to the project folder; ``split__folds=3`` overrides ``split.folds``.
    """
    from earmark.errors import UsageError
    from earmark.tasks.project import Project

    settings = invocation.settings(config=config, **overrides)
    named = settings.settings.task
    if task is None and named is None:
        raise UsageError(
            "No task was named, and earmark.toml names none. Give TASK, e.g. zones, or write: earmark init TASK"
        )
    if task is None and named is not None:
        task = str(invocation.folder / named) if named.endswith(".py") else named
    return Project(find_task(str(task)), settings, str(task))


def find_task(name: str) -> Task:
    """The task called ``name``, or defined in the file ``name``; what is wrong in a user's file is said as such."""
    from earmark.errors import EarmarkError, UsageError
    from earmark.tasks.registry import load_task

    try:
        return load_task(name)
    except (EarmarkError, KeyboardInterrupt):
        raise
    except Exception as error:
        if not name.endswith(".py"):
            raise
        line = _line_in(error, Path(name).absolute())
        raise UsageError(
            f"`{name}`{line} cannot be loaded: {type(error).__name__}: {error}. Correct it; -v shows the traceback."
        ) from error


def _line_in(error: BaseException, file: Path) -> str:
    """`` line 12``: where in ``file`` the error came from, or nothing."""
    import traceback

    if isinstance(error, SyntaxError) and error.filename and Path(error.filename) == file:
        return f" line {error.lineno}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file
    ]
    return f" line {lines[-1]}" if lines else ""


def _complete_task(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the names of installed tasks, and files where none of them fits."""
    from click.shell_completion import CompletionItem

    from earmark.tasks.registry import task_names

    names = [CompletionItem(name) for name in task_names() if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    """Keep a common option that was given; that of the command is read after that of the group and wins."""
    if value is not None and parameter.name is not None:
        setattr(context.ensure_object(Invocation), parameter.name.removeprefix("common_"), value)
