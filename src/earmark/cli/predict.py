"""`earmark predict`: what a trained model says of files and folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from earmark.cli.options import Invocation, command, open_project, task_argument

if TYPE_CHECKING:
    from earmark.tasks.task import Task

__all__ = ["predict"]


@command()
@task_argument()
@click.argument("sources", nargs=-1)
@click.option("--file", "-f", "files", multiple=True, help="An input; the same as naming it in SOURCES.")
@click.option("--batch", "-b", "folders", multiple=True, help="A folder; the same as naming it in SOURCES.")
@click.option(
    "--run", "run_name", help="Run to predict with (default: the promoted one, else the best of the newest)."
)
@click.option(
    "--method", type=click.Choice(["model", "rules", "rules-first"]), default="model", help="What decides."
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Confidence below which nothing is decided.")
@click.option("--workers", "-w", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A .csv, .json or .jsonl file."
)
@click.option("--export-csv", type=click.Path(dir_okay=False, path_type=Path), help="A .csv file.")
@click.option(
    "--playlists", type=click.Path(file_okay=False, path_type=Path), help="Folder for a playlist per label."
)
@click.option(
    "--playlist-format",
    "playlist_formats",
    type=click.Choice(["m3u8", "pls", "xspf"]),
    multiple=True,
    default=["m3u8"],
    help="Form of the playlists; may be repeated.",
)
@click.option("--relative-paths", is_flag=True, help="Paths in playlists relative to their folder.")
@click.option("--force", is_flag=True, help="Replace playlists that earmark did not write.")
@click.option("--with-features", is_flag=True, help="Add the features of each input to JSON.")
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@click.pass_obj
def predict(
    invocation: Invocation,
    task: str,
    sources: tuple[str, ...],
    files: tuple[str, ...],
    folders: tuple[str, ...],
    run_name: str | None,
    method: str,
    threshold: float | None,
    workers: int | None,
    output: Path | None,
    export_csv: Path | None,
    playlists: Path | None,
    playlist_formats: tuple[str, ...],
    relative_paths: bool,
    force: bool,
    with_features: bool,
    no_cache: bool,
) -> int:
    """Predict files, folders, playlists and URIs in SOURCES with a run of TASK.

    One answer per input, in order. An input that fails is listed with its reason, the others go on, and the exit
    code is 1. Features come from the same cache and the same code as in training.

    \b
    Examples:
      earmark predict zones track.mp3
      earmark predict zones ~/Music --output zones.csv --playlists playlists
      earmark predict zones set.m3u8 --format json
      earmark predict mine.py recording.wav --run latest
    """
    from earmark.cli.output import complain_of, emit, note
    from earmark.cli.predictions import csv_of, documents_of, require_writable, table_of, write_file
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.predict import predict as run_predict

    targets = [path for path in (output, export_csv) if path is not None]
    require_writable(targets)
    project = open_project(invocation, task)
    write_lists = _playlist_writer(project.task) if playlists is not None else None
    with progress(invocation) as tell:
        predicted = run_predict(
            project,
            [*sources, *files, *folders],
            run=run_name,
            method=method,
            threshold=threshold,
            workers=workers,
            use_cache=not no_cache,
            with_features=with_features,
            progress=tell,
        )
    for failure in predicted.failures:
        complain_of(failure.path, failure.error)
    for path in targets:
        write_file(path, project.task, predicted.outcomes)
        note(invocation, f"written: {path}")
    if playlists is not None and write_lists is not None:
        for path in write_lists(
            predicted.outcomes, playlists, formats=playlist_formats, relative=relative_paths, force=force
        ):
            note(invocation, f"written: {path}")
    if invocation.format == "csv":
        click.echo(csv_of(project.task, predicted.outcomes), nl=False)
    else:
        documents = documents_of(project.task, predicted.outcomes)
        emit(invocation, table_of(predicted.outcomes), document=documents)
        if predicted.run is not None:
            note(invocation, f"Run: {predicted.run.name}")
    return 1 if predicted.failures else 0


def _playlist_writer(task: Task) -> Callable[..., tuple[Path, ...]]:
    from earmark.errors import UsageError

    if task.outputs is None or task.outputs.playlists is None:
        raise UsageError(f"Task `{task.name}` writes no playlists. Give --output FILE instead.")
    return task.outputs.playlists
