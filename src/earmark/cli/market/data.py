"""`earmark data show market`, `earmark data ledger market`: the prepared dataset, its seal and who opened it."""

from __future__ import annotations

from typing import Any

import click

from earmark.cli.options import Invocation, command

__all__ = ["ledger", "show"]


@command("show")
@click.option("--summary", is_flag=True, help="Parts as a whole, without a row per symbol.")
@click.pass_obj
def show(invocation: Invocation, /, summary: bool) -> int:
    """Show the parts of the prepared dataset: windows per class, symbol and time, and where the seal lies.

    \b
    Examples:
      earmark data show market
      earmark data show market --format json
    """
    from earmark.cli.output import emit, note
    from earmark.tasks.market.assessment.dataset_rows import dataset_facts, dataset_rows
    from earmark.tasks.market.prepare import load_prepared

    prepared = load_prepared(invocation.folder)
    for line in dataset_facts(invocation.folder, prepared.record):
        note(invocation, line)
    rows = dataset_rows(prepared, by_symbol=not summary)
    emit(invocation, rows, document={**prepared.record, "rows": rows, "warnings": list(prepared.warnings)})
    return 0


@command("ledger")
@click.pass_obj
def ledger(invocation: Invocation, /, **_: Any) -> int:
    """Show each opening of the sealed period: when, by which run, and why.

    \b
    Examples:
      earmark data ledger market
      earmark data ledger market --format json
    """
    from earmark.cli.output import emit, note
    from earmark.data.show import LEDGER_COLUMNS, ledger_rows
    from earmark.data.time_seal import SealedPeriod
    from earmark.tasks.market.prepare import FOLDER, data_folder

    folder = data_folder(invocation.folder) / FOLDER
    note(invocation, f"The sealed period was {SealedPeriod(folder).openings()}.")
    emit(invocation, ledger_rows(folder), columns=list(LEDGER_COLUMNS))
    return 0
