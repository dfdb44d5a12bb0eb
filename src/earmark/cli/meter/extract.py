"""`earmark extract meter`: warm the feature cache, one phase after the other."""

from __future__ import annotations

from typing import Any

import click

from earmark.cli.options import Invocation, command, open_project

__all__ = ["extract"]

COLUMNS = ("phase", "cached", "percent", "was_cached", "computed", "failed", "seconds", "rate", "verdict")


@command("extract")
@click.argument("sources", nargs=-1)
@click.option(
    "--phase",
    "phases",
    multiple=True,
    help="beats, onsets, signals, tempo, features, onset_model (once trained) or all (default); may be repeated.",
)
@click.option(
    "--split",
    "part",
    type=click.Choice(["train", "val", "test", "tuning", "all"]),
    default="all",
    help="Which prepared items; `tuning` is train and val (default: all).",
)
@click.option("--extra-data", is_flag=True, help="WIKIMETER beside the other data sets.")
@click.option(
    "--features", help="Feature sets whose matrix is written, separated by commas (default: the task's)."
)
@click.option("--warm", is_flag=True, help="Only fill the cache; write no matrix.")
@click.option("--workers", "-w", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help="At most so many items, of all classes in proportion; 0 for all.",
)
@click.option(
    "--retry-failed", is_flag=True, help="Try items again that failed with the same bytes and code."
)
@click.pass_obj
def extract(
    invocation: Invocation,
    /,
    sources: tuple[str, ...],
    phases: tuple[str, ...],
    features: str | None,
    part: str,
    **given: Any,
) -> int:
    """Compute what analysis and training need, phase by phase, for the prepared clips or for files and folders in
    SOURCES, and write the training matrix.

    What is cached is skipped: a run that was stopped goes on where it was, and after an edit only what depends on the
    edited code is computed. The table says of each phase how many items have all its features; LOW is 95 % or less.
    Files in SOURCES are read in the windows in which `earmark predict meter` hears them. The exit code is 1 if an item
    failed.

    \b
    Examples:
      earmark extract meter --split tuning --extra-data -w 4
      earmark extract meter --phase beats --phase signals --warm
      earmark extract meter --limit 20 --warm --format json
      earmark extract meter ~/Music --warm
    """
    from earmark.cli.output import complain_of, emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.meter.configured import absences
    from earmark.tasks.meter.extraction import chosen_items, chosen_phases, warm, windows_of, write_matrix
    from earmark.tasks.meter.fusion import onset_problems

    project = open_project(invocation, "meter", features=features)
    wanted = chosen_phases(phases, project.task.phases)
    absent = (*absences(project.effective), *onset_problems(project.effective))
    for reason in absent:
        note(invocation, reason)
    limit = given["limit"] or None
    items = (
        windows_of(project, sources, limit)
        if sources
        else chosen_items(project, part, extra_data=given["extra_data"], limit=limit)
    )
    with progress(invocation) as report:
        done = warm(
            project,
            items,
            wanted,
            workers=given["workers"],
            retry_failed=given["retry_failed"],
            progress=report,
        )
        is_whole = not sources and not phases and limit is None and part in ("tuning", "all")
        written = () if given["warm"] or not is_whole else write_matrix(project, report)
    failures = {failure.id: failure.error for phase in done for failure in phase.failures}
    for name, error in failures.items():
        complain_of(name, error)
    for path in written:
        note(invocation, f"written: {path}")
    rows = [phase.to_row() for phase in done]
    document = {"items": len(items), "phases": rows, "failed": failures, "written": [str(p) for p in written]}
    document["absent_trackers"] = list(absent)
    emit(invocation, rows, columns=COLUMNS, document=document)
    return 1 if failures else 0
