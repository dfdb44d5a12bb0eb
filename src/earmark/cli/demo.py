"""`earmark demo`: the whole job on generated data."""

from __future__ import annotations

import click

from earmark.cli.options import Invocation, command, open_project, task_argument

__all__ = ["demo"]


@command()
@task_argument(required=False)
@click.option("--workers", "-w", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.pass_obj
def demo(invocation: Invocation, task: str | None, workers: int | None) -> int:
    """Make data for TASK (default: zones), then prepare, extract, train, evaluate and predict, and show the report.

    All of it lies in the project folder: the data in `demo/`, the run and its report in `runs/`. A second run
    finds everything computed.

    \b
    Examples:
      earmark demo
      earmark demo zones
      earmark demo appliance    # a room and its machines, to a stream that is scored
      earmark -C /tmp/try demo zones --format json
    """
    from earmark.cli.evaluate import score_rows
    from earmark.cli.output import emit, format_seconds, note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.demo import demo as run_demo

    invocation.folder.mkdir(parents=True, exist_ok=True)
    named = task or invocation.settings().settings.task or "zones"
    project = open_project(invocation, named)
    with progress(invocation) as tell:
        result = run_demo(project, workers=workers, progress=tell)
    evaluation = result.evaluated.evaluation
    document = {
        "task": project.task.name,
        "labels": result.labels,
        "extract": result.extracted.to_json(),
        "run": result.trained.best.name,
        "evaluation": evaluation.to_json(),
        "predictions": result.predicted.to_json(),
        "seconds": {stage: round(seconds, 3) for stage, seconds in result.seconds.items()},
        "report": result.evaluated.report,
    }
    for stage, seconds in result.seconds.items():
        note(invocation, f"{stage:>16}: {format_seconds(seconds)}")
    note(
        invocation,
        f"{evaluation.n} {project.task.item_noun}, each scored by a model that did not see its group:",
    )
    emit(invocation, score_rows(evaluation), document=document)
    note(invocation, evaluation.verdict())
    if invocation.format == "table":
        click.echo(f"Report: {result.evaluated.report}")
    return 1 if result.extracted.table.failures else 0
