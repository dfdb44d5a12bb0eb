"""`earmark runs`: what training has left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from earmark.cli.options import EarmarkCommand, EarmarkGroup, Invocation

__all__ = ["runs"]


@click.group(cls=EarmarkGroup)
def runs() -> None:
    """List, show, compare and promote runs: a run is the folder that a training leaves.

    A run is named by its folder's name, a unique beginning of it, its key, or `latest`.

    \b
    Examples:
      earmark runs list
      earmark runs show latest
      earmark runs compare 20260102 latest
      earmark runs promote latest
    """


@runs.command("list", cls=EarmarkCommand)
@click.argument("task", required=False)
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest so many.")
@click.pass_obj
def list_command(invocation: Invocation, task: str | None, limit: int | None) -> None:
    """List the runs of TASK, or of all tasks, the oldest first.

    \b
    Examples:
      earmark runs list
      earmark runs list zones --limit 5 --format json
    """
    from earmark.cli.output import emit
    from earmark.cli.run_documents import run_row
    from earmark.training.production import stages
    from earmark.training.runs import list_runs

    root = invocation.settings().path("runs")
    found = list_runs(root, task)
    chosen = found[-limit:] if limit else found
    names = list(dict.fromkeys(name for run in chosen for name in run.metrics))
    stage_of = {name: stages(root, name) for name in {run.task for run in chosen}}
    rows = [run_row(run, stage_of[run.task].get(run.name)) for run in chosen]
    shown = [{**{key: row[key] for key in row if key != "metrics"}, **row["metrics"]} for row in rows]
    emit(
        invocation,
        shown,
        columns=["name", "task", "algorithm", "strategy", "stage", "created", "seconds", *names],
        document=rows,
    )


@runs.command("show", cls=EarmarkCommand)
@click.argument("run")
@click.pass_obj
def show_command(invocation: Invocation, run: str) -> None:
    """Show one run: its whole configuration, its scores, its thresholds if it has any, and where its files are.

    \b
    Examples:
      earmark runs show latest
      earmark runs show 20260102-101500-xgboost --format json
    """
    from earmark.cli.output import emit
    from earmark.training.runs import load_run, show

    document = show(load_run(run, root=invocation.settings().path("runs")))
    rows = [{"key": "name", "value": document["name"]}, {"key": "path", "value": document["path"]}]
    rows += [
        {"key": key, "value": value}
        for key, value in _flat(
            {
                key: document[key]
                for key in ("config", "metrics", "auxiliary_metrics", "decision")
                if document[key]
            }
        )
    ]
    emit(invocation, rows, document=document)


@runs.command("compare", cls=EarmarkCommand)
@click.argument("first")
@click.argument("second")
@click.pass_obj
def compare_command(invocation: Invocation, first: str, second: str) -> None:
    """Compare two runs of one task: their scores, and every setting in which they differ.

    Scores of different rows or folds are not comparable; the command then says so.

    \b
    Examples:
      earmark runs compare 20260102-101500-xgboost latest
      earmark runs compare 20260102 20260103 --format json
    """
    from earmark.cli.output import emit, note
    from earmark.cli.run_documents import comparison_document
    from earmark.training.runs import compare, load_run

    root = invocation.settings().path("runs")
    comparison = compare(load_run(first, root=root), load_run(second, root=root))
    names = (comparison.first.name, comparison.second.name)
    rows: list[dict[str, Any]] = [
        {"what": name, "first": score["first"], "second": score["second"], "better": score["better"]}
        for name, score in comparison.metrics.items()
    ]
    rows += [
        {"what": key, "first": before, "second": after, "better": None}
        for key, (before, after) in comparison.config.items()
    ]
    note(invocation, f"first: {names[0]}\nsecond: {names[1]}")
    if not comparison.comparable:
        note(invocation, "Their rows or folds differ: these scores are not comparable.")
    emit(
        invocation,
        rows,
        columns=["what", "first", "second", "better"],
        document=comparison_document(comparison),
    )


@runs.command("promote", cls=EarmarkCommand)
@click.argument("run")
@click.option("--reason", default="", metavar="TEXT", help="Kept with the promotion.")
@click.option("--force", is_flag=True, help="Also where the run is clearly worse, or failed its gate.")
@click.option(
    "--stage",
    type=click.Choice(["production", "staging", "archived"]),
    default="production",
    help="Where the run goes; the one that was in production goes to staging.",
)
@click.pass_obj
def promote_command(invocation: Invocation, run: str, reason: str, force: bool, stage: str) -> None:
    """Let predictions use RUN, unless it is clearly worse than the run in use.

    Runs on the same rows and folds are compared item by item. Exit code 3 where the interval of the difference lies
    on the wrong side of zero, or where training recorded that the run did not pass its gate; then nothing changes.

    \b
    Examples:
      earmark runs promote latest
      earmark runs promote 20260102-101500-xgboost --reason "listened to fifty"
      earmark runs promote 20260102-101500-xgboost --stage archived
    """
    from earmark.cli.output import emit, note
    from earmark.cli.run_documents import promotion_document
    from earmark.tasks.verbs.promote import promote

    promotion = promote(invocation.settings().path("runs"), run, reason=reason, force=force, stage=stage)
    document = promotion_document(promotion, stage)
    emit(invocation, [{name: document[name] for name in document if name != "losses"}], document=document)
    for loss in promotion.losses:
        note(invocation, f"warning: {loss}")
    if promotion.before is not None and promotion.difference is None:
        note(invocation, "Their rows or folds differ: the two runs could not be compared.")


@runs.command("track", cls=EarmarkCommand)
@click.argument("run")
@click.option(
    "--mlflow", "uri", metavar="URI", help="Default: $MLFLOW_TRACKING_URI, else data/mlflow/mlruns.db."
)
@click.option("--experiment", default="model_training", help="Experiment in MLflow.")
@click.pass_obj
def track_command(invocation: Invocation, run: str, uri: str | None, experiment: str) -> int:
    """Log RUN in MLflow, as `train --mlflow` does: after a server was down, or for runs made without.

    \b
    Examples:
      earmark runs track latest
      earmark runs track latest --mlflow http://127.0.0.1:5000
    """
    from earmark.cli.output import complain, emit
    from earmark.tasks.market.training.tracking import resolve_uri, track
    from earmark.training.runs import load_run

    found = load_run(run, root=invocation.settings().path("runs"))
    where = resolve_uri(invocation.folder, uri, wanted=True)
    tracked = track(found, str(where), experiment)
    for warning in tracked.warnings:
        complain(warning)
    if tracked.run_id is not None:
        emit(invocation, [{"run": found.name, "mlflow_run": tracked.run_id, "experiment": experiment}])
    return 0 if tracked.run_id is not None else 1


@runs.command("export", cls=EarmarkCommand)
@click.argument("run")
@click.option(
    "--format", "kind", type=click.Choice(["onnx", "coreml"]), default="onnx", help="Kind of file (onnx)."
)
@click.option(
    "--mode",
    type=click.Choice(["full", "head"]),
    default="full",
    help="full: audio to logits, in a folder that answers without torch; head: tokens or columns to logits, one file.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Default: in the run's folder onnx.")
@click.option("--opset", type=click.IntRange(min=14), default=17, help="Of the ONNX file (17).")
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, help="Windows at once, where axes are fixed (1)."
)
@click.option(
    "--frames", type=click.IntRange(min=1), help="Tokens of a fixed head (default: of the run's window)."
)
@click.option(
    "--window-s", type=click.FloatRange(min=0, min_open=True), help="Of fixed axes (default: the run's)."
)
@click.option("--frames-per-s", type=float, help="Of the filter bank: 100.")
@click.option("--input-dim", type=int, help="Of a token: the model's own.")
@click.option("--no-dynamic-axes", is_flag=True, help="Fix batch and length.")
@click.option("--no-normalize", is_flag=True, help="Refused: inputs are scaled as in training.")
@click.pass_obj
def export_command(
    invocation: Invocation, /, run: str, kind: str, mode: str, output: Path | None, **given: Any
) -> None:
    """Write the model of RUN, a run of appliance, as a file for other programs and small machines.

    The file is kept only if it says what the run says, to 1e-4. The folder of `full` is named to `predict`, `stream`
    and `live` by --run; it needs onnxruntime and no torch.

    \b
    Examples:
      earmark runs export latest
      earmark runs export latest --mode head -o head.onnx
    """
    from earmark.cli.output import emit
    from earmark.errors import UsageError
    from earmark.tasks.appliance.export import ExportOptions, default_target, export_run
    from earmark.training.runs import load_run

    if kind == "coreml":
        raise UsageError(
            "Core ML files are written on macOS by its converter, coremltools, which converts traced modules; earmark "
            "does not bring it. Use --format onnx."
        )
    found = load_run(run, root=invocation.settings().path("runs"), task="appliance")
    options = ExportOptions(
        given["opset"],
        given["batch"],
        not given["no_dynamic_axes"],
        given["frames"],
        given["window_s"],
        given["frames_per_s"],
        given["input_dim"],
        not given["no_normalize"],
    )
    exported = export_run(found.path, output or default_target(found.path, mode), mode=mode, options=options)
    row = {
        "run": found.name,
        "path": str(exported.path),
        "opset": exported.opset,
        "difference": exported.difference,
        "bytes": exported.n_bytes,
    }
    emit(invocation, [row], document=row)


@runs.command("rollback", cls=EarmarkCommand)
@click.argument("task")
@click.pass_obj
def rollback_command(invocation: Invocation, task: str) -> None:
    """Undo the last promotion of a run of TASK.

    \b
    Examples:
      earmark runs rollback zones
    """
    from earmark.cli.output import emit
    from earmark.training.production import rollback

    root = invocation.settings().path("runs")
    row = {"task": task, "run": rollback(root, task).name}
    emit(invocation, [row], document=row)


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in table.items():
        rows += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows
