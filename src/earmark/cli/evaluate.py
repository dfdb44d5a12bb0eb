"""`earmark evaluate`: scores with intervals beside their baselines, and the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project, task_argument

if TYPE_CHECKING:
    from earmark.evaluation.result import Evaluation

__all__ = ["evaluate", "score_rows"]

_SHOWN = ("balanced_accuracy", "accuracy", "macro_f1", "weighted_f1")


@command()
@task_argument(required=False)
@click.option(
    "--run", "run_name", help="Run to score (default: the promoted one, else the best of the newest)."
)
@click.option("--split", type=click.Choice(["val", "test"]), default="val", help="`test` opens the seal.")
@click.option("--sealed", is_flag=True, help="The same as --split test.")
@click.option("--reason", metavar="TEXT", help="Why the seal is opened; the ledger keeps it.")
@click.option(
    "--output", "-o", type=click.Path(file_okay=False, path_type=Path), help="Folder of the report."
)
@click.option("--gate", multiple=True, metavar="METRIC=VALUE", help="Exit 3 where the score misses it.")
@click.pass_obj
def evaluate(
    invocation: Invocation,
    task: str | None,
    run_name: str | None,
    split: str,
    sealed: bool,
    reason: str | None,
    output: Path | None,
    gate: tuple[str, ...],
) -> int:
    """Score a run of TASK and write its report.

    `--split val` scores each training item by the model that did not see its group. `--split test` opens the
    sealed test set: the ledger records it first, and every later report shows how often that was done.

    \b
    Examples:
      earmark evaluate zones
      earmark evaluate zones --split test --reason "final score"
      earmark evaluate zones --gate balanced_accuracy=0.55 --format json
    """
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.evaluate import evaluate as run_evaluate
    from earmark.tasks.verbs.predict import chosen_run

    limits = parse_gates(gate)
    project = open_project(invocation, task)
    split = "test" if sealed else split
    given = {"reason": reason} if reason else {}
    with progress(invocation) as tell:
        evaluated = run_evaluate(
            project, chosen_run(project, run_name), split=split, output=output, progress=tell, **given
        )
    evaluation = evaluated.evaluation
    for warning in evaluation.warnings:
        note(invocation, f"warning: {warning}")
    emit(invocation, score_rows(evaluation), document=evaluation.to_json())
    note(invocation, evaluation.verdict())
    if split == "test":
        note(
            invocation,
            f"This test set was opened {evaluation.test_openings} times by {evaluation.test_runs} runs.",
        )
    note(invocation, f"Report: {evaluated.report}")
    _require(evaluation, limits)
    return 0


def score_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """The run and its baselines, one row each, with the scores that a reader asks for first."""
    names = list(dict.fromkeys([evaluation.headline, *_SHOWN]))
    rows = []
    for row in evaluation.comparison:
        scores = {name: str(row.metrics[name]) if name in row.metrics else None for name in names}
        rows.append({"model": row.name, **scores})
    return rows


def parse_gates(texts: tuple[str, ...]) -> dict[str, float]:
    """``("accuracy=0.8",)`` -> ``{"accuracy": 0.8}``, with all that cannot be read in one message."""
    from earmark.errors import UsageError
    from earmark.evaluation.metrics import METRICS

    limits, wrong = {}, []
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limits[name] = float(value)
        except ValueError:
            wrong.append(text)
        if name not in METRICS:
            wrong.append(text)
    if wrong:
        raise UsageError(
            f"--gate {' '.join(dict.fromkeys(wrong))}: expected METRIC=VALUE with one of {', '.join(METRICS)}."
        )
    return limits


def _require(evaluation: Evaluation, limits: dict[str, float]) -> None:
    from earmark.errors import GateError
    from earmark.evaluation.metrics import METRICS

    missed = []
    for name, limit in limits.items():
        value = evaluation.metrics[name].value
        wants_more = METRICS[name].direction == "higher"
        if not (value >= limit if wants_more else value <= limit):  # an undefined score misses
            missed.append(
                f"{name} is {value:.3f}, expected {'at least' if wants_more else 'at most'} {limit:g}"
            )
    if missed:
        raise GateError(f"The gate failed: {'; '.join(missed)}.")
