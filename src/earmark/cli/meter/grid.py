"""`earmark grid meter`: a search that can be stopped anywhere, and a finale of its best over several seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.meter.train import model_options, row_options
from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.meter.training.search import MeterSearch, Row
    from earmark.tasks.project import Project
    from earmark.tasks.verbs.train import TrainOptions

__all__ = ["grid"]

_WORDS = {"done": "DONE", "failed": "FAIL", "pruned": "PRUNE"}


@command("grid")
@click.option(
    "--model",
    metavar="NAME",
    default="boosting",
    help="boosting (no torch), mlp, ftt, hybrid, forest, logistic.",
)
@model_options
@row_options
@click.option(
    "--features", "--view", "--views", "views", metavar="A,B", help="Feature sets to search over, too."
)
@click.option(
    "--set", "values", multiple=True, metavar="NAME=V1,V2", help="Values to try instead of the grid."
)
@click.option("--dry-run", is_flag=True, help="Show all points, DONE or TODO, and leave.")
@click.option("--summary", is_flag=True, help="Show the ranking and leave.")
@click.option("--reset", is_flag=True, help="Forget all points.")
@click.option("--reset-runs", is_flag=True, help="Forget all points, and delete the finale's runs.")
@click.option("--top", type=click.IntRange(min=1), default=10, help="Rows of the ranking.")
@click.option("--limit", type=click.IntRange(min=1), help="Compute at most so many points now.")
@click.option(
    "--parallel-runs", type=click.IntRange(min=1), default=1, help="Points at a time, a process each."
)
@click.option(
    "--threads-per-run",
    type=click.IntRange(min=1),
    help="Threads of a point's numeric libraries (default: the cores divided by --parallel-runs).",
)
@click.option("--stream-train", is_flag=True, help="Show what happens in the points while they are computed.")
@click.option(
    "--epoch-tick",
    type=click.IntRange(min=1),
    default=10,
    help="With --stream-train: epochs between lines (10).",
)
@click.option("--prune", metavar="GAP[,EPOCH]", help="End points that lie more than GAP hundredths behind.")
@click.option(
    "--prune-max-start", type=click.IntRange(min=1), default=60, help="Latest first epoch to compare."
)
@click.option(
    "--prune-min-folds", type=click.IntRange(min=1), default=3, help="Folds before these are compared."
)
@click.option("--retry-pruned", is_flag=True, help="Compute points that were ended early again.")
@click.option("--final-top", type=click.IntRange(min=1), default=3, help="Points in the finale.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, help="Seeds of the finale.")
@click.option("--no-finale", is_flag=True, help="Stop after the points.")
@click.option("--keep-top", type=click.IntRange(min=0), default=2, help="Finalists whose runs stay; 0: all.")
@click.option(
    "--ablate",
    is_flag=True,
    help="Instead: leave out one group or signal at a time; --seeds fits of each (5).",
)
@click.option(
    "--multi", is_flag=True, help="With --ablate: pairs of groups, and what was left out together before."
)
@click.option("--promote", is_flag=True, help="Let predictions use the winner, unless it is clearly worse.")
@click.option("--seed", type=click.IntRange(min=0), help="First seed (42).")
@click.pass_obj
def grid(invocation: Invocation, /, **given: Any) -> int:
    """Try every combination of values on the prepared folds, then the best of them with several seeds.

    Every point is a line in a journal as soon as it ends: stop at any moment, the same command goes on. Points that
    failed are tried again. The winner is chosen by cross-validation; the sealed test has no part in it. Afterwards
    `evaluate meter` takes it as `--run best`.

    \b
    Examples:
      earmark grid meter --dry-run
      earmark grid meter --model mlp --prune 3 --parallel-runs 2
      earmark grid meter --views g1467,g1630 --set max_depth=4,6
      earmark grid meter --ablate --views g1630 --seeds 5
      earmark grid meter --summary
    """
    from earmark.cli.options import open_project
    from earmark.cli.output import note
    from earmark.errors import UsageError

    project = open_project(invocation, "meter", seed=given["seed"])
    if given["ablate"]:
        return _ablate(invocation, project, given)
    if given["multi"]:
        raise UsageError("--multi says what --ablate leaves out, which was not given. Add --ablate.")
    search = _search(project, given)
    if given["reset"] or given["reset_runs"]:
        note(invocation, f"Forgotten: {search.reset(with_runs=given['reset_runs'])} points.")
        return 0
    if given["dry_run"]:
        return _emit(invocation, search, search.rows())
    if given["summary"]:
        return _emit(invocation, search, search.summary()[: given["top"]])
    _compute(invocation, search, given)
    failed = [row for row in search.rows() if row.point.status == "failed"]
    if given["no_finale"] or not search.summary():
        _emit(invocation, search, search.summary()[: given["top"]])
    else:
        _finale(invocation, search, given)
    return 1 if failed else 0


def _ablate(invocation: Invocation, project: Project, given: Mapping[str, Any]) -> int:
    """The ablation of one view; values of --set hold throughout."""
    from earmark.cli.meter.train import show_ablation
    from earmark.errors import UsageError

    if given["views"] and "," in given["views"]:
        raise UsageError(f"--views {given['views']}: an ablation takes one view apart. Name one.")
    options = _options(project, given, view=given["views"], assignments=given["values"])
    return show_ablation(
        invocation, project, options, {**given, "reset": given["reset"] or given["reset_runs"]}
    )


def _options(
    project: Project, given: Mapping[str, Any], *, view: str | None = None, assignments: tuple[str, ...] = ()
) -> TrainOptions:
    """What stays equal at all points."""
    from earmark.cli.meter.train import train_options
    from earmark.tasks.meter.training.settings import model_algorithm

    named = {"no_mert": False, "mert_only": False, "no_beat_features": False, "view": view}
    algorithm = model_algorithm(given["model"])
    return train_options(project, algorithm, {**given, **named, "assignments": assignments})


def _search(project: Project, given: Mapping[str, Any]) -> MeterSearch:
    from earmark.cli.grid import parse_space
    from earmark.tasks.meter.training.search import MeterSearch
    from earmark.training.pruning import Pruning

    options = _options(project, given)
    (algorithm,) = options.algorithms or ()
    pruning = None
    if given["prune"]:
        limits = {"max_start": given["prune_max_start"], "min_folds": given["prune_min_folds"]}
        pruning = Pruning.parse(given["prune"], **limits)
    views = [name.strip() for name in (given["views"] or "").split(",") if name.strip()]
    return MeterSearch.open(
        project, algorithm, options, views=views, space=parse_space(given["values"]), pruning=pruning
    )


def _compute(invocation: Invocation, search: MeterSearch, given: Mapping[str, Any]) -> None:
    """All points that are not done, a line each."""
    from earmark.cli.events import tell_training
    from earmark.cli.output import note

    rows = search.rows()
    skipped = [row for row in rows if row.point.status == "done"]
    if skipped:
        note(invocation, f"SKIP {len(skipped)} of {len(rows)} points: they are done.")
    ended = len(skipped)

    def tell(view: str, event: Mapping[str, Any]) -> None:
        nonlocal ended
        ended += 1
        tell_training({**event, "stage": view, "done": ended, "total": len(rows), "metric": search.metric})
        values = ", ".join(f"{name} {value}" for name, value in {"view": view, **event["values"]}.items())
        score = f"{search.metric} {event['score']:.4f}" if event["status"] == "done" else event["error"]
        note(invocation, f"[{ended}/{len(rows)}] {_WORDS[event['status']]} {values}: {score}")

    with _streaming(invocation, search, given):
        search.run(
            workers=given["parallel_runs"],
            limit=given["limit"],
            retry_pruned=given["retry_pruned"],
            threads=given["threads_per_run"],
            on_point=tell,
        )


@contextmanager
def _streaming(invocation: Invocation, search: MeterSearch, given: Mapping[str, Any]) -> Iterator[None]:
    """Lines of epochs and folds while the points are computed, where they were asked for."""
    from earmark.cli.meter.train import epoch_line
    from earmark.cli.output import note
    from earmark.training.point_logs import followed

    names = {row.point.key: ", ".join(f"{k} {v}" for k, v in row.values.items()) for row in search.rows()}

    def tell(key: str, event: Mapping[str, Any]) -> None:
        line = epoch_line(event, given["epoch_tick"])
        if line:
            note(invocation, f"  {names.get(key, key)}: {line}")

    with ExitStack() as stack:
        for one in search.searches.values() if given["stream_train"] else ():
            stack.enter_context(followed(one.log_folder, tell))
        yield


def _finale(invocation: Invocation, search: MeterSearch, given: Mapping[str, Any]) -> None:
    from earmark.cli.output import emit, note
    from earmark.evaluation.metrics import METRICS
    from earmark.tasks.meter.experiments import note_experiment

    finalists = search.finale(top=given["final_top"], n_seeds=given["seeds"], keep_top=given["keep_top"])
    rows = [
        {**one.values, "mean": one.mean, "spread": one.spread, "seeds": len(one.runs)} for one in finalists
    ]
    winner = finalists[0].best_run(METRICS[search.metric].direction)
    document = {"task": "meter", "metric": search.metric, "finalists": rows, "winner": winner.name}
    emit(invocation, rows, document=document)
    note(
        invocation,
        f"Winner: {winner.name}, {search.metric} {finalists[0].mean:.4f} +- {finalists[0].spread:.4f}",
    )
    note_experiment(search.project, "grid", document, [run for one in finalists for run in one.runs])
    if given["promote"]:
        from earmark.tasks.verbs.promote import promote

        promote(search.project.runs_folder, winner.name, reason="grid meter --promote")
        note(invocation, f"Predictions use {winner.name}.")
    else:
        note(invocation, f"To predict with it: earmark runs promote {winner.name}")


def _emit(invocation: Invocation, search: MeterSearch, rows: list[Row]) -> int:
    from earmark.cli.output import emit

    shown = [
        {
            **row.values,
            search.metric: row.point.score if row.point.status == "done" else None,
            "status": "TODO" if row.point.status == "pending" else _WORDS[row.point.status],
            "seconds": row.point.seconds,
        }
        for row in rows
    ]
    emit(invocation, shown, document={"task": "meter", "metric": search.metric, "points": shown})
    return 0
