"""`earmark migrate market`: earlier programs' files and recorded markets into the stores, columns by name."""

from __future__ import annotations

from pathlib import Path

import click

from earmark.cli.options import EarmarkCommand, EarmarkGroup, Invocation

__all__ = ["migrate"]


@click.group(cls=EarmarkGroup)
def migrate() -> None:
    """Bring files of earlier programs into the store; the files stay as they are.

    \b
    Examples:
      earmark migrate market legacy --dry-run
      earmark migrate market columns --backup
      earmark migrate market recording lean/equity/usa/second
    """


@migrate.command("legacy", cls=EarmarkCommand)
@click.option(
    "--source", type=click.Path(path_type=Path), help="Folder of the symbols (default: data/ml_training)."
)
@click.option("--symbols", help="Names with commas between; all by default.")
@click.option("--feature-group", default="training_features", help="Group of the feature store.")
@click.option(
    "--coding",
    type=click.Choice(["-1/0/1", "0/1/2"]),
    default="-1/0/1",
    help="What stands for down/neutral/up in the label files.",
)
@click.option("--dry-run", is_flag=True, help="Read and check everything, write nothing.")
@click.pass_obj
def legacy(
    invocation: Invocation,
    source: Path | None,
    symbols: str | None,
    feature_group: str,
    coding: str,
    dry_run: bool,
) -> int:
    """Bring npy and json batches into the feature store, and their labels into the label set `legacy`.

    May be run again and goes on where it was stopped: a batch is known by its content. Exit status 1: something was
    rejected; the report says what and why.

    \b
    Examples:
      earmark migrate market legacy --dry-run
      earmark migrate market legacy --source data/ml_training --coding -1/0/1
    """
    from earmark.cli.output import complain, emit, note
    from earmark.store.offline import FeatureStore
    from earmark.tasks.market.legacy.migrate import migrate_legacy
    from earmark.tasks.market.schema import SCHEMA

    store = FeatureStore(invocation.folder / "data" / "feature_store", schemas={feature_group: SCHEMA})
    names = tuple(name.strip() for name in (symbols or "").split(",") if name.strip())
    report = migrate_legacy(
        invocation.folder / "data" / "ml_training" if source is None else source,
        store,
        group=feature_group,
        coding=coding,
        symbols=names,
        dry_run=dry_run,
        tell=lambda event: note(invocation, str(event.message)),
    )
    emit(invocation, report.rows(), document=report.to_json(), title="Symbols found")
    for one in report.rejected:
        complain(f"rejected: {one['batch']}: {one['reason']}")
    totals = report.totals
    note(
        invocation,
        f"{totals['migrated']} of {totals['read']} samples migrated, {totals['duplicates']} there already, "
        f"{totals['already']} of {totals['batches']} batches from an earlier run.",
    )
    return 1 if report.rejected else 0


@migrate.command("columns", cls=EarmarkCommand)
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="One Parquet file."
)
@click.option(
    "--storage-path",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="All Parquet files below this folder (default: data/feature_store/offline).",
)
@click.option("--backup", is_flag=True, help="Keep each file as it was, as .parquet.backup.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.pass_obj
def columns(
    invocation: Invocation, file: Path | None, storage_path: Path | None, backup: bool, dry_run: bool
) -> int:
    """Rename columns of earlier Parquet files: feature_000 by its number, ob_, candle_ and ind_ without the prefix.

    \b
    Examples:
      earmark migrate market columns --dry-run
      earmark migrate market columns --backup --storage-path data/feature_store/offline
      earmark migrate market columns --file old.parquet --backup
    """
    from earmark.cli.output import complain, emit, note
    from earmark.cli.progress import progress
    from earmark.errors import UsageError
    from earmark.tasks.market.legacy.columns import rename_columns

    if file is not None and storage_path is not None:
        raise UsageError("--file and --storage-path were both given; expected one. Run the command twice.")
    path = file or storage_path or invocation.folder / "data" / "feature_store" / "offline"
    with progress(invocation) as tell:
        results = rename_columns(path, backup=backup, dry_run=dry_run, tell=tell)
    rows = [{"file": str(one.path), "renamed": one.columns, "reason": one.reason} for one in results]
    emit(invocation, rows)
    for one in results:
        if one.reason:
            complain(f"left as it is: {one.path}: {one.reason}")
    changed = sum(one.columns > 0 for one in results)
    note(invocation, f"{changed} of {len(results)} files {'would change' if dry_run else 'renamed'}.")
    return 1 if any(one.reason for one in results) else 0


@migrate.command("recording", cls=EarmarkCommand)
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--symbols", help="Names with commas between; all by default.")
@click.option("--feature-group", default="training_features", help="Group of the feature store.")
@click.option(
    "--collection-interval",
    default=10,
    type=click.IntRange(min=1),
    help="A sample every so many steps of 3 s.",
)
@click.option("--all-hours", is_flag=True, help="Samples of US equities outside 9:30-16:00 New York too.")
@click.option("--dry-run", is_flag=True, help="Do all but write.")
@click.pass_obj
def recording(
    invocation: Invocation,
    source: Path,
    symbols: str | None,
    feature_group: str,
    collection_interval: int,
    all_hours: bool,
    dry_run: bool,
) -> int:
    """Bring a recorded market into the stores: zips of LEAN, databases of OKCoin, tables of SGX A50.

    Books, trades and candles pass the order book and the feature clock as if they came from an exchange. May be run
    again: what is there stays once.

    \b
    Examples:
      earmark migrate market recording lean/equity/usa/second --symbols SPY,AIG --collection-interval 1
      earmark migrate market recording okcoin_2016 --dry-run
    """
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.market.importers.sources import read_source
    from earmark.tasks.market.importers.to_store import import_recordings

    with progress(invocation) as tell:
        imported = import_recordings(
            read_source(source),
            invocation.folder / "data",
            symbols=[name.strip() for name in (symbols or "").split(",") if name.strip()],
            group=feature_group,
            interval=collection_interval,
            all_hours=all_hours,
            dry_run=dry_run,
            tell=tell,
        )
    emit(invocation, [one.to_row() for one in imported], document=[one.to_json() for one in imported])
    for one in imported:
        for said in one.notes:
            note(invocation, f"{one.symbol}: {said}")
        for reason, n in one.skipped.items():
            note(invocation, f"{one.symbol}: {n} samples were not taken: {reason}")
    return 0
