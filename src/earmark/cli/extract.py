"""`earmark extract`: fill the feature cache, and write features for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from earmark.cli.options import Invocation, command, open_project, task_argument

__all__ = ["extract"]


@command()
@task_argument(required=False)
@click.argument("sources", nargs=-1)
@click.option("--input", "-i", "inputs", multiple=True, help="A source; the same as naming it in SOURCES.")
@click.option("--features", help="Feature sets, separated by commas (default: the task's).")
@click.option("--phase", help="One feature group only, or `all` (default).")
@click.option("--workers", "-w", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.option("--cluster", metavar="URL", help="Existing scheduler: dask://HOST:PORT or ray://HOST:PORT.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many items.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A .csv or .parquet file."
)
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@click.option(
    "--retry-failed", is_flag=True, help="Try items again that failed with the same bytes and code."
)
@click.pass_obj
def extract(
    invocation: Invocation,
    task: str | None,
    sources: tuple[str, ...],
    inputs: tuple[str, ...],
    features: str | None,
    phase: str | None,
    workers: int | None,
    cluster: str | None,
    limit: int | None,
    output: Path | None,
    no_cache: bool,
    retry_failed: bool,
) -> int:
    """Compute the features of TASK for its prepared items, or for the files and folders in SOURCES.

    What the cache holds is not computed again: a second run opens no audio, and after an edit only what
    depends on the edited code is computed. An item that fails is set aside with its reason, and the exit code
    is 1. Ctrl-C keeps all finished work.

    \b
    Examples:
      earmark extract zones
      earmark extract zones --features full55,fast10 --workers 2
      earmark extract zones ~/Music -o features.csv
      earmark extract mine.py --format json
    """
    from earmark.cli.output import complain_of, emit, format_seconds, note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.extract import extract as run_extract

    project = open_project(invocation, task, features=features, cluster=cluster)
    with progress(invocation) as report:
        extracted = run_extract(
            project,
            [*sources, *inputs],
            phase=phase,
            workers=workers,
            limit=limit,
            output=output,
            use_cache=not no_cache,
            retry_failed=retry_failed,
            progress=report,
        )
    document = extracted.to_json()
    seconds = document["seconds"]
    rows = [
        {"group": name, "computed": count, "seconds": seconds.get(name, 0.0)}
        for name, count in document["computed"].items()
    ]
    for failure in document["failures"]:
        complain_of(failure["id"], failure["error"])
    spent = format_seconds(sum(seconds.values()))
    note(
        invocation,
        f"{document['items']} items, {len(document['failures'])} failed; {spent} of computing on all workers.",
    )
    for path in document["written"]:
        note(invocation, f"written: {path}")
    emit(invocation, rows, columns=["group", "computed", "seconds"], document=document)
    return 1 if document["failures"] else 0
