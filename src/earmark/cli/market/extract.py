"""`earmark extract market`: features of recorded sessions from the raw store, through the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.extraction.comparison import Comparison

__all__ = ["check", "extract"]


@command("extract")
@click.option("--symbols", help="Names with commas between; all with raw data by default.")
@click.option("--start-date", help="First UTC day.")
@click.option("--end-date", help="Last UTC day, included.")
@click.option(
    "--view",
    type=click.Choice(["v1_110", "v1_112", "v1_187", "v2"]),
    default="v1_112",
    help="Whose groups are computed; --compare and --write take all.",
)
@click.option("--workers", "-w", type=click.IntRange(min=0), help="Processes; 0 computes in this one.")
@click.option("--limit", type=click.IntRange(min=0), help="Only the first so many sessions; 0 for all.")
@click.option("--force", is_flag=True, help="Compute what the cache holds, too.")
@click.option(
    "--compare", is_flag=True, help="Compare every bit with the feature store; exit code 3 if any differs."
)
@click.option(
    "--write", is_flag=True, help="Append the rows that the feature store lacks, with origin `replayed`."
)
@click.pass_obj
def extract(invocation: Invocation, /, **given: Any) -> int:
    """Compute the features of recorded days again from raw rows, each day of a symbol once per content and code.

    A second run opens no table; after an edit, or new raw rows, only what depends on them is computed. A day is
    replayed from the last gap before it, with the engine that live uses, so its features are those of live, bit for
    bit: --compare proves it. A day that fails is set aside with its reason, and the exit code is 1.

    \b
    Examples:
      earmark extract market
      earmark extract market --symbols BTCUSDT --start-date 2025-01-01 --compare
      earmark extract market --view v2 --workers 2 --format json
      earmark extract market --write
    """
    from earmark.cli.output import complain_of, emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.market.extraction.extract import Wanted
    from earmark.tasks.market.extraction.extract import extract as run_extract

    wanted = Wanted(
        symbols=_names(given["symbols"]),
        start=given["start_date"],
        end=given["end_date"],
        view=given["view"],
        limit=given["limit"] or None,
        force=given["force"],
        workers=given["workers"],
        compares=given["compare"],
        writes=given["write"],
    )
    with progress(invocation) as report:
        done = run_extract(invocation.folder, wanted, progress=report)
    for name, error in done.failures.items():
        complain_of(name, error)
    note(invocation, f"{len(done.sessions)} sessions, {len(done.failures)} failed; {done.n_rows} rows.")
    if done.n_written is not None:
        note(invocation, f"{done.n_written} rows written.")
    rows = [
        {"group": name, "computed": n, "seconds": done.seconds[name]} for name, n in done.computed.items()
    ]
    emit(invocation, rows, columns=["group", "computed", "seconds"], document=done.to_json())
    if done.comparison is not None:
        _judge(invocation, done.comparison)
    return 1 if done.failures else 0


@command("check")
@click.option("--symbols", help="Names with commas between; all with raw data by default.")
@click.option("--start-date", help="First UTC day.")
@click.option("--end-date", help="Last UTC day, included.")
@click.pass_obj
def check(
    invocation: Invocation, /, symbols: str | None, start_date: str | None, end_date: str | None
) -> int:
    """Count, per feature group, the sessions (UTC days of a symbol) that are fresh, stale or missing in the cache.

    Nothing is computed.

    \b
    Examples:
      earmark cache check market
      earmark cache check market --symbols BTCUSDT --format json
    """
    from dataclasses import asdict

    from earmark.cli.output import emit
    from earmark.tasks.market.extraction.extract import Wanted
    from earmark.tasks.market.extraction.extract import check as check_sessions

    found = check_sessions(invocation.folder, Wanted(_names(symbols), start_date, end_date))
    emit(invocation, [asdict(row) for row in found])
    return 0


def _names(symbols: str | None) -> tuple[str, ...]:
    return tuple(name for part in (symbols or "").split(",") if (name := part.strip().upper()))


def _judge(invocation: Invocation, comparison: Comparison) -> None:
    from earmark.cli.output import note
    from earmark.errors import GateError

    note(
        invocation,
        f"{comparison.compared} rows compared; {comparison.missing} that the store lacks, {comparison.extra} that raw "
        "rows do not give.",
    )
    if not comparison.ok:
        worst = sorted(comparison.differing, key=comparison.differing.__getitem__, reverse=True)
        what = f"{len(worst)} columns differ ({', '.join(worst[:5])})" if worst else "no column differs"
        raise GateError(
            f"stored and recomputed rows are not the same: {what}, {comparison.extra} rows have no source. Expected "
            "equal bits. Look at the raw rows: earmark check lookahead market"
        )
