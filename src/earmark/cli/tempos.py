"""`earmark extract --tempo-csv`: tempos alone, as the table that `prepare --tempo-csv` reads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from earmark.cli.exclusive import refuse_beside
from earmark.cli.options import Invocation, open_project

__all__ = ["tempo_option"]

_ALLOWED = ("task", "sources", "inputs", "workers", "limit", "tempo_csv")


def tempo_option(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Add ``--tempo-csv`` to `extract`; `function` is called without it."""

    @functools.wraps(function)
    def extract(invocation: Invocation, /, **given: Any) -> int | None:
        path = given.pop("tempo_csv")
        return function(invocation, **given) if path is None else _write(invocation, path, given)

    return click.option(
        "--tempo-csv",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Only the tempo, by file name, for prepare --tempo-csv: CSV with track_id and tempo.",
    )(extract)


def _write(invocation: Invocation, path: Path, given: dict[str, Any]) -> int:
    from earmark.cli.output import complain_of, emit, note
    from earmark.cli.progress import progress
    from earmark.errors import UsageError

    refuse_beside("--tempo-csv", _ALLOWED)
    project = open_project(invocation, given["task"])
    write = project.task.tempo_table
    if write is None:
        raise UsageError(f"Task `{project.task.name}` has no table of tempos. Leave --tempo-csv out.")
    sources = [*given["sources"], *given["inputs"]]
    with progress(invocation) as tell:
        table = write(
            project, sources, path, workers=given["workers"], limit=given["limit"] or None, progress=tell
        )
    for failure in table.failures:
        complain_of(failure.uri, failure.error)
    counts = {"items": len(table), "failed": len(table.failures)}
    emit(invocation, [counts], document={**counts, "written": path})
    note(invocation, f"written: {path}")
    return 1 if table.failures else 0
