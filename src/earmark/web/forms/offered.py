"""Which commands a browser may start, which options they keep to themselves, and what is a path in truth.

Tables, and no more: a command that is not in `OFFERED` is not started, whatever a request says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from typing import Literal

import click

from earmark.cli.main import cli
from earmark.cli.task_commands import TASK_COMMANDS
from earmark.errors import UsageError
from earmark.models.constraints import closest
from earmark.tasks.registry import task_names

__all__ = [
    "HIDDEN",
    "MAIN",
    "OFFERED",
    "PROSE",
    "Target",
    "commands_of",
    "installed_tasks",
    "is_hidden",
    "is_path",
    "name_of",
    "option_of",
    "target_of",
]

OFFERED = (
    "demo",
    "collect",
    "migrate legacy",
    "migrate columns",
    "migrate recording",
    "prepare",
    "label",
    "extract",
    "train",
    "grid",
    "thresholds",
    "evaluate",
    "predict",
    "live",
    "check lookahead",
    "store validate",
    "store compact",
    "runs promote",
    "runs rollback",
    "runs export",
    "runs track",
    "cache check",
    "cache gc",
    "cache verify",
    "cache why",
    "cache adopt",
)
"""In the order of a project's life."""

SERVICES = ("live", "collect")
"""What runs until it is stopped."""

_OF_TASKS_ALONE = frozenset(("collect", "migrate", "label", "live"))
_WITHOUT = {  # what the general command refuses, or says nothing of
    "thresholds": ("market",),
    "store validate": ("zones", "appliance"),
    "store compact": ("zones", "appliance", "meter"),
}

_STANDARD_INPUT = ("pcm", "sample_rate", "channels")
_PRINTS_AND_ENDS = ("settings", "schema", "list_devices", "list_devices_json", "show_config", "latency")
_OPENS_A_PORT = ("serve", "metrics_port", "prometheus")
_SAYS_OFF = ("no_augment", "normalize_source")  # the same as a value of another option

HIDDEN: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("collect", "market"): ("watch",),  # there a table in the terminal
    ("live", "appliance"): _STANDARD_INPUT,
    ("live", "meter"): _STANDARD_INPUT,
    ("collect", "appliance"): _STANDARD_INPUT,
}
"""Options that a page does not show, beside those of `_EVERYWHERE`."""

_EVERYWHERE = frozenset((*_PRINTS_AND_ENDS, *_OPENS_A_PORT, *_SAYS_OFF))
_MEANT_ELSEWHERE: dict[tuple[str, str | None], frozenset[str]] = {
    ("evaluate", "market"): frozenset(("latency",))
}  # a measurement, no listing

MAIN: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("collect", "market"): ("symbols", "venue", "duration", "model", "simulator", "speed", "legacy"),
    ("collect", "appliance"): ("set", "daypart", "seconds", "samples_dir", "ext", "input"),
    ("prepare", "zones"): ("sources", "no_check", "test_fraction", "folds", "deam", "dry_run"),
    ("prepare", "market"): ("holdout_days", "horizon", "sequence_length", "view", "symbols", "data_source"),
    ("prepare", "meter"): (
        "sources",
        "data_dir",
        "meter2800",
        "ballroom",
        "gtzan",
        "csv",
        "folds",
        "dry_run",
    ),
    ("prepare", "appliance"): ("folder", "samples_dir", "pattern", "labels", "segments", "seal", "summary"),
    ("label", "market"): (
        "horizons",
        "method",
        "threshold",
        "symbols",
        "start_date",
        "end_date",
        "price_source",
    ),
    ("extract", "zones"): ("sources", "features", "method", "workers", "limit", "output", "retry_failed"),
    ("extract", "market"): ("symbols", "start_date", "end_date", "view", "workers", "compare", "write"),
    ("train", "zones"): ("algorithms", "features", "preset", "metric", "epochs", "top_n", "balance", "seed"),
    ("train", "meter"): ("model", "features", "epochs", "batch_size", "lr", "kfold", "seeds", "promote"),
    ("train", "appliance"): (
        "model",
        "protocol",
        "estimator",
        "epochs",
        "batch_size",
        "augment",
        "device",
        "seed",
    ),
    ("train", "market"): (
        "preset",
        "model_name",
        "epochs",
        "batch_size",
        "learning_rate",
        "symbols",
        "days",
        "data_source",
        "data_path",
    ),
    ("grid", "zones"): ("algorithm", "features", "metric", "set", "folds", "limit", "workers", "summary"),
    ("grid", "market"): ("model", "method", "mode", "group", "trials", "epochs", "timeout", "metric"),
    ("grid", "meter"): ("model", "features", "set", "limit", "parallel_runs", "seeds", "promote", "summary"),
    ("grid", "appliance"): ("vary", "model", "protocol", "estimator", "epochs", "limit", "summary"),
    ("thresholds", "zones"): ("run", "calibration", "coverage", "accuracy", "recall", "cost", "dry_run"),
    ("thresholds", "meter"): (
        "runs",
        "run",
        "calibration",
        "coverage",
        "accuracy",
        "cost",
        "ensemble",
        "dry_run",
    ),
    ("thresholds", "appliance"): ("run", "method", "part", "fit_decoder", "dry_run"),
    ("evaluate", "zones"): ("run", "split", "reason", "gate", "label_issues", "analysis", "map"),
    ("evaluate", "market"): (
        "run_argument",
        "split",
        "reason",
        "cost",
        "gate",
        "walk_forward",
        "cpcv",
        "drift",
    ),
    ("evaluate", "meter"): ("datasets", "run", "split", "ci", "confusion", "report", "reason"),
    ("evaluate", "appliance"): ("run", "split", "reason", "quick", "robustness", "save"),
    ("predict", "zones"): ("sources", "run", "method", "threshold", "output", "playlists", "with_features"),
    ("predict", "market"): ("files", "run", "symbols", "threshold", "start_date", "end_date", "output"),
    ("predict", "meter"): ("sources", "run", "threshold", "output", "jams", "beats", "sonify"),
    ("predict", "appliance"): ("sources", "run", "details", "timeline", "csv", "thresholds"),
    ("live", "market"): (
        "symbols",
        "run",
        "threshold",
        "challenger",
        "venue",
        "duration",
        "simulator",
        "speed",
    ),
    ("live", "meter"): ("input", "device", "run", "threshold", "duration"),
    ("live", "appliance"): ("sd_device", "input", "run", "decoder", "preset", "only_changes", "duration"),
}
"""Fields that are shown at once; where a command has no entry its first eight are."""

PROSE = frozenset(("reason", "reseal"))
"""Sentences that are kept as they are: they may name anything."""

_PATH_METAVARS = frozenset(("DIR", "FILE", "PATH"))
_PATH_OPTIONS = frozenset(("--input", "--file", "--batch", "--mlflow", "--data-path", "--checkpoint-path"))
_PATH_ARGUMENTS = frozenset(("sources", "source", "files", "file", "folder"))


@dataclass(frozen=True)
class Target:
    """A click command, and how a command line reaches it: ``migrate``, the task, then ``legacy``."""

    click: click.Command
    command: str
    words: tuple[str, ...]
    kind: Literal["job", "service"]

    @property
    def takes_task(self) -> bool:
        """Whether the task is an argument of the click command, not a command of its own."""
        return any(isinstance(one, click.Argument) and one.name == "task" for one in self.click.params)


def target_of(command: str, task: str | None) -> Target:
    """The click command that ``earmark COMMAND TASK`` runs, where a browser may start it.

    Raises
    ------
    UsageError
        It is not offered, needs a task, or that task has no such command.
    """
    if command not in OFFERED:
        raise UsageError(f"`{command}` cannot be started from a page{closest(command, OFFERED)}.")
    known = installed_tasks()
    if task is not None and not task.endswith(".py") and task not in known:
        raise UsageError(f"There is no task `{task}`{closest(task, known)}. Known: {', '.join(known)}.")
    verb = command.split()[0] if command.startswith("migrate ") else command
    words = tuple(command.split()[1:]) if verb != command else ()
    own: dict[str | None, str] = {of: target for (name, of), target in TASK_COMMANDS.items() if name == verb}
    kind: Literal["job", "service"] = "service" if verb in SERVICES else "job"
    if task in own:
        return Target(_walk(_imported(own[task]), words), verb, words, kind)
    general = _walk(cli, tuple(verb.split()))
    has_general = verb not in _OF_TASKS_ALONE and task not in _WITHOUT.get(verb, ())
    if not has_general or (task is None and own):
        expected = ", ".join(str(known) for known in own) or "market"
        raise UsageError(
            f"`{command}` was asked for {task or 'no task'}; expected a task that has it: {expected}."
        )
    target = Target(general, verb, (), kind)
    if task is not None and not target.takes_task:
        raise UsageError(f"`{command}` is not of a task. Leave `{task}` out.")
    return target


@cache
def installed_tasks() -> tuple[str, ...]:
    """Names of all tasks but a project's own; looked up once, since packages do not come while a server runs."""
    return tuple(task_names())


@lru_cache(maxsize=256)
def commands_of(task: str) -> tuple[str, ...]:
    """Those of `OFFERED` that a task has."""
    found = []
    for command in OFFERED:
        try:
            target_of(command, task)
        except UsageError:
            continue
        found.append(command)
    return tuple(found)


def name_of(parameter: click.Parameter) -> str:
    """Key of a parameter's value: ``batch_size`` for ``--batch-size``, as the user spells it, not as the code does."""
    if isinstance(parameter, click.Argument):
        return str(parameter.name)
    return option_of(parameter).lstrip("-").replace("-", "_")


def option_of(parameter: click.Parameter) -> str:
    """An option as it is spelled: its first long name."""
    return next((name for name in parameter.opts if name.startswith("--")), parameter.opts[0])


def is_hidden(command: str, task: str | None, parameter: click.Parameter) -> bool:
    """Whether a page leaves a parameter out: options of all commands, and what makes no sense there."""
    name = name_of(parameter)
    if not parameter.expose_value or (name == "task" and isinstance(parameter, click.Argument)):
        return True
    everywhere = _EVERYWHERE - _MEANT_ELSEWHERE.get((command, task), frozenset())
    return name in everywhere or name in HIDDEN.get((command, task), ())


def is_path(parameter: click.Parameter) -> bool:
    """Whether a value names a file or folder, whatever type click knows it by."""
    if isinstance(parameter.type, click.Choice):
        return False
    return (
        isinstance(parameter.type, click.Path)
        or parameter.metavar in _PATH_METAVARS
        or (isinstance(parameter, click.Argument) and parameter.name in _PATH_ARGUMENTS)
        or (
            isinstance(parameter.type, click.types.StringParamType)
            and not _PATH_OPTIONS.isdisjoint(parameter.opts)
        )
    )


@cache
def _imported(target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    found: click.Command = getattr(import_module(module), attribute)
    return found


def _walk(command: click.Command, words: tuple[str, ...]) -> click.Command:
    for word in words:
        found = (
            command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        )
        if found is None:
            raise UsageError(f"`{command.name}` has no command `{word}`.")
        command = found
    return command
