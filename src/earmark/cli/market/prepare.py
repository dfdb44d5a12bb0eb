"""`earmark prepare market`: seal the newest period, divide the rest through time, say what is in each part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command

if TYPE_CHECKING:
    from earmark.tasks.market.prepare import Prepared, PrepareOptions

__all__ = ["prepare"]


@command("prepare")
@click.option(
    "--holdout-days",
    "--days",
    "holdout_days",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    help="Newest days to seal; of data under 120 days the last 15 % of the time.",
)
@click.option("--horizon", type=click.IntRange(min=1), default=60, help="Seconds ahead of the label.")
@click.option(
    "--sequence-length",
    "--length",
    "sequence_length",
    type=click.IntRange(min=1),
    default=60,
    help="Rows of a window.",
)
@click.option("--stride", type=click.IntRange(min=1), default=1, help="Rows from window to window.")
@click.option(
    "--view",
    type=click.Choice(["v1_110", "v1_112", "v1_187", "v2", "levels"]),
    help="Columns that models are given; levels: the raw book (v1_112, of older files v1_110).",
)
@click.option("--levels", type=click.IntRange(1, 50), default=20, help="Of the view levels: levels per side.")
@click.option(
    "--every", type=click.IntRange(min=1), default=1, help="Of the view levels: steps of 3 s from row to row."
)
@click.option("--symbols", help="Names with commas between; all by default.")
@click.option("--start-date", help="First UTC day or ISO time.")
@click.option("--end-date", help="Last UTC day or ISO time, included.")
@click.option("--label-set", help="Id or rule of a label set; default the newest with the horizon.")
@click.option(
    "--price-source",
    type=click.Choice(["track", "samples", "candles"]),
    help="Label the rows by this price first, by the rule fixed.",
)
@click.option(
    "--feature-group",
    help="Group of rows; default that of the settings, of the view levels book_steps (or raw_lob).",
)
@click.option(
    "--data-source",
    type=click.Choice(["feature_store", "legacy"]),
    default="feature_store",
    help="Where rows are; legacy files are first migrated into the group legacy.",
)
@click.option("--data-path", metavar="DIR", help="Folder of the legacy files; default that of the settings.")
@click.option(
    "--parquet",
    metavar="FILE",
    help="A table of samples, read into a group of its own and used in place of stored ones.",
)
@click.option(
    "--coding",
    type=click.Choice(["-1/0/1", "0/1/2"]),
    help="How down, neutral, up are written: legacy files -1/0/1, --parquet 0/1/2.",
)
@click.option("--no-purge", is_flag=True, help="Keep windows whose span meets a later part (they leak).")
@click.option("--no-embargo", is_flag=True, help="Use what follows a border at once.")
@click.option(
    "--embargo-pct",
    type=click.FloatRange(0, 0.1),
    default=0.02,
    help="Embargo as a share of the span, at least 60 intervals.",
)
@click.option("--allow-mixed-origin", is_flag=True, help="Let live and migrated rows stand in one series.")
@click.option("--reseal", metavar="REASON", help="Move an opened sealed period; the ledger keeps the reason.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the sealed windows as npz; this opens the seal and needs --reason.",
)
@click.option("--reason", metavar="TEXT", help="Why the seal is opened for --output; kept in the ledger.")
@click.pass_obj
def prepare(invocation: Invocation, /, **given: Any) -> int:
    """Divide stored samples into train, validation and test, and seal the newest period.

    Parts meet at instants that all symbols share. Windows that reach over a border are purged, and what follows a
    border is not used. Sealed rows are read by nothing but an opening that the ledger tells of.

    \b
    Examples:
      earmark prepare market
      earmark prepare market --symbols BTCUSDT,ETHUSDT --horizon 30 --start-date 2025-01-01
      earmark prepare market --holdout-days 14 --view v2
      earmark prepare market --view levels --levels 20 --length 60
      earmark prepare market --data-source legacy --price-source samples
      earmark prepare market --output data/holdout/test_data.npz --reason "comparison with a colleague"
    """
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.market import prepare as verb

    _check(given)
    with progress(invocation) as tell:
        prepared = verb.prepare(invocation.folder, _options(given), tell=tell)
    emit(invocation, _rows(prepared), document=_document(prepared))
    for line in [*prepared.notes, *_sentences(prepared), *prepared.warnings]:
        note(invocation, line)
    if given["output"] is not None:
        sealed = verb.export_sealed(invocation.folder, given["output"], reason=given["reason"])
        note(
            invocation,
            f"{len(sealed.windows)} sealed windows in {given['output']}; the opening is on record.",
        )
    return 0


def _check(given: dict[str, Any]) -> None:
    from earmark.errors import UsageError

    if (given["output"] is None) != (given["reason"] is None):
        raise UsageError("--output opens the seal and --reason says why. Give both or neither.")


def _options(given: dict[str, Any]) -> PrepareOptions:
    from earmark.store.times import range_ms
    from earmark.tasks.market.prepare import PrepareOptions

    start_ms, end_ms = range_ms(given["start_date"], given["end_date"])
    names = (part.strip().upper() for part in (given["symbols"] or "").split(","))
    return PrepareOptions(
        view=given["view"],
        symbols=tuple(name for name in names if name),
        start_ms=start_ms,
        end_ms=end_ms,
        label_set=given["label_set"],
        price_source=given["price_source"],
        horizon_s=given["horizon"],
        sequence_length=given["sequence_length"],
        stride=given["stride"],
        holdout_days=given["holdout_days"],
        purge=not given["no_purge"],
        embargo=not given["no_embargo"],
        embargo_share=given["embargo_pct"],
        group=given["feature_group"],
        allow_mixed_origin=given["allow_mixed_origin"],
        levels=given["levels"],
        every=given["every"],
        data_source=given["data_source"],
        data_path=given["data_path"],
        coding=given["coding"],
        parquet=given["parquet"],
        reseal_reason=given["reseal"],
    )


def _rows(prepared: Prepared) -> list[dict[str, Any]]:
    """Parts as a whole, then by symbol; what was removed is counted over all symbols."""
    from earmark.tasks.market.prepare import symbol_rows

    whole = [
        {
            "symbol": "all",
            **{name: row[name] for name in _SHOWN},
            "purged": row["purged"],
            "embargoed": row["embargoed"],
        }
        for row in prepared.record["parts"]
    ]
    each = symbol_rows(prepared.parts(), prepared.record["symbols"])
    return [*whole, *({**row, "purged": None, "embargoed": None} for row in each)]


_SHOWN = ("part", "windows", "DOWN", "NEUTRAL", "UP")


def _document(prepared: Prepared) -> dict[str, Any]:
    from earmark.tasks.market.prepare import symbol_rows

    each = symbol_rows(prepared.parts(), prepared.record["symbols"])
    return {**prepared.record, "by_symbol": each, "warnings": list(prepared.warnings)}


def _sentences(prepared: Prepared) -> list[str]:
    from earmark.cli.output import format_seconds
    from earmark.tasks.market.assessment.dataset_rows import utc_text

    record = prepared.record
    seal, split, source = record["seal"], record["split"], record["source"]
    hours = (seal["last_ms"] - seal["first_ms"]) / 3_600_000
    return [
        f"{len(record['symbols'])} symbols, {len(record['columns'])} columns ({source['view']}), windows of "
        f"{record['sequence_length']} rows, labels {source['label_set']} at {source['horizon_s']} s.",
        f"Sealed: {utc_text(seal['first_ms'])} to {utc_text(seal['last_ms'])} UTC, {hours / 24:.1f} days "
        f"({hours:.1f} h). "
        f"Embargo after each border: {format_seconds(split['embargo_ms'] / 1000)}.",
        "Next: earmark train market",
    ]
