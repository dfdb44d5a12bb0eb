"""Verbs that only some tasks have: without such a task they say which ones do."""

from __future__ import annotations

import click

from earmark.cli.options import EarmarkCommand, Invocation, command, task_argument

__all__ = ["collect", "label", "live", "migrate"]


def _verb(name: str, text: str) -> EarmarkCommand:
    @click.pass_obj
    def refuse(_invocation: Invocation, task: str | None) -> int:
        from earmark.cli.task_commands import task_commands_of
        from earmark.errors import UsageError

        known = ", ".join(f"earmark {name} {known}" for known in task_commands_of(name))
        asked = f"task {task!r} has no `{name}`" if task else "no task was named, and earmark.toml names none"
        raise UsageError(f"{asked}. These have: {known}.")

    refuse.__doc__ = text
    return command(name)(task_argument(required=False)(refuse))


collect = _verb(
    "collect",
    """Bring raw data of TASK in: exchange streams, or recordings of a room.

    \b
    Examples:
      earmark collect market --symbols BTCUSDT,ETHUSDT
      earmark collect appliance --set ac=on,fridge=off --daypart day
    """,
)
label = _verb(
    "label",
    """Compute labels of TASK that lie in the future of each row, into tables of their own.

    \b
    Examples:
      earmark label market --horizons 10,30,60
    """,
)
migrate = _verb(
    "migrate",
    """Bring files of earlier programs of TASK into the store; the files stay as they are.

    \b
    Examples:
      earmark migrate market legacy --dry-run
    """,
)
live = _verb(
    "live",
    """Answer what is happening now: TASK on the stream of an exchange or a microphone, a line per answer.

    \b
    Examples:
      earmark live market --symbols BTCUSDT
      earmark live meter
      earmark live appliance --only-changes
    """,
)
