"""`earmark train`: models on the folds, and the report of the best."""

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
from earmark.cli.strategy_options import compared, strategy_options
from earmark.cli.targets import target_options

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.tasks.verbs.train import TrainedModels
    from earmark.training.strategy import Strategy

__all__ = ["parse_parameters", "parse_value", "train"]


@command()
@task_argument(required=False)
@prepared_options
@click.option(
    "--folds",
    "--cv-folds",
    type=click.IntRange(min=2),
    help="Folds; only with --data or --deam, which are divided.",
)
@click.option("--features", help="Feature set to train on (default: the task's).")
@click.option("--algorithms", "--algorithm", help="Estimators, separated by commas (default: the task's).")
@click.option("--preset", metavar="NAME", help="A training that the task declares: features and recipe.")
@strategy_options
@click.option("--metric", help="Metric that ranks the runs (default: the task's).")
@click.option("--epochs", type=click.IntRange(min=1), help="Largest number of passes of a neural network.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Items per step of a neural network.")
@click.option(
    "--set", "parameters", multiple=True, metavar="ALGORITHM.NAME=VALUE", help="An estimator's parameter."
)
@recipe_options
@click.option("--seed", type=int, help="Seed of every random choice.")
@click.option("--workers", "-w", type=click.IntRange(min=1), help="Processes for features that are missing.")
@click.option("--allow-pseudo", is_flag=True, help="Train on labels that a rule made; the scores are marked.")
@click.option("--force", is_flag=True, help="Train also where an equal run exists.")
@click.option(
    "--resume/--no-resume", default=True, help="Go on with an interrupted training, or start it anew."
)
@click.option(
    "--output",
    "-o",
    "--output-dir",
    "--model-dir",
    "output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder that also gets a copy of each run.",
)
@cache_option
@click.option("--no-report", is_flag=True, help="Do not write the report of the best run.")
@click.pass_obj
@target_options
def train(
    invocation: Invocation,
    /,
    task: str | None,
    labels: tuple[Path, ...],
    deam: Path | None,
    folds: int | None,
    features: str | None,
    algorithms: str | None,
    preset: str | None,
    strategies: tuple[Strategy, ...],
    all_strategies: bool,
    draws: int | None,
    metric: str | None,
    epochs: int | None,
    batch_size: int | None,
    parameters: tuple[str, ...],
    seed: int | None,
    workers: int | None,
    allow_pseudo: bool,
    force: bool,
    resume: bool,
    output: Path | None,
    cache_dir: Path | None,
    no_report: bool,
    **changes: Any,
) -> int:
    """Train the models of TASK on the same folds, and write a run folder for each and a report of the best.

    A training that was interrupted goes on at the fold where it stopped; one that was finished before, with the
    same data, code and settings, is found and not repeated. The sealed test set is not touched.

    Rows of a second source (prepared with --deam) train as --strategy says and are never scored: several strategies
    are compared on the same folds of your own items, with the gain over your items alone.

    \b
    Examples:
      earmark train zones
      earmark train zones --algorithms xgboost --set xgboost.max_depth=4
      earmark train zones --algorithms neural --epochs 100
      earmark train zones --strategy all --algorithms xgboost --draws 5
      earmark train zones --strategy user --strategy weighted --user-weight 5
      earmark train zones --preset production
      earmark train zones --target av
      earmark train zones --data labels.csv --algorithms all --top-n 100 -o models
      earmark train mine.py --format json
    """
    from earmark.cli.events import tell_training
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.copies import copy_run
    from earmark.tasks.verbs.train import TrainOptions
    from earmark.tasks.verbs.train import train as run_train

    _require_division(folds, labels, deam)
    project = open_project(
        invocation,
        task,
        seed=seed,
        workers=workers,
        algorithms=algorithms,
        split__folds=folds,
        cache=cache_folder(cache_dir),
    )
    options = TrainOptions(
        features=features,
        algorithms=project.settings.algorithms if algorithms else None,
        metric=metric,
        epochs=epochs,
        batch_size=batch_size,
        parameters=parse_parameters(parameters),
        resume=resume,
        force=force,
        allow_pseudo=allow_pseudo,
        preset=preset,
        strategies=strategies,
        skip_impossible=all_strategies,
        **recipe_changes(**changes),
    )
    has_failed = prepare_first(invocation, project, labels, deam)
    report = None
    with progress(invocation) as tell:
        trained = run_train(project, options, progress=tell, on_event=tell_training)
        if not no_report:
            from earmark.tasks.verbs.evaluate import evaluate

            report = evaluate(project, trained.best, progress=tell).report
    rows, document = _rows(trained), _document(project, trained, report)
    if output is not None:
        document["copies"] = [copy_run(run.path, output) for run in trained.runs]
        note(invocation, f"Copied to {output}: {', '.join(run.path.name for run in trained.runs)}")
    columns = None
    if len(options.strategies) > 1:
        rows, columns = compared(invocation, project, trained, options, draws, document)
    emit(invocation, rows, columns=columns if invocation.format == "table" else None, document=document)
    if report is not None:
        note(invocation, f"Report of the best run: {report}")
    return 1 if has_failed else 0


def _require_division(folds: int | None, labels: Sequence[Path], deam: Path | None) -> None:
    """Folds are drawn once, when items are prepared; another number later would have no effect."""
    from earmark.errors import UsageError

    if folds is not None and not labels and deam is None:
        raise UsageError(
            "--folds divides items that are prepared in the same command. Give --data FILE with it, or divide anew: "
            f"earmark prepare TASK FILE --folds {folds}"
        )


def _rows(trained: TrainedModels) -> list[dict[str, Any]]:
    return [
        {
            "run": run.name,
            "algorithm": run.algorithm,
            trained.metric: run.metrics[trained.metric]["value"],
            "best": run.name == trained.best.name,
            "trained": run.name not in trained.reused,
        }
        for run in trained.runs
    ]


def _document(project: Project, trained: TrainedModels, report: Path | None) -> dict[str, Any]:
    return {
        "task": project.task.name,
        "metric": trained.metric,
        "best": trained.best.name,
        "report": report,
        "runs": [
            {"run": run.name, "algorithm": run.algorithm, "path": run.path, "metrics": _scores(run.metrics)}
            for run in trained.runs
        ],
    }


def parse_parameters(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["xgboost.max_depth=4"]`` -> ``{"xgboost": {"max_depth": 4}}``; values are read as in TOML, else as text."""
    from earmark.errors import UsageError

    parameters: dict[str, dict[str, Any]] = {}
    wrong = []
    for text in texts:
        name, equals, value = text.partition("=")
        algorithm, dot, parameter = name.partition(".")
        if not (equals and dot and algorithm and parameter):
            wrong.append(text)
            continue
        parameters.setdefault(algorithm.strip(), {})[parameter.strip()] = parse_value(value.strip())
    if wrong:
        raise UsageError(
            f"--set {' '.join(wrong)}: expected ALGORITHM.NAME=VALUE, for example xgboost.max_depth=4."
        )
    return parameters


def parse_value(text: str) -> Any:
    """A value as TOML reads it (``4``, ``0.1``, ``true``), else the text itself."""
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _scores(metrics: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: score["value"] for name, score in metrics.items()}
