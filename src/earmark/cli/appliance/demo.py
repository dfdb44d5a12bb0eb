"""`earmark demo appliance`: the whole chain on a synthetic room."""

from __future__ import annotations

import click

from earmark.cli.options import Invocation, command, open_project

__all__ = ["demo"]


@command("demo")
@click.pass_obj
def demo(invocation: Invocation, /) -> int:
    """Make a room's recordings, then prepare, train, choose thresholds, evaluate, and score a stream of known switches.

    No microphone and no network. All of it lies in the project folder, which should hold no other recordings. A second
    run finds everything done. The room is synthetic: its scores say that all parts work, not how well a real one goes.

    --format json prints one object: recordings, seal, run, metrics, thresholds, figure, report, changes of the stream
    by device and kind with their delays, and the seconds of each stage.

    \b
    Examples:
      earmark demo appliance
      earmark -C /tmp/try demo appliance --format json
    """
    from earmark.cli.output import emit, format_seconds, note
    from earmark.cli.progress import progress
    from earmark.tasks.appliance.demo import demo as run_demo

    invocation.folder.mkdir(parents=True, exist_ok=True)
    project = open_project(invocation, "appliance")
    with progress(invocation) as tell:
        result = run_demo(project, progress=tell)
    for stage, seconds in result.seconds.items():
        note(invocation, f"{stage:>20}: {format_seconds(seconds)}")
    for name in ("accuracy", "state_acc", *(name for name in result.metrics if name.startswith("f1_"))):
        if name in result.metrics:
            folds = ", ".join(f"{value:.4f}" for value in result.metrics[name]["folds"])
            note(invocation, f"{name:>20}: {folds}, each daypart by a model that heard the other")
    note(invocation, "Changes in recordings that no model has heard, as a stream tells them:")
    emit(invocation, result.changes["changes"], document=result.to_json())
    false, hours = result.changes["false_events"], result.changes["hours"]
    note(invocation, f"{false} false events in {60 * hours:.0f} minutes; {result.changes['missed']} missed.")
    if invocation.format == "table":
        click.echo(f"Report: {result.report}")
    return 0
