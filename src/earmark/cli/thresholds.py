"""`earmark thresholds`: from a run's probabilities to labels that can be relied on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project, task_argument
from earmark.cli.tunings import tuning_options

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["DECISION_OPTIONS", "decide", "decision_options", "parse_recalls", "thresholds"]

DECISION_OPTIONS = (
    click.option(
        "--run",
        "run_name",
        help="Run to decide for (default: the promoted one, else the best of the newest).",
    ),
    click.option(
        "--calibration",
        type=click.Choice(["auto", "temperature", "isotonic", "none"]),
        default="auto",
        help="How probabilities are corrected; auto: by log loss on held-out folds.",
    ),
    click.option("--coverage", type=float, metavar="SHARE", help="Decide at least this share of the items."),
    click.option("--accuracy", type=float, metavar="SHARE", help="Accuracy of what is decided."),
    click.option(
        "--recall", multiple=True, metavar="LABEL=SHARE", help="Find this share of a class; repeatable."
    ),
    click.option(
        "--cost",
        default="auto",
        metavar="NAME",
        help="Of errors: none (all equal), ordinal, balanced, balanced-ordinal, auto, or a YAML file.",
    ),
)
"""How the decision of a run is chosen; every form of the command has them."""


def decision_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """All of `DECISION_OPTIONS`."""
    for option in reversed(DECISION_OPTIONS):
        function = option(function)
    return function


@command()
@task_argument(required=False)
@decision_options
@click.option("--dry-run", is_flag=True, help="Show what would be chosen, write nothing.")
@click.pass_obj
@tuning_options
def thresholds(invocation: Invocation, task: str | None, **given: Any) -> int:
    """Choose how a run of TASK decides: calibration, costs of errors, and when it says nothing.

    All is chosen on out-of-fold rows and written to thresholds.yaml in the run's folder, which predict then uses; an
    earlier file is kept. The scores `after` are of rows that took no part in the choice, `same_rows` of those that
    did. The sealed test set is not touched.

    With --drops or --mapping, thresholds that belong to no run are chosen instead, nested by fold: those of the drop
    detector, or those that make zones of DEAM's arousal and valence.

    \b
    Examples:
      earmark thresholds zones
      earmark thresholds zones --coverage 0.9 --dry-run
      earmark thresholds zones --accuracy 0.8 --cost ordinal
      earmark thresholds zones --recall PURPLE=0.85 --format json
      earmark thresholds zones --drops
      earmark thresholds zones --mapping --output zone_mapping.yaml
    """
    return decide(invocation, open_project(invocation, task), **given)


def decide(
    invocation: Invocation,
    project: Project,
    *,
    run_name: str | None,
    calibration: str,
    coverage: float | None,
    accuracy: float | None,
    recall: tuple[str, ...],
    cost: str,
    dry_run: bool,
) -> int:
    """Choose the decision of a run, show and write it."""
    from earmark.cli.output import emit, note
    from earmark.tasks.verbs.predict import chosen_run
    from earmark.tasks.verbs.thresholds import thresholds as choose_thresholds
    from earmark.tasks.verbs.thresholds import wanted_of

    recalls = parse_recalls(recall)
    run = chosen_run(project, run_name)
    wanted = wanted_of(
        project,
        run,
        calibration=calibration,
        cost=cost,
        coverage=coverage,
        accuracy=accuracy,
        recall=recalls,
    )
    tuned = choose_thresholds(project, run, wanted, dry_run=dry_run)
    for warning in tuned.chosen.warnings:
        note(invocation, f"warning: {warning}")
    emit(invocation, tuned.rows(), document=tuned.to_json())
    decision = tuned.chosen.decision
    boosts = ", ".join(f"{name} {boost:g}" for name, boost in zip(run.classes, decision.boost, strict=True))
    note(
        invocation,
        f"Run: {run.name}. Calibration: {decision.calibrator.method}. Boost: {boosts}. "
        f"Threshold: {decision.threshold:.4g}.",
    )
    note(invocation, "Nothing was written." if dry_run else f"Written: {tuned.files[0]}")
    return 0


def parse_recalls(texts: Sequence[str]) -> dict[str, float]:
    """``["PURPLE=0.85"]`` -> ``{"PURPLE": 0.85}``, with all that cannot be read in one message."""
    from earmark.errors import UsageError

    recalls, wrong = {}, []
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            recalls[name] = float(value)
        except ValueError:
            wrong.append(text)
        if not name:
            wrong.append(text)
    if wrong:
        raise UsageError(
            f"--recall {' '.join(dict.fromkeys(wrong))}: expected LABEL=SHARE, for example PURPLE=0.85."
        )
    return recalls
