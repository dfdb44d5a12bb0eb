"""`earmark predict meter`: tempo, meter, beats and sections of recordings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.meter.answering import COLUMNS, answer_options, opened_analyst, row_of
from earmark.cli.options import FORMATS, Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.meter.analysis.recording import Analysis
    from earmark.tasks.meter.serving.exports import Exports
    from earmark.tasks.meter.serving.failures import Failure

__all__ = ["predict"]

TABLE = ("path", "bpm", "meter", "confidence", "grouping")
LINES = "jsonl"
_folder = click.Path(file_okay=False, path_type=Path)


@command("predict")
@click.argument("sources", nargs=-1)
@answer_options
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A .csv, .json or .jsonl file."
)
@click.option("--jams", type=_folder, help="Folder for a .jams file per input.")
@click.option("--beats", type=_folder, help="Folder for a .tsv file per input: time and number of each beat.")
@click.option(
    "--sonify", type=_folder, help="Folder for a .wav file per input: the song with clicks on its beats."
)
@click.option("--schema", is_flag=True, help="Print the JSON schema of an answer, and answer nothing.")
@click.pass_obj
def predict(
    invocation: Invocation,
    /,
    sources: tuple[str, ...],
    workers: int | None,
    no_cache: bool,
    output: Path | None,
    jams: Path | None,
    beats: Path | None,
    sonify: Path | None,
    schema: bool,
    **asked: Any,
) -> int:
    """Answer for files, folders, playlists and URIs in SOURCES: tempo, meter, beats, downbeats and sections.

    A recording of more than 31 s is heard in windows of 30 s, one every 15 s; its meter is the mean over them. An
    input that fails is listed with its reason, the others go on, and the exit code is 1. With --format jsonl each
    answer is a line, printed as soon as it is known. A file may be asked about in part: song.mp3#t=15,45.

    \b
    Examples:
      earmark predict meter song.mp3
      earmark predict meter ~/Music --output meters.csv --beats beats
      earmark predict meter song.flac --format json
      earmark predict meter song.flac --fallback rule --sonify clicks
    """
    from earmark.cli.output import to_json
    from earmark.cli.predictions import require_writable

    if schema:
        from earmark.tasks.meter.analysis.document import document_schema

        click.echo(to_json(document_schema()), nl=False)
        return 0
    if output is not None:
        require_writable([output])
    from earmark.cli.progress import progress
    from earmark.tasks.meter.serving.exports import Exports

    analyst = opened_analyst(invocation, **asked)

    with progress(invocation) as tell:
        outcomes = analyst.files(sources, workers=workers, use_cache=not no_cache, progress=tell)
        exports = Exports(jams=jams, beats=beats, sonify=sonify)
        documents = [_taken(invocation, one, exports) for one in outcomes]
    if output is not None:
        _write(invocation, output, documents)
    _report(invocation, documents)
    return 1 if any("error" in one for one in documents) else 0


_format = next(option for option in predict.params if option.name == "common_format")
_format.type = click.Choice((*FORMATS, LINES))


def _taken(invocation: Invocation, outcome: Analysis | Failure, exports: Exports) -> dict[str, Any]:
    """The document of an outcome, after its files were written, its complaint made or its line printed."""
    from earmark.cli.output import complain_of, to_json
    from earmark.tasks.meter.serving.failures import Failure
    from earmark.tasks.meter.serving.predict import document_of

    document = document_of(outcome)
    if isinstance(outcome, Failure):
        complain_of(outcome.path, outcome.error)
    else:
        exports.write(outcome)
    if invocation.format == LINES:
        click.echo(to_json(document, indent=None), nl=False)
    return document


def _write(invocation: Invocation, path: Path, documents: list[dict[str, Any]]) -> None:
    from earmark.cli.output import note, render, to_json
    from earmark.data.parquet import write_bytes_atomic

    if path.suffix.lower() == ".csv":
        text = render("csv", [row_of(one) for one in documents], columns=COLUMNS)
    elif path.suffix.lower() == ".json":
        text = to_json(documents)
    else:
        text = "".join(_lines(documents))
    write_bytes_atomic(path, text.encode(errors="backslashreplace"))
    note(invocation, f"written: {path}")


def _lines(documents: list[dict[str, Any]]) -> Iterator[str]:
    from earmark.cli.output import to_json

    return (to_json(one, indent=None) for one in documents)


def _report(invocation: Invocation, documents: list[dict[str, Any]]) -> None:
    from earmark.cli.output import emit

    if invocation.format == LINES:
        return
    answered = [row_of(one) for one in documents if invocation.format != "table" or "error" not in one]
    has_doubts = any(row["abstained"] for row in answered)
    shown = (*TABLE, "abstained") if has_doubts else TABLE
    columns = shown if invocation.format == "table" else COLUMNS
    emit(invocation, answered, columns=columns, document=documents)
