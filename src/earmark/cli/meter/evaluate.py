"""`earmark evaluate meter`: scores on both label sets, apart by source and style, beside controls and records."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.meter.evaluation.evaluate import MeterEvaluation
    from earmark.tasks.meter.evaluation.left_out_sources import LeftOut
    from earmark.tasks.meter.evaluation.scores import MeterScores
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["evaluate"]


@command("evaluate")
@click.argument("datasets", nargs=-1, metavar="[DATASET]...")
@click.option(
    "--run",
    "--checkpoint",
    "run_name",
    help="A run (default: best, the winner of the last search, else the promoted one).",
)
@click.option(
    "--split",
    type=click.Choice(["tuning", "val", "test"]),
    help="All training rows out of fold (default), the validation part of them, or the sealed test.",
)
@click.option("--limit", type=click.IntRange(min=0), default=0, help="Items, classes in proportion; 0: all.")
@click.option("--quick", is_flag=True, help="100 items of tuning.")
@click.option("--meter", metavar="N", help="Items of this class alone.")
@click.option("--workers", "-w", type=click.IntRange(min=0), help="Processes for features; 0: in this one.")
@click.option("--ci", is_flag=True, help="Show intervals: Wilson's, of the balanced accuracy over groups.")
@click.option("--confusion", is_flag=True, help="Show which class was taken for which.")
@click.option("--remap/--no-remap", default=True, help="Show the accuracy inside each set's classes, too.")
@click.option(
    "--controls/--no-controls", default=True, help="Score majority, rules and timbre alone beside it."
)
@click.option(
    "--leave-source-out",
    is_flag=True,
    help="Fit the model again without each source in turn, and score it on that source; with --report always.",
)
@click.option(
    "--plot",
    is_flag=True,
    help="Draw what the features of each class look like, which say the same, and what a transformer attends to.",
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=200, help="With --plot: rows of a class at most (200)."
)
@click.option(
    "--dump-preds",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a row per item to this .csv or .json.",
)
@click.option(
    "--save", is_flag=True, help="Keep the whole test as record; exit 3 where it is worse than the last."
)
@click.option("--strict", is_flag=True, help="With --save: one file fewer is worse.")
@click.option("--review", is_flag=True, help="Write a page of labels to listen to again; training rows only.")
@click.option("--review-audio", is_flag=True, help="With --review: page and audio as one archive, too.")
@click.option("--report", is_flag=True, help="Write the HTML report into the run's folder.")
@click.option("--reason", metavar="TEXT", help="Why the seal is opened; the ledger keeps it.")
@click.pass_obj
def evaluate(invocation: Invocation, /, **given: Any) -> int:
    """Score a run of meter, on DATASET alone where some are named (wikimeter, meter2800, ballroom).

    `--split test` opens the sealed test, which the ledger records first; everything else leaves it closed. With --save
    the whole test is scored whatever split and limit say, compared with the newest accepted record by McNemar's test,
    and stored as accepted or rejected.

    \b
    Examples:
      earmark evaluate meter --quick
      earmark evaluate meter --split val --ci --confusion
      earmark evaluate meter --split test --limit 0 --save
      earmark evaluate meter --review wikimeter
      earmark evaluate meter ballroom --split test --dump-preds ballroom.csv
    """
    from earmark.cli.options import open_project
    from earmark.cli.output import note
    from earmark.cli.progress import progress
    from earmark.tasks.meter.evaluation.evaluate import evaluate_meter

    _require_form(given["dump_preds"])
    workers = None if given["workers"] is None else max(1, given["workers"])
    project = open_project(invocation, "meter", workers=workers)
    run = _run(project, given["run_name"])
    if given["review"] or given["review_audio"]:
        return _review(invocation, project, run, given)
    reason = {"reason": given["reason"]} if given["reason"] else {}
    with progress(invocation) as tell:
        evaluation = evaluate_meter(project, run, _options(given), progress=tell, **reason)
    _show(invocation, evaluation, given)
    if evaluation.split == "test":
        _tell_openings(invocation, project)
    _remember(project, evaluation)
    if given["plot"]:
        from earmark.tasks.meter.evaluation.figures import draw

        for path in draw(project, run, run.path / "figures", n_samples=given["samples"]):
            note(invocation, f"Figure: {path}")
    if given["dump_preds"] is not None:
        _dump(invocation, evaluation, given["dump_preds"])
    if given["report"]:
        from earmark.tasks.verbs.evaluate import evaluate as write

        split = "test" if evaluation.split == "test" else "val"
        note(invocation, f"Report: {write(project, run, split=split, **reason).report}")
    return _save(invocation, project, run, evaluation, given) if given["save"] else 0


def _tell_openings(invocation: Invocation, project: Project) -> None:
    """How often the seal was opened, this time included."""
    from earmark.cli.output import note
    from earmark.data.seal import SealedLabels

    note(invocation, f"This test set: {SealedLabels(project.data_folder).openings()}.")


def _run(project: Project, name: str | None) -> Run:
    """The named run; ``best`` is the winner of the last search, else as predictions choose."""
    from earmark.tasks.meter.training.search import best_of_search
    from earmark.tasks.verbs.predict import chosen_run

    found = best_of_search(project) if name in (None, "best") else None
    return found or chosen_run(project, None if name == "best" else name)


def _review(invocation: Invocation, project: Project, run: Run, given: Mapping[str, Any]) -> int:
    """Write the page on which labels are reviewed, and show the candidates."""
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.meter.review.labels import review_labels

    with progress(invocation) as tell:
        review = review_labels(
            project,
            run,
            run.path / "review",
            split=given["split"] or "tuning",
            datasets=given["datasets"],
            limit=given["limit"],
            with_audio=given["review_audio"],
            progress=tell,
        )
    names = ("id", "label", "predicted", "confidence", "n_agreeing", "n_votes", "of_song")
    rows = [{name: getattr(one, name) for name in names} for one in review.candidates]
    emit(invocation, rows, columns=names, document=[one.to_json() for one in review.candidates])
    note(invocation, f"{len(review.candidates)} of {review.n_items} labels to listen to again.")
    for path in review.files:
        note(invocation, f"Review: {path}")
    return 0


def _options(given: Mapping[str, Any]) -> Any:
    from earmark.errors import UsageError
    from earmark.tasks.meter.evaluation.evaluate import QUICK, MeterOptions

    if given["quick"] and (given["limit"] or given["split"] not in (None, "tuning")):
        raise UsageError("--quick is --split tuning --limit 100; expected neither beside it. Drop one.")
    return MeterOptions(
        split=given["split"] or "tuning",
        limit=QUICK if given["quick"] else given["limit"],
        meter=given["meter"],
        datasets=given["datasets"],
        controls=given["controls"],
        leave_sources_out=(given["leave_source_out"] or given["report"]) and given["split"] != "test",
    )


def _require_form(path: Path | None) -> None:
    from earmark.errors import UsageError

    if path is not None and path.suffix not in (".csv", ".json"):
        raise UsageError(f"`{path}`: expected a name that ends in .csv or .json.")


def _show(invocation: Invocation, evaluation: MeterEvaluation, given: Mapping[str, Any]) -> None:
    """Scores to standard output: one row per label set, then controls, classes and sets of items."""
    from earmark.cli.output import emit

    named = {"original labels": evaluation.scores}
    if evaluation.corrected is not None:
        named["corrected labels"] = evaluation.corrected
    rows = [_row(name, scores, given) for name, scores in (named | dict(evaluation.controls)).items()]
    emit(invocation, rows, document=evaluation.to_json())
    if invocation.format != "table":
        return
    classes = [
        {"class": name, "right": one.n_right, "of": one.n, "recall": _shown(one.share, given["ci"])}
        for name, one in evaluation.scores.per_class.items()
    ]
    emit(invocation, classes, title="\nBy class")
    for cut, parts in evaluation.apart.items():
        if parts:
            emit(
                invocation, [_row(name, scores, given) for name, scores in parts.items()], title=f"\nBy {cut}"
            )
    emit(invocation, [_coverage_row(evaluation.scores)], title="\nAccuracy of the most confident")
    if evaluation.left_out:
        emit(
            invocation,
            [_left_out_row(one, given["ci"]) for one in evaluation.left_out],
            title="\nSource left out",
        )
    if given["confusion"]:
        emit(invocation, _confusion_rows(evaluation.scores), title="\nTrue class by answer")


def _row(name: str, scores: MeterScores, given: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "what": name,
        "right": scores.accuracy.n_right,
        "of": scores.accuracy.n,
        "accuracy": _shown(scores.accuracy.share, given["ci"]),
        "balanced": _shown(scores.balanced, given["ci"]),
        "3 or 4": _shown(scores.binary.share, False),
        "any meter": _shown(scores.polymetric.share, False),
    }
    more = {"remapped": _shown(scores.remapped.share, False)} if given["remap"] else {}
    return {**row, **more, "ece": scores.ece, "brier": scores.brier}


def _coverage_row(scores: MeterScores) -> dict[str, Any]:
    return {f"{share:.0%}": f"{right:.3f}" for share, right in scores.coverage.items()}


def _left_out_row(one: LeftOut, with_bounds: bool) -> dict[str, Any]:
    """Accuracy and balanced accuracy of a source's rows, where it was known to the training and where it was not."""
    nothing = "-"
    return {
        "source": one.source,
        "of": one.n,
        "known": _shown(one.known, with_bounds),
        "left out": nothing if one.unknown is None else _shown(one.unknown, with_bounds),
        "known balanced": f"{one.known_balanced:.3f}",
        "left out balanced": nothing if one.unknown_balanced is None else f"{one.unknown_balanced:.3f}",
    }


def _remember(project: Project, evaluation: MeterEvaluation) -> None:
    """A line in the log of experiments; of the sealed test without its scores."""
    from earmark.tasks.meter.experiments import note_experiment

    found: dict[str, Any] = {"split": evaluation.split, "n": len(evaluation.data)}
    if evaluation.split != "test":
        found |= {"original": evaluation.scores.to_json()}
    note_experiment(project, "evaluate", found, [evaluation.run])


def _shown(interval: Any, with_bounds: bool) -> str:
    from earmark.evaluation.result import show_interval

    if math.isnan(interval.value):  # of nothing, as of 3 and 4 in a set that has neither
        return "-"
    return show_interval(interval, 3) if with_bounds else f"{interval.value:.3f}"


def _confusion_rows(scores: MeterScores) -> list[dict[str, Any]]:
    return [
        {"true": name, **dict(zip(scores.classes, counts, strict=True))}
        for name, counts in zip(scores.classes, scores.confusion.tolist(), strict=True)
    ]


def _dump(invocation: Invocation, evaluation: MeterEvaluation, path: Path) -> None:
    from earmark.cli.output import note, render
    from earmark.data.parquet import write_bytes_atomic

    write_bytes_atomic(path, render(path.suffix[1:], evaluation.rows()).encode())
    note(invocation, f"Predictions: {path}")


def _save(
    invocation: Invocation, project: Project, run: Run, evaluation: MeterEvaluation, given: Mapping[str, Any]
) -> int:
    """Keep a record of the whole test, which is scored anew unless it was just scored."""
    from earmark.cli.output import note
    from earmark.errors import GateError
    from earmark.tasks.meter.evaluation.evaluate import MeterOptions, evaluate_meter, save_record

    is_whole = evaluation.split == "test" and not (given["limit"] or given["meter"] or given["datasets"])
    if not is_whole:
        reason = given["reason"] or "evaluate meter --save"
        evaluation = evaluate_meter(project, run, MeterOptions(split="test", controls=False), reason=reason)
        _tell_openings(invocation, project)
    saved = save_record(project, evaluation, strict=given["strict"], command=sys.argv[1:])
    note(invocation, f"Record: {saved.path}")
    if not saved.accepted:
        raise GateError(
            f"REGRESSION against {saved.before}: {'; '.join(saved.reasons)}. The record is stored as rejected; the "
            "accepted one stays."
        )
    note(invocation, "Accepted." if saved.before is None else f"Accepted: not worse than {saved.before}.")
    return 0
