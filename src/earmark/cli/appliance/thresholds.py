"""`earmark thresholds appliance`: where each device of a run counts as on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from earmark.cli.options import Invocation, command

__all__ = ["thresholds"]


@command("thresholds")
@click.option("--run", "run_name", help="Run to choose for (default: the promoted one, else the newest).")
@click.option(
    "--method",
    type=click.Choice(["f1", "percentile"]),
    default="f1",
    show_default=True,
    help="F1 of file medians on a grid, or percentiles of windows.",
)
@click.option(
    "--grid-min", type=float, default=0.50, show_default=True, help="Lowest threshold that is tried."
)
@click.option("--grid-max", type=float, default=0.95, show_default=True, help="Highest one, included.")
@click.option("--grid-step", type=float, default=0.05, show_default=True, help="Step of the grid.")
@click.option(
    "--tie",
    type=click.Choice(["middle", "first"]),
    default="middle",
    show_default=True,
    help="Of equal F1: the middle of the widest plateau, or the first.",
)
@click.option(
    "--p-off", type=float, default=96.0, show_default=True, help="Percentile of windows with the device off."
)
@click.option("--p-on", type=float, default=12.0, show_default=True, help="Percentile of windows with it on.")
@click.option(
    "--min-gap", type=float, default=0.10, show_default=True, help="Least distance of the two limits."
)
@click.option(
    "--part",
    default="val",
    show_default=True,
    help="Windows to choose on: val, those that no fold had seen, or the number of a fold.",
)
@click.option(
    "--base-config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A thresholds.yaml whose decoder and hold times are kept.",
)
@click.option(
    "--fit-decoder/--no-fit-decoder",
    default=None,
    help="Choose the decoder of streams on spliced recordings, or give them medians. Default: where it takes seconds.",
)
@click.option(
    "--splices",
    "n_splices",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Spliced recordings to choose the decoder on, of 12 minutes each; at least one per fold.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the splices.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File (default: thresholds.yaml in the run).",
)
@click.option("--dry-run", is_flag=True, help="Show what would be chosen, write nothing.")
@click.pass_obj
def thresholds(
    invocation: Invocation,
    /,
    run_name: str | None,
    part: str,
    base_config: Path | None,
    fit_decoder: bool | None,
    n_splices: int,
    seed: int,
    output: Path | None,
    dry_run: bool,
    **given: Any,
) -> int:
    """Choose where each device of a run counts as on, and how streams switch.

    All is chosen on windows that no fold of the run had seen, and written to thresholds.yaml in the run's folder, which
    predict, stream and live read alike; an earlier file is kept. The spread over folds says how far the choice can be
    trusted. How streams switch is chosen on splices of recordings that the answering fold had not heard. The sealed
    test is not touched.

    \b
    Examples:
      earmark thresholds appliance
      earmark thresholds appliance --run 20260102-101500-spectral --tie first
      earmark thresholds appliance --method percentile --p-off 96 --p-on 12 --min-gap 0.10
      earmark thresholds appliance --fit-decoder --dry-run --format json
    """
    from earmark.cli.options import open_project
    from earmark.cli.output import emit, note
    from earmark.tasks.appliance.runs import answering_run
    from earmark.tasks.appliance.thresholds.choose import ChoiceSettings
    from earmark.tasks.appliance.thresholds.run import choose_for_run, write

    project = open_project(invocation, "appliance")
    chosen = choose_for_run(
        project,
        answering_run(project, run_name),
        ChoiceSettings(**given),
        part=part,
        base=base_config,
        fits_decoder=fit_decoder,
        n_splices=n_splices,
        seed=seed,
    )
    for warning in chosen.warnings:
        note(invocation, f"warning: {warning}")
    emit(invocation, chosen.choice.rows, document=chosen.to_json())
    if chosen.fit is not None:
        _tell_fit(invocation, chosen)
    files = () if dry_run else write(chosen, output)
    note(invocation, f"Written: {files[0]}" if files else "Nothing was written.")
    return 0


def _tell_fit(invocation: Invocation, chosen: Any) -> None:
    """What the decoder does on spliced recordings, as notes: the table is of thresholds."""
    from dataclasses import asdict

    from earmark.cli.output import note, render

    fit, devices = chosen.fit, chosen.thresholds.devices
    told = ", ".join(f"{key} {value}" for key, value in asdict(fit.rule.settings).items())
    note(
        invocation,
        f"Decoder: {fit.rule.name} ({told}): {len(fit.scores.false_events)} false events and {fit.scores.n_missed} "
        f"missed in {fit.scores.hours:.2f} hours of splices; {len(fit.before.false_events)} and "
        f"{fit.before.n_missed} by plain hmm.",
    )
    note(invocation, render("table", fit.scores.rows(devices)).rstrip())
