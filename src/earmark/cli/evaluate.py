"""`earmark evaluate`: scores with intervals beside their baselines, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project, task_argument

if TYPE_CHECKING:
    from earmark.evaluation.label_issues import LabelReview
    from earmark.evaluation.result import Evaluation
    from earmark.tasks.verbs.evaluate import Evaluated

__all__ = ["evaluate", "parse_analyses", "parse_gates", "require_gates", "score_rows"]

_SHOWN = ("balanced_accuracy", "accuracy", "macro_f1", "weighted_f1")
_DOUBTED_SHOWN = 30


@command()
@task_argument(required=False)
@click.option(
    "--run",
    "--model",
    "run_name",
    help="Run to score (default: the promoted one, else the best of the newest).",
)
@click.option("--split", type=click.Choice(["val", "test"]), default="val", help="`test` opens the seal.")
@click.option("--sealed", is_flag=True, help="The same as --split test.")
@click.option("--reason", metavar="TEXT", help="Why the seal is opened; the ledger keeps it.")
@click.option(
    "--output",
    "-o",
    "--output-dir",
    "output",
    type=click.Path(path_type=Path),
    help="Folder of the report; or a .png file, which gets the map, the figure of that name, or the confusion matrix.",
)
@click.option("--gate", multiple=True, metavar="METRIC=VALUE", help="Exit 3 where the score misses it.")
@click.option("--label-issues", is_flag=True, help="List labels that the model doubts; needs cleanlab.")
@click.option(
    "--analysis", "analyses", multiple=True, metavar="NAME", help="Run an analysis of the task's own."
)
@click.option("--drop-analysis", is_flag=True, help="The same as --analysis drops.")
@click.option("--map", "map_kind", type=click.Choice(["2d", "bands", "density"]), help="The analysis `map`.")
@click.option("--arousal-min", type=float, help="Of the map: lowest arousal.")
@click.option("--arousal-max", type=float, help="Of the map: highest arousal.")
@click.option("--valence-min", type=float, help="Of the map: lowest valence.")
@click.option("--valence-max", type=float, help="Of the map: highest valence.")
@click.option(
    "--yellow-threshold",
    "--yellow-arousal",
    "yellow_threshold",
    type=float,
    help="Of the map: YELLOW below.",
)
@click.option(
    "--purple-threshold",
    "--purple-arousal",
    "purple_threshold",
    type=float,
    help="Of the map: PURPLE above.",
)
@click.option("--valence-threshold", type=float, help="Of the map: valence that splits YELLOW and PURPLE.")
@click.pass_obj
def evaluate(
    invocation: Invocation,
    /,
    task: str | None,
    run_name: str | None,
    split: str,
    sealed: bool,
    reason: str | None,
    output: Path | None,
    gate: tuple[str, ...],
    label_issues: bool,
    analyses: tuple[str, ...],
    drop_analysis: bool,
    map_kind: str | None,
    **thresholds: float | None,
) -> int:
    """Score a run of TASK and write its report.

    `--split val` scores each training item by the model that did not see its group. `--split test` opens the
    sealed test set: the ledger records it first, and every later report shows how often that was done.

    \b
    Examples:
      earmark evaluate zones
      earmark evaluate zones --split test --reason "final score"
      earmark evaluate zones --gate balanced_accuracy=0.55 --format json
      earmark evaluate zones --label-issues --drop-analysis
      earmark evaluate zones --map 2d -o map.png
    """
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.evaluate import Extras
    from earmark.tasks.verbs.evaluate import evaluate as run_evaluate
    from earmark.tasks.verbs.predict import chosen_run

    limits = parse_gates(gate)
    asked, options = parse_analyses(analyses, drop_analysis, map_kind, thresholds)
    project = open_project(invocation, task)
    given = {"reason": reason} if reason else {}
    figure = _figure_file(output)
    with progress(invocation) as tell:
        evaluated = run_evaluate(
            project,
            chosen_run(project, run_name),
            split="test" if sealed else split,
            output=None if figure else output,
            extras=Extras(label_issues, asked, options),
            progress=tell,
            **given,
        )
    if figure is not None:
        _copy_figure(invocation, evaluated, map_kind, figure)
    _show(invocation, evaluated)
    require_gates(evaluated.evaluation, limits)
    return 0


def _figure_file(output: Path | None) -> Path | None:
    """The file that gets a figure, or None where `output` is a folder; other files are refused."""
    from earmark.errors import UsageError

    if output is None or output.is_dir() or not output.suffix:
        return None
    if output.suffix.lower() != ".png":
        raise UsageError(f"`{output}`: expected a folder for the report, or a .png file for a figure of it.")
    return output


def _copy_figure(invocation: Invocation, evaluated: Evaluated, map_kind: str | None, target: Path) -> None:
    """Write one figure of the report to a file of its own."""
    from earmark.cli.output import note
    from earmark.data.parquet import write_bytes_atomic

    wanted = f"map_{map_kind}.png" if map_kind else target.name
    by_depth = sorted(evaluated.folder.rglob("*.png"), key=lambda path: len(path.parts), reverse=True)
    figures = {
        path.name: path for path in by_depth
    }  # of equal names, that of this report rather than of one below it
    source = figures.get(wanted, figures["confusion_matrix.png"])
    write_bytes_atomic(target, source.read_bytes())
    note(invocation, f"Figure: {target} ({source.stem.replace('_', ' ')})")


def _show(invocation: Invocation, evaluated: Evaluated) -> None:
    """Scores to standard output; what there is to know about them to standard error."""
    from earmark.cli.output import emit, note

    evaluation = evaluated.evaluation
    for warning in evaluation.warnings:
        note(invocation, f"warning: {warning}")
    emit(invocation, score_rows(evaluation), document=evaluation.to_json())
    if evaluation.label_review is not None and invocation.format == "table":
        _show_review(invocation, evaluation.label_review)
    note(invocation, evaluation.verdict())
    for section in evaluation.analyses:
        note(invocation, f"{section.title}: {' '.join(section.sentences)}")
    if evaluation.split == "test":
        from earmark.data.seal import Openings

        note(
            invocation,
            f"This test set: {Openings(evaluation.test_openings, evaluation.test_runs)}.",
        )
    for path in evaluated.review_files:
        note(invocation, f"Labels: {path}")
    note(invocation, f"Report: {evaluated.report}")


def _show_review(invocation: Invocation, review: LabelReview) -> None:
    """The most doubted labels and the rates per class, as further tables."""
    from earmark.cli.output import emit

    names = ("path", "current_label", "predicted_label", "confidence", "quality_score")
    doubted = [{name: getattr(issue, name) for name in names} for issue in review.issues[:_DOUBTED_SHOWN]]
    emit(
        invocation,
        doubted,
        columns=names,
        title=f"\nMost doubted of {len(review.issues)} potential label issues",
    )
    emit(invocation, review.rates, title="\nPotential label issues per class")


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


def parse_analyses(
    named: tuple[str, ...], drops: bool, map_kind: str | None, thresholds: Mapping[str, float | None]
) -> tuple[tuple[str, ...], dict[str, object]]:
    """Names of the analyses, once each in the order given, and the options for them.

    ``map`` is the kind of map; the others are thresholds by their option's name, ``arousal_min``, and are there only
    if they were given.

    Raises
    ------
    UsageError
        A threshold was given, and no analysis that could use it.
    """
    from earmark.errors import UsageError

    names = (*named, *(["drops"] if drops else []), *(["map"] if map_kind else []))
    options: dict[str, object] = {name: value for name, value in thresholds.items() if value is not None}
    if options and not names:
        flags = ", ".join("--" + name.replace("_", "-") for name in options)
        raise UsageError(f"{flags}: no analysis was asked for that uses it. Add --map 2d, bands or density.")
    return tuple(dict.fromkeys(names)), options | ({"map": map_kind} if map_kind else {})


def require_gates(evaluation: Evaluation, limits: dict[str, float]) -> None:
    """Raise a GateError, exit code 3, where a score misses its limit."""
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
