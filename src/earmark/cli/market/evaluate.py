"""`earmark evaluate market`: scores with intervals beside their baselines, drift, latency, two models compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.assessment.evaluate import Assessed
    from earmark.tasks.market.assessment.schemes import SchemeResult
    from earmark.training.runs import Run

__all__ = ["evaluate"]

_OTHERS = ("walk_forward", "cpcv", "drift", "latency", "ab")
_BELONGS = {
    "folds": ("walk_forward",),
    "groups": ("cpcv",),
    "test_groups": ("cpcv",),
    "pbo": ("walk_forward", "cpcv"),
    "window": ("drift",),
    "apply": ("ab",),
}
"""Option -> those of which one has to be there."""

_SHOWN = ("macro_f1", "accuracy", "balanced_accuracy", "mcc", "log_loss")


@command("evaluate")
@click.argument("run_argument", metavar="[RUN]", required=False)
@click.option(
    "--run", "--model", "run_name", help="The same as RUN (default: the promoted one, else the newest)."
)
@click.option(
    "--split",
    type=click.Choice(["test", "val"]),
    default="test",
    help="Newest part before the seal, or the one that chose the epoch (test).",
)
@click.option("--sealed", is_flag=True, help="Open the sealed period instead; the ledger records it first.")
@click.option("--reason", metavar="TEXT", help="Why the seal is opened; the ledger keeps it.")
@click.option(
    "--cost",
    type=click.FloatRange(min=0),
    help="Of one position in and out, as a fraction (0; on splits 0.0011).",
)
@click.option("--save/--no-save", default=True, help="Write the report into the run's folder.")
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write it to this folder instead.",
)
@click.option("--gate", multiple=True, metavar="METRIC=VALUE", help="Exit 3 where the score misses it.")
@click.option("--walk-forward", is_flag=True, help="Train it anew on a growing past, and score what follows.")
@click.option("--cpcv", is_flag=True, help="Train it anew on every choice of stretches of time.")
@click.option("--folds", type=click.IntRange(2), help="With --walk-forward: how often (5).")
@click.option("--groups", type=click.IntRange(3, 12), help="With --cpcv: stretches of time (6).")
@click.option("--test-groups", type=click.IntRange(1, 4), help="With --cpcv: how many of them test (2).")
@click.option("--pbo", is_flag=True, help="With these: the probability of overfitting, by models beside it.")
@click.option("--drift", is_flag=True, help="Compare the newest rows with those of the training instead.")
@click.option("--window", type=click.IntRange(min=20), help="With --drift: newest rows looked at (10000).")
@click.option("--latency", is_flag=True, help="Measure how long one answer takes instead.")
@click.option("--ab", is_flag=True, help="Judge the newest experiment of live --challenger instead.")
@click.option("--apply", is_flag=True, help="With --ab: promote the challenger or end it, as the rule says.")
@click.pass_obj
def evaluate(invocation: Invocation, /, run_argument: str | None, **given: Any) -> int:
    """Score a run of market on windows that it did not learn from, and write its report.

    Scores have 95 % intervals over blocks of time, and stand beside those of the majority class, the last direction and
    a logistic regression on the same windows. `--sealed` opens the sealed period: every opening is on record and every
    later report counts them.

    \b
    Examples:
      earmark evaluate market
      earmark evaluate market 20250601-1200 --split val --no-save
      earmark evaluate market --sealed --reason "final score"
      earmark evaluate market --cpcv --pbo
      earmark evaluate market --drift --window 5000
      earmark evaluate market --latency --format json
    """
    from earmark.errors import UsageError
    from earmark.tasks.market.serving.model import chosen_run

    others = [name for name in _OTHERS if given[name]]
    if len(others) > 1 or (others and (given["sealed"] or given["reason"])):
        raise UsageError(
            "--walk-forward, --cpcv, --drift, --latency, --ab and --sealed are evaluations of their own. Give one of "
            "them at a time."
        )
    for name, owners in _BELONGS.items():
        if given[name] and not any(given[owner] for owner in owners):
            flag, of = _flag(name), " or ".join(map(_flag, owners))
            raise UsageError(f"{flag} belongs to {of}. Give both, or leave it out.")
    if run_argument and given["run_name"]:
        raise UsageError(f"Two runs are named, {run_argument} and {given['run_name']}; expected one.")
    if given["ab"]:
        return _ab(invocation, given["apply"])
    run = chosen_run(invocation.folder, run_argument or given["run_name"])
    if given["walk_forward"] or given["cpcv"]:
        return _scheme(invocation, run, given)
    if given["drift"]:
        return _drift(invocation, run, given["window"])
    return _latency(invocation, run) if given["latency"] else _scores(invocation, run, given)


def _scores(invocation: Invocation, run: Run, given: dict[str, Any]) -> int:
    from earmark.cli.evaluate import parse_gates, require_gates
    from earmark.cli.output import emit
    from earmark.tasks.market.assessment.evaluate import evaluate as run_evaluate

    limits = parse_gates(given["gate"])
    assessed = run_evaluate(
        invocation.folder,
        run,
        split="sealed" if given["sealed"] else given["split"],
        reason=given["reason"],
        cost=given["cost"] or 0.0,
        save=given["save"],
        output=given["output"],
    )
    emit(invocation, _score_rows(assessed), document=assessed.to_json())
    _tell(invocation, assessed)
    require_gates(assessed.evaluation, limits)
    return 0


def _score_rows(assessed: Assessed) -> list[dict[str, Any]]:
    return [
        {
            "model": row.name,
            **{name: str(row.metrics[name]) if name in row.metrics else None for name in _SHOWN},
        }
        for row in assessed.evaluation.comparison
    ]


def _tell(invocation: Invocation, assessed: Assessed) -> None:
    from earmark.cli.output import note
    from earmark.data.ledger import Openings

    evaluation = assessed.evaluation
    for warning in evaluation.warnings:
        note(invocation, f"warning: {warning}")
    note(invocation, f"{evaluation.scored_words} {evaluation.verdict()}")
    for section in evaluation.analyses:
        note(invocation, f"{section.title}: {' '.join(section.sentences)}")
    note(invocation, f"The sealed period was {Openings(evaluation.test_openings, evaluation.test_runs)}.")
    if assessed.folder is not None:
        note(invocation, f"Report: {assessed.folder / 'report.html'}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _scheme(invocation: Invocation, run: Run, given: dict[str, Any]) -> int:
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.errors import UsageError
    from earmark.tasks.market.assessment.schemes import SchemeOptions, evaluate_scheme

    if given["gate"]:
        raise UsageError("--gate judges one score, and splits have many. Leave it out.")
    asked = {name: given[name] for name in ("folds", "groups", "test_groups", "pbo", "cost")}
    options = SchemeOptions(
        "walk_forward" if given["walk_forward"] else "cpcv",
        **{name: value for name, value in asked.items() if value is not None},
    )
    with progress(invocation) as tell:
        found = evaluate_scheme(
            invocation.folder, run, options, save=given["save"], output=given["output"], tell=tell
        )
    emit(invocation, _path_rows(found), document=found.to_json())
    note(invocation, found.sentence())
    if found.folder is not None:
        note(invocation, f"All splits and paths: {found.folder}")
    return 0


def _path_rows(found: SchemeResult) -> list[dict[str, Any]]:
    """A row per path, scores with their intervals."""
    return [
        {
            "model": path.configuration,
            "path": path.path + 1,
            **{name: str(interval) for name, interval in path.scores.items()},
            "sharpe": path.sharpe,
            "return": path.total_return,
            "positions": path.n_positions,
        }
        for path in found.report.paths
    ]


def _drift(invocation: Invocation, run: Run, window: int | None) -> int:
    from earmark.cli.output import emit, note
    from earmark.tasks.market.assessment.drift import drift, drift_rows

    found = drift(invocation.folder, run) if window is None else drift(invocation.folder, run, window=window)
    emit(invocation, drift_rows(found.drift), document=found.to_json())
    note(invocation, found.sentence())
    return 0


def _latency(invocation: Invocation, run: Run) -> int:
    from earmark.cli.output import emit
    from earmark.tasks.market.assessment.latency import latency_rows

    emit(invocation, latency_rows(invocation.folder, run))
    return 0


def _ab(invocation: Invocation, apply: bool) -> int:
    from earmark.cli.output import emit, note
    from earmark.tasks.market.assessment.duels import judge_duel, side_rows

    found = judge_duel(invocation.folder, apply=apply)
    emit(invocation, side_rows(found), document=found.to_json())
    note(invocation, f"{found.outcome.replace('_', ' ')}: {found.reason}.")
    return 0
