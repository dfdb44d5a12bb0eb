"""`earmark extract`: fill the feature cache, and write features for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from earmark.cli.option_blocks import cache_folder, cache_option, prepare_first, prepared_options
from earmark.cli.options import Invocation, command, open_project, task_argument
from earmark.cli.tempos import tempo_option

__all__ = ["extract"]


@command()
@task_argument(required=False)
@click.argument("sources", nargs=-1)
@click.option(
    "--input",
    "-i",
    "--audio-dir",
    "inputs",
    multiple=True,
    help="A source; the same as naming it in SOURCES.",
)
@click.option(
    "--source",
    "-s",
    type=click.Choice(["audio", "audio-dir", "deam"]),
    help="What --input is: a label file (the same as --data), audio, or a folder of DEAM (the same as --deam).",
)
@prepared_options
@click.option("--features", help="Feature sets, separated by commas (default: the task's).")
@click.option(
    "--method",
    "--mode",
    "-m",
    "rows",
    type=click.Choice(["track", "frames", "spectrogram", "all"]),
    help="Only feature sets with such rows; without --features the task's first of the kind.",
)
@click.option(
    "--skip", multiple=True, metavar="GROUP", help="Leave a group and its columns out; may be repeated."
)
@click.option("--skip-pitch", is_flag=True, help="The same as --skip pitch.")
@click.option("--skip-hpss", is_flag=True, help="The same as --skip balance: harmonic and percussive shares.")
@click.option("--phase", help="One feature group only, or `all` (default).")
@click.option("--workers", "-w", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.option("--cluster", metavar="URL", help="Existing scheduler: dask://HOST:PORT or ray://HOST:PORT.")
@click.option(
    "--limit",
    "--max-tracks",
    "limit",
    type=click.IntRange(min=0),
    help="Only the first so many items; 0 for all.",
)
@click.option(
    "--output",
    "-o",
    "--output-dir",
    "output",
    type=click.Path(path_type=Path),
    help="A .csv or .parquet file, .npz for arrays, or a folder for a file per feature set.",
)
@click.option(
    "--file-format",
    "-f",
    type=click.Choice(["csv", "parquet"]),
    help="Of files in a folder (default: parquet).",
)
@cache_option
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@click.option(
    "--retry-failed", is_flag=True, help="Try items again that failed with the same bytes and code."
)
@click.pass_obj
@tempo_option
def extract(
    invocation: Invocation,
    task: str | None,
    sources: tuple[str, ...],
    inputs: tuple[str, ...],
    source: str | None,
    labels: tuple[Path, ...],
    deam: Path | None,
    features: str | None,
    rows: str | None,
    skip: tuple[str, ...],
    skip_pitch: bool,
    skip_hpss: bool,
    phase: str | None,
    workers: int | None,
    cluster: str | None,
    limit: int | None,
    output: Path | None,
    file_format: str | None,
    cache_dir: Path | None,
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
      earmark extract zones --data labels.csv --method frames --features frames38 --skip-pitch -o frames.parquet
      earmark extract zones DEAM/MEMD_audio --tempo-csv deam_tempo.csv
      earmark extract mine.py --format json
    """
    from earmark.cli.output import complain_of, emit, format_seconds, note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.extract import extract as run_extract

    named, labels, deam = _what_inputs_are(source, [*sources, *inputs], labels, deam)
    project = open_project(
        invocation, task, features=features, cluster=cluster, cache=cache_folder(cache_dir)
    )
    has_failed = prepare_first(invocation, project, labels, deam)
    with progress(invocation) as report:
        extracted = run_extract(
            project,
            named,
            phase=phase,
            rows=rows,
            skip=[*skip, *(["pitch"] if skip_pitch else []), *(["balance"] if skip_hpss else [])],
            workers=workers,
            limit=limit or None,
            output=output,
            table_format=file_format,
            use_cache=not no_cache,
            retry_failed=retry_failed,
            progress=report,
        )
    document = extracted.to_json()
    seconds = document["seconds"]
    spent_rows = [
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
    emit(invocation, spent_rows, columns=["group", "computed", "seconds"], document=document)
    return 1 if document["failures"] or has_failed else 0


def _what_inputs_are(
    source: str | None, named: list[str], labels: tuple[Path, ...], deam: Path | None
) -> tuple[list[str], tuple[Path, ...], Path | None]:
    """Audio, label files and the folder of DEAM, with what was named put where ``--source`` says."""
    from earmark.errors import UsageError

    if source not in (None, "audio-dir") and not named:
        raise UsageError(f"--source {source} says what --input is, and none was given. Add --input PATH.")
    if source == "audio":
        named, labels = [], (*labels, *map(Path, named))
    elif source == "deam":
        if len(named) > 1 or deam is not None:
            raise UsageError(f"--source deam takes one folder; {len(named)} inputs were given. Name one.")
        named, deam = [], Path(named[0])
    if named and (labels or deam):
        raise UsageError(
            f"{', '.join(named[:3])} and what --data or --deam prepares cannot be extracted at once. "
            "Run the command once for each."
        )
    return named, labels, deam
