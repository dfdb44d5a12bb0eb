"""`earmark train`: models on the folds, and the report of the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from earmark.cli.options import Invocation, command, open_project, task_argument

__all__ = ["parse_parameters", "parse_value", "train"]


@command()
@task_argument(required=False)
@click.option("--features", help="Feature set to train on (default: the task's).")
@click.option("--algorithms", "--algorithm", help="Estimators, separated by commas (default: the task's).")
@click.option("--metric", help="Metric that ranks the runs (default: the task's).")
@click.option("--epochs", type=click.IntRange(min=1), help="Largest number of passes of a neural network.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Items per step of a neural network.")
@click.option(
    "--set", "parameters", multiple=True, metavar="ALGORITHM.NAME=VALUE", help="An estimator's parameter."
)
@click.option("--seed", type=int, help="Seed of every random choice.")
@click.option("--workers", "-w", type=click.IntRange(min=1), help="Processes for features that are missing.")
@click.option("--allow-pseudo", is_flag=True, help="Train on labels that a rule made; the scores are marked.")
@click.option("--force", is_flag=True, help="Train also where an equal run exists.")
@click.option("--no-resume", is_flag=True, help="Start an interrupted training anew.")
@click.option("--no-report", is_flag=True, help="Do not write the report of the best run.")
@click.pass_obj
def train(
    invocation: Invocation,
    task: str | None,
    features: str | None,
    algorithms: str | None,
    metric: str | None,
    epochs: int | None,
    batch_size: int | None,
    parameters: tuple[str, ...],
    seed: int | None,
    workers: int | None,
    allow_pseudo: bool,
    force: bool,
    no_resume: bool,
    no_report: bool,
) -> int:
    """Train the models of TASK on the same folds, and write a run folder for each and a report of the best.

    A training that was interrupted goes on at the fold where it stopped; one that was finished before, with the
    same data, code and settings, is found and not repeated. The sealed test set is not touched.

    \b
    Examples:
      earmark train zones
      earmark train zones --algorithms xgboost --set xgboost.max_depth=4
      earmark train zones --algorithms neural --epochs 100
      earmark train mine.py --format json
    """
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.train import TrainOptions
    from earmark.tasks.verbs.train import train as run_train

    project = open_project(invocation, task, seed=seed, workers=workers, algorithms=algorithms)
    options = TrainOptions(
        features=features,
        metric=metric,
        epochs=epochs,
        batch_size=batch_size,
        parameters=parse_parameters(parameters),
        resume=not no_resume,
        force=force,
        allow_pseudo=allow_pseudo,
    )
    report = None
    with progress(invocation) as tell:
        trained = run_train(project, options, progress=tell)
        if not no_report:
            from earmark.tasks.verbs.evaluate import evaluate

            report = evaluate(project, trained.best, progress=tell).report
    rows = [
        {
            "run": run.name,
            "algorithm": run.algorithm,
            trained.metric: run.metrics[trained.metric]["value"],
            "best": run.name == trained.best.name,
            "trained": run.name not in trained.reused,
        }
        for run in trained.runs
    ]
    document = {
        "task": project.task.name,
        "metric": trained.metric,
        "best": trained.best.name,
        "report": report,
        "runs": [
            {"run": run.name, "algorithm": run.algorithm, "path": run.path, "metrics": _scores(run.metrics)}
            for run in trained.runs
        ],
    }
    emit(invocation, rows, document=document)
    if report is not None:
        note(invocation, f"Report of the best run: {report}")
    return 0


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
