"""`earmark predict`: what a trained model says of files and folders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project, task_argument
from earmark.cli.refine import five_way_options, refiner

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.tasks.task import Task
    from earmark.tasks.verbs.predict import Predicted

__all__ = ["predict"]


@command()
@task_argument()
@click.argument("sources", nargs=-1)
@click.option("--file", "-f", "files", multiple=True, help="An input; the same as naming it in SOURCES.")
@click.option("--batch", "-b", "folders", multiple=True, help="A folder; the same as naming it in SOURCES.")
@click.option(
    "--run",
    "--model",
    "run_name",
    help="Run to predict with (default: the promoted one, else the best of the newest).",
)
@click.option(
    "--method", type=click.Choice(["model", "rules", "rules-first"]), default="model", help="What decides."
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Confidence below which nothing is decided.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
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
@click.option(
    "--library",
    "--rekordbox",
    "library",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A collection for DJ software, e.g. rekordbox XML.",
)
@click.option("--write-tags", "-w", is_flag=True, help="Write the answers into the tags of the files.")
@click.option("--dry-run", is_flag=True, help="With --write-tags: show what would change and write nothing.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="With --write-tags: also replace answers of others and what was changed by hand.",
)
@click.option(
    "--backup-copy", is_flag=True, help="With --write-tags: keep each file as it was in FILE.backup, once."
)
@click.option(
    "--undo",
    is_flag=False,
    flag_value="last",
    type=click.Choice(["last", "all"]),
    help="Restore the tags as they were before the last write, or before all; takes no SOURCES.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace playlists and collections that earmark did not write; with --write-tags, also answer files "
    "whose tags already carry an answer.",
)
@click.option(
    "--config",
    "-c",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings to read instead of earmark.toml; TOML or YAML.",
)
@click.option("--with-features", is_flag=True, help="Add the features of each input to JSON.")
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@five_way_options
@click.pass_obj
def predict(
    invocation: Invocation,
    /,
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
    library: Path | None,
    write_tags: bool,
    dry_run: bool,
    overwrite: bool,
    backup_copy: bool,
    undo: str | None,
    force: bool,
    config: Path | None,
    with_features: bool,
    no_cache: bool,
    **refining: Any,
) -> int:
    """Predict files, folders, playlists and URIs in SOURCES with a run of TASK.

    One answer per input, in order. An input that fails is listed with its reason, the others go on, and the exit
    code is 1. Features come from the same cache and the same code as in training.

    \b
    Examples:
      earmark predict zones track.mp3
      earmark predict zones ~/Music --output zones.csv --playlists playlists
      earmark predict zones set.m3u8 --format json
      earmark predict zones ~/Music --five-way --output zones.csv
      earmark predict mine.py recording.wav --run latest
      earmark predict zones ~/Music --write-tags --dry-run
      earmark predict zones --undo
    """
    from earmark.cli.output import complain_of, note
    from earmark.cli.predictions import require_writable
    from earmark.cli.progress import progress
    from earmark.cli.tags import report_nothing, undo_tags, without_tagged
    from earmark.tasks.verbs.predict import predict as run_predict

    named = [*sources, *files, *folders]
    how = {"dry-run": dry_run, "overwrite": overwrite, "backup-copy": backup_copy}
    _check_tag_options(named, write_tags, undo, how)
    if undo is not None:
        return undo_tags(invocation, open_project(invocation, task, config=config), undo)
    targets = [path for path in (output, export_csv) if path is not None]
    require_writable(targets)
    project = open_project(invocation, task, config=config)
    write_lists = _playlist_writer(project.task) if playlists is not None else None
    write_library = _library_writer(project.task) if library is not None else None
    to_tag = None
    if write_tags and named and not (force or overwrite):
        to_tag = without_tagged(invocation, project.task, named)
        # Files and playlists hold all inputs, not only those that get tags now.
        if not (targets or playlists or library):
            named = to_tag
        if not named:
            return report_nothing(invocation)
    refined = refiner(project, refining, workers=workers, use_cache=not no_cache)
    with progress(invocation) as tell:
        predicted = run_predict(
            project,
            named,
            run=run_name,
            method=method,
            threshold=threshold,
            workers=workers,
            use_cache=not no_cache,
            with_features=with_features,
            progress=tell,
        )
        predicted = refined(predicted)
    for failure in () if write_tags else predicted.failures:
        complain_of(failure.path, failure.error)
    written = _write_files(targets, project.task, predicted)
    if playlists is not None and write_lists is not None:
        written += write_lists(
            predicted.outcomes, playlists, formats=playlist_formats, relative=relative_paths, force=force
        )
    if library is not None and write_library is not None:
        written.append(write_library(project, predicted.outcomes, library, force=force))
    for path in written:
        note(invocation, f"written: {path}")
    if write_tags:
        return _tag(invocation, project, predicted, to_tag, how)
    return _report(invocation, project, predicted)


def _write_files(targets: Sequence[Path], task: Task, predicted: Predicted) -> list[Path]:
    from earmark.cli.predictions import write_file

    for path in targets:
        write_file(path, task, predicted.outcomes)
    return list(targets)


def _tag(
    invocation: Invocation,
    project: Project,
    predicted: Predicted,
    to_tag: Collection[str] | None,
    how: Mapping[str, bool],
) -> int:
    """Write the answers of the inputs `to_tag`, or of all, into their tags, and print what became of them."""
    from earmark.cli.predictions import documents_of
    from earmark.cli.tags import report_tags, write_tags

    named = None if to_tag is None else set(to_tag)
    outcomes = [one for one in predicted.outcomes if named is None or one.path in named]
    report = write_tags(project, outcomes, how)
    return report_tags(invocation, report, documents_of(project.task, outcomes))


def _report(invocation: Invocation, project: Project, predicted: Predicted) -> int:
    """Print the answers; gives the exit code."""
    from earmark.cli.output import emit, note
    from earmark.cli.predictions import csv_of, documents_of, table_of

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


def _library_writer(task: Task) -> Callable[..., Path]:
    from earmark.errors import UsageError

    if task.outputs is None or task.outputs.library is None:
        raise UsageError(
            f"Task `{task.name}` writes no collection for DJ software. Give --output FILE instead."
        )
    return task.outputs.library


def _check_tag_options(
    named: list[str], write_tags: bool, undo: str | None, needing: dict[str, bool]
) -> None:
    from earmark.errors import UsageError

    if undo is not None and (named or write_tags or any(needing.values())):
        raise UsageError(
            "--undo restores what was written before; give it without SOURCES and other options of tags."
        )
    useless = [f"--{name}" for name, is_given in needing.items() if is_given]
    if useless and undo is None and not write_tags:
        raise UsageError(f"{', '.join(useless)} says how tags are written; give --write-tags with it.")
