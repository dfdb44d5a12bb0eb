"""`earmark predict appliance`: the state of the room in recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from earmark.cli.appliance.listening import make_folders, model_options, opened_model
from earmark.cli.options import Invocation, command, open_project

__all__ = ["predict"]


@command("predict")
@click.argument("sources", nargs=-1)
@click.option("--audio", multiple=True, metavar="FILE", help="A recording or folder; may repeat.")
@model_options
@click.option(
    "--window-sec", "--window-s", "window_sec", type=float, help="Seconds; that of the model, no other."
)
@click.option(
    "--hop-sec", "--hop-s", "hop_sec", type=float, help="Seconds between windows (default: the run's)."
)
@click.option(
    "--details", is_flag=True, help="Add path, devices, windows, margins, masked devices and seconds."
)
@click.option(
    "--timeline", is_flag=True, help="Add when each device ran, told afterwards: segments of on_s and off_s."
)
@click.option("--csv", "table", type=click.Path(dir_okay=False, path_type=Path), help="Write a table, too.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of a line, and answer nothing.")
@click.pass_obj
def predict(
    invocation: Invocation,
    /,
    sources: tuple[str, ...],
    audio: tuple[str, ...],
    table: Path | None,
    details: bool,
    timeline: bool,
    **given: Any,
) -> int:
    """Tell which devices are on in SOURCES: a line of JSON each, by the medians of the windows.

    {"status": "ac-on", "p_ac": 0.98, "p_fridge": 0.31}. With several recordings, or a folder, path is added. A
    recording that fails is told with its reason, the others go on, and the exit code is 1.

    \b
    Examples:
      earmark predict appliance --audio evening.m4a
      earmark predict appliance samples/ --details
      earmark predict appliance samples/ --csv states.csv
      earmark predict appliance kitchen.flac --timeline
    """
    from earmark.cli.output import complain_of, render, to_json
    from earmark.cli.progress import progress
    from earmark.data.parquet import write_bytes_atomic
    from earmark.inference.prediction import Failed
    from earmark.tasks.appliance.serving.batch import Batch
    from earmark.tasks.appliance.serving.lines import batch_schema

    model = opened_model(invocation, given)
    if given["schema"]:
        click.echo(to_json(batch_schema(model.detector.devices)), nl=False)
        return 0
    _require_window(given["window_sec"], model.detector.window_s)
    if table is not None:
        make_folders([table])
    named = (*audio, *sources)
    with_path = len(named) > 1 or any(Path(one).is_dir() for one in named)
    project = open_project(invocation, "appliance")
    n_failed, rows = 0, []
    with progress(invocation) as tell:
        cache = None if given["no_cache"] else project.cache
        batch = Batch(model, cache, given["workers"], given["hop_sec"], tell, keeps_bands=timeline)
        for outcome in batch.files(named):
            if isinstance(outcome, Failed):
                complain_of(outcome.path, outcome.error)
                n_failed += 1
                continue
            line = {"path": outcome.path} if with_path else {}
            document = line | outcome.document() | (outcome.details() if details else {})
            rows.append({"path": outcome.path} | document)
            if timeline:
                document = document | {"segments": outcome.timeline()}
            if invocation.format != "csv":
                click.echo(to_json(document, indent=None), nl=False)
    columns = list(rows[0]) if rows else ["path", "status"]
    text = render("csv", rows, columns=columns)
    if invocation.format == "csv":
        click.echo(text, nl=False)
    if table is not None:
        write_bytes_atomic(table, text.encode())
    return 1 if n_failed else 0


def _require_window(asked_s: float | None, own_s: float) -> None:
    from earmark.errors import UsageError

    if asked_s is not None and asked_s != own_s:
        raise UsageError(
            f"--window-sec is {asked_s:g}; the model was trained on windows of {own_s:g} s. Leave it out, or prepare "
            "and train with that length."
        )
