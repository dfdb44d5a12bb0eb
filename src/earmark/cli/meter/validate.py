"""`earmark store validate meter`: audio in which trackers hear no beats."""

from __future__ import annotations

from typing import Any

import click

from earmark.cli.options import Invocation, command

__all__ = ["validate"]


@command("validate")
@click.argument("datasets", nargs=-1, metavar="[DATASET]...")
@click.option(
    "--bad-audio", is_flag=True, help="Look for files without beats (the only check, so it may be left out)."
)
@click.option(
    "--min-failures",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Trackers that must hear no beats in a file.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Files to look at, at most.")
@click.pass_obj
def validate(invocation: Invocation, /, **given: Any) -> int:
    """List clips that cannot be decoded or in which trackers hear no beats, of DATASET alone where some are named.

    The sealed test is not looked at. Exit code 3 if there are any.

    \b
    Examples:
      earmark store validate meter --bad-audio
      earmark store validate meter meter2800 --min-failures 1
    """
    from earmark.cli.options import open_project
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.errors import GateError
    from earmark.tasks.meter.review.bad_audio import find_bad_audio, present_trackers

    project = open_project(invocation, "meter")
    with progress(invocation) as tell:
        found = find_bad_audio(
            project,
            min_failures=given["min_failures"],
            datasets=given["datasets"],
            limit=given["limit"],
            progress=tell,
        )
    rows = [
        {"id": bad.id, "without_beats": " ".join(bad.without_beats), "error": bad.error, "uri": bad.uri}
        for bad in found
    ]
    emit(invocation, rows, columns=["id", "without_beats", "error", "uri"])
    note(invocation, f"Trackers that were asked: {', '.join(present_trackers())}.")
    if found:
        raise GateError(f"{len(found)} files are bad: they cannot be decoded, or hold no beats.")
    return 0
