"""`earmark demo market`: the whole chain on a simulated exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.demo import DemoResult

__all__ = ["demo"]


@command("demo")
@click.option(
    "--hours",
    type=click.FloatRange(min=0.5, max=48),
    default=1.5,
    show_default=True,
    help="Of the simulated market.",
)
@click.pass_obj
def demo(invocation: Invocation, /, hours: float) -> int:
    """Collect a simulated market, then migrate, label, validate, prepare, train, evaluate and predict.

    No network and no key: the exchange is a process on this machine, as fast as it is read. All of it lies in the
    project folder, which should hold no other data. A second run finds everything done.

    \b
    Examples:
      earmark demo market
      earmark -C /tmp/try demo market --hours 3 --format json
    """
    from earmark.cli.market.collect import compiling_note
    from earmark.cli.output import emit, format_seconds, note
    from earmark.cli.progress import progress
    from earmark.tasks.market.demo import DEMO_SETTINGS
    from earmark.tasks.market.demo import demo as run_demo

    invocation.folder.mkdir(parents=True, exist_ok=True)
    with progress(invocation) as tell:
        result = run_demo(
            invocation.settings(**DEMO_SETTINGS),
            hours=hours,
            tell=tell,
            on_compile=compiling_note(invocation),
        )
    for line in _sentences(result):
        note(invocation, line)
    for stage, seconds in result.seconds.items():
        note(invocation, f"{stage:>10}: {format_seconds(seconds)}")
    emit(invocation, _scores(result), document=result.to_json())
    if invocation.format == "table":
        click.echo(f"Report: {result.report}")
    return 0 if all(balance["is_whole"] for balance in result.collected["balances"]) else 1


def _scores(result: DemoResult) -> list[dict[str, Any]]:
    shown = ("accuracy", "macro_f1", "mcc", "log_loss")
    return [
        {
            "model": row["model"],
            "run": row["run"],
            **{name: row["metrics"].get(name) for name in shown},
            "promoted": row["promoted"],
        }
        for row in result.trained
    ]


def _sentences(result: DemoResult) -> list[str]:
    collected, migrated, predicted = result.collected, result.migrated, result.predicted
    verb = "Found" if collected["reused"] else "Collected"
    answers = ", ".join(f"{count} {name}" for name, count in sorted(predicted["answers"].items()))
    return [
        f"{verb} {collected['samples']} samples of {collected['hours']:g} h of the market.",
        *map(_balance, collected["balances"]),
        f"Batches of npy and json: {migrated['batches']}, of which {migrated['already']} were migrated before.",
        *(
            f"Labels of {row['symbol']} at {row['horizon']}: {row['coverage_pct']:.1f} % of {row['rows']} rows."
            for row in result.labelled["coverage"]
        ),
        f"Predicted {predicted['rows']} rows: {answers}.",
    ]


def _balance(row: dict[str, Any]) -> str:
    return (
        f"{row['symbol']}: {row['trades_sent']} trades sent, {row['trades_lost']} lost, {row['on_the_way']} on their "
        f"way at the end; {row['steps_due']} books due, {row['steps_lost']} lost."
    )
