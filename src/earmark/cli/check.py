"""`earmark check`: proofs that numbers are what they claim to be."""

from __future__ import annotations

import math
from typing import Any

import click

from earmark.cli.options import EarmarkCommand, EarmarkGroup, Invocation, open_project, task_argument

__all__ = ["check"]


@click.group(cls=EarmarkGroup)
def check() -> None:
    """Prove properties of a task on real input.

    \b
    Examples:
      earmark check lookahead zones
    """


@check.command("lookahead", cls=EarmarkCommand)
@task_argument(required=False)
@click.argument("sources", nargs=-1, type=click.Path(exists=True, dir_okay=False))
@click.pass_obj
def lookahead(invocation: Invocation, task: str | None, sources: tuple[str, ...]) -> int:
    """Prove that no frame column sees further ahead than it declares: cut the input and compare.

    Without SOURCES a generated signal is used. Exit code 3 if a column sees the future.

    \b
    Examples:
      earmark check lookahead zones
      earmark check lookahead zones track.flac --format json
    """
    from earmark.cli.output import emit
    from earmark.errors import GateError
    from earmark.tasks.verbs.lookahead import lookahead as run_lookahead

    rows = run_lookahead(open_project(invocation, task), sources)
    document: list[dict[str, Any]] = [
        {"column": row.column, "declared_s": row.declared_s, "observed_s": row.observed_s, "ok": row.ok}
        for row in rows
    ]
    shown = [
        {**row, "declared_s": "whole item" if math.isinf(row["declared_s"]) else row["declared_s"]}
        for row in document
    ]
    emit(invocation, shown, document=document)
    wrong = [row for row in rows if not row.ok]
    if wrong:
        names = ", ".join(dict.fromkeys(row.column for row in wrong))
        raise GateError(f"{names}: sees further ahead than declared. Correct the column or its lookahead_s.")
    return 0
