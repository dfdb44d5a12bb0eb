"""`earmark thresholds --drops` and `--mapping`: thresholds that a task chooses without a run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from earmark.cli.exclusive import refuse_beside
from earmark.cli.options import Invocation, open_project

__all__ = ["tuning_options"]

_SHOWN = 10


def tuning_options(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Add the options of tunings to `thresholds`; `function` is called where none was asked for."""

    @functools.wraps(function)
    def thresholds(invocation: Invocation, /, **given: Any) -> int | None:
        from earmark.errors import UsageError

        output = given.pop("tuning_output")
        asked = [name for name in ("drops", "mapping") if given.pop(name)]
        if len(asked) > 1:
            raise UsageError("--drops and --mapping were both given; expected one. Run the command twice.")
        if asked:
            return _tune(invocation, given["task"], asked[0], output)
        if output is not None:
            raise UsageError(
                f"--output {output}: a decision goes into its run's folder. Give --drops or --mapping with it."
            )
        return function(invocation, **given)

    for option in (
        click.option(
            "--output",
            "-o",
            "tuning_output",
            type=click.Path(path_type=Path),
            help="With --drops: folder of drop_sweep.csv. With --mapping: the file to write, e.g. zone_mapping.yaml.",
        ),
        click.option(
            "--mapping",
            is_flag=True,
            help="Instead: choose how arousal and valence of DEAM become zones; needs no run.",
        ),
        click.option(
            "--drops", is_flag=True, help="Instead: choose the drop detector's thresholds; needs no run."
        ),
    ):
        thresholds = option(thresholds)
    return thresholds


def _tune(invocation: Invocation, task: str | None, name: str, output: Path | None) -> int:
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.errors import UsageError

    refuse_beside(f"--{name}", ("task", "drops", "mapping", "tuning_output"))
    project = open_project(invocation, task)
    if name not in project.task.tunings:
        known = ", ".join(f"--{one}" for one in project.task.tunings) or "none"
        raise UsageError(f"task `{project.task.name}` has nothing to choose by --{name}. Known: {known}.")
    with progress(invocation) as tell:
        tuning = project.task.tunings[name](project, output, tell)
    document = {"task": project.task.name, "tuning": name, "rows": tuning.rows, "files": tuning.files}
    rows = list(tuning.rows)
    shown = rows[:_SHOWN] if invocation.format == "table" else rows
    emit(invocation, shown, document={**document, "sentences": tuning.sentences})
    if len(shown) < len(rows):
        note(invocation, f"The {_SHOWN} best of {len(rows)}; --format csv or json gives all.")
    for sentence in tuning.sentences:
        note(invocation, sentence)
    for path in tuning.files:
        note(invocation, f"Written: {path}")
    return 0
