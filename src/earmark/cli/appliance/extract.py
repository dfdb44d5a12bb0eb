"""`earmark extract appliance`: fill the feature cache; what an encoder's tokens will take is said before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["extract"]


@command("extract")
@click.argument("sources", nargs=-1)
@click.option("--features", help="Feature sets, separated by commas (default: spectral).")
@click.option(
    "--beats-checkpoint",
    metavar="FILE",
    help="Of BEATs, for tokens and token_stats; default: appliance.beats, EARMARK_BEATS.",
)
@click.option("--phase", help="One feature group only, or `all` (default).")
@click.option("--workers", "-w", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.option("--limit", type=click.IntRange(min=0), help="Only the first so many windows; 0 for all.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="A .csv or .parquet file, .npz for arrays, or a folder for a file per feature set.",
)
@click.option(
    "--file-format",
    type=click.Choice(["csv", "parquet"]),
    help="Of files in a folder (default: parquet).",
)
@click.option("--no-cache", is_flag=True, help="Compute everything and keep nothing.")
@click.option(
    "--retry-failed", is_flag=True, help="Try windows again that failed with the same bytes and code."
)
@click.pass_obj
def extract(invocation: Invocation, /, sources: tuple[str, ...], features: str | None, **given: Any) -> int:
    """Compute features of the windows of a prepared room, or of the files and folders in SOURCES as they are.

    What the cache holds is not computed again. Tokens of BEATs take 0.45 MB per window of 6 s; what all of them take
    is said first. The exit code is 1 if a window failed.

    \b
    Examples:
      earmark extract appliance
      earmark extract appliance --features tokens --beats-checkpoint BEATs_iter3_plus_AS2M.pt
    """
    from earmark.cli.appliance.train import tell_of_checkpoint
    from earmark.cli.output import complain_of, emit, format_seconds, note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.extract import extract as run_extract

    overrides = {"features": features, "appliance__beats": given["beats_checkpoint"]}
    project = open_project(
        invocation, "appliance", **{name: value for name, value in overrides.items() if value is not None}
    )
    for view in project.feature_sets():
        tell_of_checkpoint(invocation, project, view.name)
    if not sources:
        _tell_size(invocation, project, given["limit"] or None)
    with progress(invocation) as report:
        done = run_extract(
            project,
            sources,
            phase=given["phase"],
            workers=given["workers"],
            limit=given["limit"] or None,
            output=given["output"],
            table_format=given["file_format"],
            use_cache=not given["no_cache"],
            retry_failed=given["retry_failed"],
            progress=report,
        )
    document = done.to_json()
    for failure in document["failures"]:
        complain_of(failure["id"], failure["error"])
    spent = format_seconds(sum(document["seconds"].values()))
    note(
        invocation, f"{document['items']} windows, {len(document['failures'])} failed; {spent} of computing."
    )
    for path in document["written"]:
        note(invocation, f"written: {path}")
    rows = [
        {"group": name, "computed": count, "seconds": document["seconds"].get(name, 0.0)}
        for name, count in document["computed"].items()
    ]
    emit(invocation, rows, columns=["group", "computed", "seconds"], document=document)
    return 1 if document["failures"] else 0


def _tell_size(invocation: Invocation, project: Project, limit: int | None) -> None:
    """Say what the tokens of all windows take in the cache."""
    from earmark.cli.output import note
    from earmark.tasks.appliance.configured import BEATS_ABSENT
    from earmark.tasks.appliance.groups.tokens import tokens_bytes
    from earmark.tasks.appliance.room import Room

    if not any(view.name in BEATS_ABSENT for view in project.feature_sets()):
        return
    n_windows, window_s = len(project.manifest), Room.read(project).window_s
    n = n_windows if limit is None else min(limit, n_windows)
    megabytes = tokens_bytes(n, window_s) / 1e6
    note(invocation, f"Tokens of {n} windows of {window_s:g} s take {megabytes:,.1f} MB in the cache.")
