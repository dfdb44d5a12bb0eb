"""`earmark check lookahead market`: prove that no feature sees the future and that labels see nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.lookahead import LookaheadRow

__all__ = ["lookahead"]


@command("lookahead")
@click.option("--symbols", help="Names with commas between; all with raw data by default.")
@click.option("--start-date", help="First UTC day or ISO time of the raw data to use.")
@click.option("--end-date", help="Last UTC day or ISO time, included.")
@click.option(
    "--ticks", type=click.IntRange(min=14), default=400, help="Newest ticks of each symbol to replay."
)
@click.option("--cuts", type=click.IntRange(min=1), default=6, help="Ticks after which the future goes.")
@click.option("--generated", is_flag=True, help="Use a generated session although raw data are there.")
@click.option("--all-columns", is_flag=True, help="List the columns that passed, too.")
@click.pass_obj
def lookahead(invocation: Invocation, /, **given: Any) -> int:
    """Prove that no feature sees the future: take it away, or replace it by noise, and compare every bit.

    Features are recomputed from raw rows; stored samples of the same ticks must equal them, and labels must not change
    with prices before the sample or after their end. Without raw data a generated session is used. Exit code 3 if a
    column leaks.

    \b
    Examples:
      earmark check lookahead market
      earmark check lookahead market --symbols BTCUSDT --ticks 2000 --format json
    """
    from earmark.cli.output import emit, note
    from earmark.errors import GateError
    from earmark.tasks.market.check import LookaheadRequest, check_project

    request = _request(LookaheadRequest, given)
    checked = check_project(invocation.folder, request)
    rows = [_row(symbol, row) for symbol, found in checked.items() for row in found]
    shown = rows if given["all_columns"] else [row for row in rows if not row["ok"]]
    emit(invocation, shown, columns=_COLUMNS, document=rows)
    n = len({row["column"] for row in rows})
    wrong = list(dict.fromkeys(row["column"] for row in rows if not row["ok"]))
    note(invocation, f"{n} columns of {', '.join(checked)}: {n - len(wrong)} see nothing of the future.")
    if wrong:
        raise GateError(
            f"{', '.join(wrong)}: changed with what had not happened yet. Correct the column, or write the stored rows "
            "again from raw data."
        )
    return 0


_COLUMNS = ("symbol", "column", "compared", "changed", "by", "first_ms", "ok")


def _row(symbol: str, row: LookaheadRow) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "column": row.column,
        "compared": row.compared,
        "changed": row.changed,
        "by": row.by,
        "first_ms": row.first_ms,
        "ok": row.ok,
    }


def _request(kind: Any, given: dict[str, Any]) -> Any:
    from earmark.store.times import range_ms

    start_ms, end_ms = range_ms(given["start_date"], given["end_date"])
    names = (part.strip().upper() for part in (given["symbols"] or "").split(","))
    return kind(
        symbols=tuple(name for name in names if name),
        start_ms=start_ms,
        end_ms=end_ms,
        max_ticks=given["ticks"],
        n_cuts=given["cuts"],
        generated=given["generated"],
    )
