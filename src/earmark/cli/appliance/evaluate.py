"""`earmark evaluate appliance`: what can be said of a run, on windows that it had not heard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.appliance.evaluation.evaluate import ApplianceEvaluation
    from earmark.tasks.project import Project

__all__ = ["evaluate"]

_PARTS = {"train": None, "none": "val"}
"""Parts of an earlier system: what trained is never scored, and without parts all is what no fold had seen."""


@command("evaluate")
@click.option(
    "--run", "--model-path", "run_name", help="Run to score (default: the promoted one, else the newest)."
)
@click.option(
    "--split",
    "--part",
    type=click.Choice(["val", "test", "train", "none"]),
    default="val",
    show_default=True,
    help="val: windows that no fold had seen; test: opens the seal; train is refused, none is val.",
)
@click.option("--test", "is_test", is_flag=True, help="The same as --split test.")
@click.option("--reason", metavar="TEXT", help="Why the seal is opened; the ledger keeps it.")
@click.option("--quick", is_flag=True, help="Scores alone: no baselines, no altered windows, no decoders.")
@click.option(
    "--baselines/--no-baselines", default=True, help="Fit the small models beside it, on the same windows."
)
@click.option("--robustness/--no-robustness", default=True, help="Alter windows by gain, noise and speech.")
@click.option("--time/--no-time", "timing", default=True, help="Play the decoders over known switch times.")
@click.option("--save", is_flag=True, help="Keep this evaluation as what later ones are compared with.")
@click.option("--ci", is_flag=True, help="Exit 3 where it is worse than the saved one beyond chance.")
@click.option(
    "--hist-out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write counts of window probabilities, per device, to this CSV.",
)
@click.option(
    "--hist-bins", type=click.IntRange(min=1), default=50, show_default=True, help="Bins of --hist-out."
)
@click.option("--seed", type=click.IntRange(min=0), default=42, show_default=True, help="Of all draws.")
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the report (default: report in the run; of the test, test below it).",
)
@click.option("--dry-run", is_flag=True, help="Say what would be scored; open, compute and write nothing.")
@click.pass_obj
def evaluate(invocation: Invocation, /, **given: Any) -> int:
    """Score a run: files, windows per device, calibration, baselines, robustness, switch delays.

    `--split val` scores the windows that no fold had seen, each by the model that had not heard its recording.
    `--split test` opens the sealed test, which the ledger records first. Nothing is scored that a model has learnt.

    \b
    Examples:
      earmark evaluate appliance
      earmark evaluate appliance --run 20260102-101500-spectral --quick --format json
      earmark evaluate appliance --hist-out histogram.csv --hist-bins 50
      earmark evaluate appliance --save
      earmark evaluate appliance --quick --ci
      earmark evaluate appliance --test --reason "final score"
    """
    from earmark.cli.options import open_project
    from earmark.cli.output import note
    from earmark.cli.progress import progress
    from earmark.tasks.appliance.evaluation.evaluate import Options, evaluate_appliance
    from earmark.tasks.appliance.runs import answering_run

    split, deep = _split(given), not given["quick"]
    project = open_project(invocation, "appliance")
    run = answering_run(project, given["run_name"])
    if given["dry_run"]:
        return _dry_run(invocation, project, run.name, split)
    options = Options(
        split=split,
        rivals=deep and given["baselines"],
        robustness=deep and given["robustness"],
        timing=deep and given["timing"],
        seed=given["seed"],
    )
    before = _saved(project, split) if given["ci"] else None
    reason = {"reason": given["reason"]} if given["reason"] else {}
    with progress(invocation) as tell:
        found = evaluate_appliance(
            project, run, options, progress=tell, tell=lambda text: note(invocation, f"… {text}"), **reason
        )
    _show(invocation, found)
    _write(invocation, found, given)
    return _gate(invocation, project, found, before, saves=given["save"])


def _split(given: Mapping[str, Any]) -> str:
    from earmark.errors import UsageError

    asked = "test" if given["is_test"] else given["split"]
    split = _PARTS.get(asked, asked)
    if split is None:
        raise UsageError(
            "part train: a model always looks right on what it learnt, so that is never scored. Expected val or test."
        )
    return str(split)


def _dry_run(invocation: Invocation, project: Project, run: str, split: str) -> int:
    from earmark.cli.output import emit, note

    splits = project.splits
    ids = splits.test_ids if split == "test" else splits.train_ids
    emit(
        invocation,
        [{"run": run, "split": split, "windows": len(ids), "test_openings": str(project.sealed.openings())}],
    )
    note(invocation, "Nothing was scored.")
    return 0


def _show(invocation: Invocation, found: ApplianceEvaluation) -> None:
    """Scores to standard output; what there is to know about them to standard error."""
    from earmark.cli.output import emit, note

    for text in found.notes:
        note(invocation, f"warning: {text}")
    rows = _device_rows(found)
    emit(invocation, rows, document=found.to_json())
    if invocation.format != "table":
        return
    emit(invocation, _fold_rows(found), title="\nBy fold")
    if found.rivals:
        from earmark.tasks.appliance.evaluation.evaluate import model_rows

        emit(
            invocation,
            [_short(row) for row in model_rows(found)],
            title="\nBeside other models, best worse fold first",
        )
    if found.second_rows:
        emit(invocation, found.second_rows, title="\nBy the second")
    if found.altered:
        emit(invocation, list(found.altered), title="\nAltered windows")
    if found.timings:
        emit(invocation, [one.row() for one in found.timings], title="\nDecoders")
    note(invocation, found.evaluation.comparison_sentence())


def _device_rows(found: ApplianceEvaluation) -> list[dict[str, Any]]:
    names = ("n", "accuracy", "f1", "auroc", "auprc", "brier", "ece")
    return [
        {
            "device": device,
            **{name: of[name] for name in names},
            "accuracy_trimmed": found.trimmed[device]["accuracy"],
            "file_f1": found.files.f1.get(device),
            "margin": found.files.margin.get(device),
        }
        for device, of in found.windows.items()
    ]


def _fold_rows(found: ApplianceEvaluation) -> list[dict[str, Any]]:
    return [
        {
            "fold": fold["fold"],
            "windows": fold["n"],
            "files": fold["files"]["n"],
            "state_acc": fold["files"]["state_acc"],
            "state_acc_other_thresholds": fold["files_by_other_folds"].get("state_acc"),
            **{f"accuracy {device}": of["accuracy"] for device, of in fold["windows"].items()},
        }
        for fold in found.folds
    ]


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("model", "state_worst_fold", "state_accuracy", "state_acc_files")
    return {name: row.get(name) for name in kept} | {
        name: value for name, value in row.items() if name.startswith("accuracy ")
    }


def _write(invocation: Invocation, found: ApplianceEvaluation, given: Mapping[str, Any]) -> None:
    """The report, and the histogram where it is asked for."""
    from earmark.cli.output import note
    from earmark.data.parquet import write_bytes_atomic
    from earmark.tasks.appliance.evaluation.sections import histogram_csv, write_appliance_report

    usual = found.run.path / "report"
    folder = given["output"] or (usual if found.options.split == "val" else usual / "test")
    if given["hist_out"] is not None:
        write_bytes_atomic(given["hist_out"], histogram_csv(found, given["hist_bins"]).encode())
        note(invocation, f"Histogram: {given['hist_out']}")
    if found.options.split == "test":
        from earmark.data.seal import Openings

        evaluation = found.evaluation
        note(invocation, f"This test set: {Openings(evaluation.test_openings, evaluation.test_runs)}.")
    note(invocation, f"Report: {write_appliance_report(found, folder)[0]}")


def _saved(project: Project, split: str) -> Any:
    """Before minutes of work, and before a seal is opened."""
    from earmark.tasks.appliance.evaluation.records import read_record

    return read_record(project, split)


def _gate(
    invocation: Invocation, project: Project, found: ApplianceEvaluation, before: Any, *, saves: bool
) -> int:
    from earmark.cli.output import note
    from earmark.errors import GateError
    from earmark.tasks.appliance.evaluation.records import compare, record_of, write_record

    record = record_of(found)
    if before is not None:
        compared = compare(record, before, seed=found.options.seed)
        if compared.is_worse:
            raise GateError(f"REGRESSION: {compared}. The saved record stays.")
        note(invocation, f"Not worse: {compared}.")
    if saves:
        note(invocation, f"Record: {write_record(project, record)}")
    return 0
