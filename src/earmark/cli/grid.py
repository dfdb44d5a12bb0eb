"""`earmark grid`: a search over parameter values that can be stopped anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.option_blocks import (
    cache_folder,
    cache_option,
    prepare_first,
    prepared_options,
    recipe_changes,
    recipe_options,
)
from earmark.cli.options import Invocation, command, open_project, task_argument

if TYPE_CHECKING:
    from earmark.training.grid import Point, Search

__all__ = ["grid"]


@command()
@task_argument(required=False)
@click.option(
    "--algorithm",
    "--algorithms",
    "--tune-model",
    "algorithm",
    default="xgboost",
    help="Estimator to search over.",
)
@prepared_options
@recipe_options
@click.option("--features", help="Feature set to train on (default: the task's).")
@click.option("--metric", help="Metric that ranks the points (default: the task's).")
@click.option(
    "--set", "values", multiple=True, metavar="NAME=V1,V2", help="Values to try instead of the task's grid."
)
@click.option("--folds", type=click.IntRange(min=2), default=3, help="Folds of each point.")
@click.option("--limit", type=click.IntRange(min=1), help="Compute at most so many points now.")
@click.option("--workers", "-w", type=click.IntRange(min=1), default=1, help="Points computed at a time.")
@click.option("--seed", type=int, help="Seed of every random choice.")
@click.option(
    "--allow-pseudo", is_flag=True, help="Search on labels that a rule made; the scores are marked."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the table to this .csv or .json file.",
)
@cache_option
@click.option("--dry-run", is_flag=True, help="Show the points and what is known of them, compute nothing.")
@click.option(
    "--summary", is_flag=True, help="Show the points that are done, the best first, compute nothing."
)
@click.option("--reset", is_flag=True, help="Forget the points that are done.")
@click.option("--yes", is_flag=True, help="With --reset: really forget.")
@click.pass_obj
def grid(
    invocation: Invocation,
    /,
    task: str | None,
    algorithm: str,
    labels: tuple[Path, ...],
    deam: Path | None,
    features: str | None,
    metric: str | None,
    values: tuple[str, ...],
    folds: int,
    limit: int | None,
    workers: int,
    seed: int | None,
    allow_pseudo: bool,
    output: Path | None,
    cache_dir: Path | None,
    dry_run: bool,
    summary: bool,
    reset: bool,
    yes: bool,
    **changes: Any,
) -> int:
    """Try every combination of parameter values on the folds, and rank them.

    Each finished point is a line in a journal. Stop the search at any moment: the same command goes on. The score
    of the winner is the best of many and so a little too good; only the sealed test set tells how good it is.

    \b
    Examples:
      earmark grid zones --dry-run
      earmark grid zones --algorithm xgboost --limit 20
      earmark grid zones --set max_depth=2,4,8 --set learning_rate=0.05,0.1
      earmark grid zones --algorithm rf --set n_trees=100,300 --top-n 50
      earmark grid zones --summary -o points.csv
    """
    from earmark.cli.events import tell_training
    from earmark.cli.output import complain, note
    from earmark.cli.progress import progress
    from earmark.errors import UsageError
    from earmark.tasks.verbs.grid import open_search, run_search
    from earmark.tasks.verbs.train import TrainOptions

    _require_form(output)
    project = open_project(invocation, task, seed=seed, cache=cache_folder(cache_dir))
    has_failed = prepare_first(invocation, project, labels, deam)
    options = TrainOptions(
        features=features, metric=metric, allow_pseudo=allow_pseudo, **recipe_changes(**changes)
    )
    search = open_search(project, algorithm, options=options, space=parse_space(values), n_folds=folds)
    if reset:
        if not yes:
            raise UsageError(
                f"--reset forgets all points in {search.journal}. Give --yes as well if that is meant."
            )
        note(invocation, f"Forgotten: {search.reset()} points.")
        return 0
    if dry_run or summary:
        _show(invocation, project.task.name, search, search.points() if dry_run else search.summary(), output)
        return 1 if has_failed else 0
    with progress(invocation) as tell:
        searched = run_search(search, workers=workers, limit=limit, progress=tell, on_event=tell_training)
    failed = [point for point in searched.points if point.status == "failed"]
    for point in failed:
        complain(f"failed: {dict(point.values)}: {point.error}")
    _show(invocation, project.task.name, search, searched.best_first, output, searched.points)
    note(
        invocation,
        f"{len(searched.best_first)} of {len(searched.points)} points done; journal: {searched.journal}",
    )
    return 1 if failed or has_failed else 0


def _require_form(output: Path | None) -> None:
    """Refuse a name of unknown form before anything is computed."""
    from earmark.errors import UsageError

    if output is not None and output.suffix not in (".csv", ".json"):
        raise UsageError(f"`{output}`: expected a name that ends in .csv or .json.")


def _show(
    invocation: Invocation,
    task: str,
    search: Search,
    points: Sequence[Point],
    output: Path | None,
    documented: Sequence[Point] | None = None,
) -> None:
    """Print points, or `documented` as JSON, and write the same to a file if one was named."""
    from earmark.cli.output import emit, note, render
    from earmark.data.parquet import write_bytes_atomic

    rows = _rows(points, search)
    document = _document(task, search, points if documented is None else documented)
    emit(invocation, rows, document=document)
    if output is not None:
        write_bytes_atomic(output, render(output.suffix[1:], rows, document=document).encode())
        note(invocation, f"Table: {output}")


def parse_space(texts: Sequence[str]) -> dict[str, list[Any]] | None:
    """``["max_depth=2,4"]`` -> ``{"max_depth": [2, 4]}``; None where nothing was given."""
    from earmark.cli.train import parse_value
    from earmark.errors import UsageError

    space: dict[str, list[Any]] = {}
    for text in texts:
        name, _, values = text.partition("=")
        if not name.strip() or not values.strip():
            raise UsageError(f"--set {text}: expected NAME=V1,V2, for example max_depth=4,6,8.")
        space[name.strip()] = [parse_value(value.strip()) for value in values.split(",")]
    return space or None


def _rows(points: Sequence[Point], search: Search) -> list[dict[str, Any]]:
    return [
        {
            **point.values,
            search.rank_by: None if point.status != "done" else point.score,
            "status": point.status,
            "seconds": point.seconds,
        }
        for point in points
    ]


def _document(task: str, search: Search, points: Sequence[Point]) -> dict[str, Any]:
    return {
        "task": task,
        "algorithm": search.recipe.algorithm,
        "metric": search.rank_by,
        "journal": search.journal,
        "points": [
            {
                "values": point.values,
                "status": point.status,
                "score": point.score,
                "folds": point.folds,
                "seconds": point.seconds,
                "error": point.error,
            }
            for point in points
        ],
    }
