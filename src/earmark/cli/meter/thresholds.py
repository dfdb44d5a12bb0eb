"""`earmark thresholds meter`: how a run decides, and runs joined to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command
from earmark.cli.thresholds import decide, decision_options

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["thresholds"]


@command("thresholds")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@decision_options
@click.option(
    "--ensemble",
    is_flag=True,
    help="Instead: join the RUNs, weights chosen out of fold, and write the joined run.",
)
@click.option(
    "--weights",
    "kind",
    type=click.Choice(["equal", "global", "per-class"]),
    help="With --ensemble: one weight per run (default), one per run and class, or none.",
)
@click.option(
    "--promote", is_flag=True, help="With --ensemble: let predictions use the joined run, unless it is worse."
)
@click.option("--dry-run", is_flag=True, help="Show what would be chosen, write nothing.")
@click.pass_obj
def thresholds(
    invocation: Invocation,
    /,
    runs: tuple[str, ...],
    ensemble: bool,
    kind: str | None,
    promote: bool,
    dry_run: bool,
    **given: Any,
) -> int:
    """Choose how a run of meter decides: calibration, costs of errors, and when it says nothing.

    With --ensemble two to four RUNs are joined: each keeps its features and scaling, weights are 0 to 1. All is chosen
    on out-of-fold rows, and shown as it scores on rows that took no part in the choice. The sealed test is not touched.

    \b
    Examples:
      earmark thresholds meter --coverage 0.9
      earmark thresholds meter 20260102-101500-residual-mlp --calibration temperature
      earmark thresholds meter --ensemble 20260102-101500-residual-mlp 20260102-113000-ft-transformer
      earmark thresholds meter --ensemble 20260102 20260103 --weights per-class --dry-run
    """
    from earmark.cli.options import open_project
    from earmark.errors import UsageError

    project = open_project(invocation, "meter")
    if ensemble:
        return _join(invocation, project, runs, kind or "global", promote=promote, dry_run=dry_run)
    if kind is not None or promote:
        raise UsageError("--weights and --promote belong to --ensemble, which was not given. Add it.")
    named = [*runs, *([given["run_name"]] if given["run_name"] else [])]
    if len(named) > 1:
        raise UsageError(f"{len(named)} runs were named; expected one, or --ensemble to join them.")
    return decide(
        invocation, project, **{**given, "run_name": named[0] if named else None, "dry_run": dry_run}
    )


def _join(
    invocation: Invocation,
    project: Project,
    names: tuple[str, ...],
    kind: str,
    *,
    promote: bool,
    dry_run: bool,
) -> int:
    from earmark.cli.output import emit, note
    from earmark.tasks.meter.experiments import note_experiment
    from earmark.tasks.verbs.ensembles import join_runs
    from earmark.training.runs import load_run

    task, root = project.task.name, project.runs_folder
    members = [load_run(name, root=root, task=task) for name in names]
    joined = join_runs(project, members, kind=kind, dry_run=dry_run)
    rows = joined.rows()
    emit(invocation, rows, document=joined.to_json())
    if joined.run is None:
        note(invocation, "Nothing was written.")
        return 0
    note_experiment(project, "ensemble", {"rows": rows}, [joined.run])
    note(invocation, f"Run: {joined.run.name}, weights {kind}.")
    if promote:
        from earmark.tasks.verbs.promote import promote as use

        use(root, joined.run.name, reason="thresholds meter --ensemble")
        note(invocation, f"Predictions use {joined.run.name}.")
    else:
        note(invocation, f"To predict with it: earmark runs promote {joined.run.name}")
    return 0
