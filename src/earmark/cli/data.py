"""`earmark data`: manifest, splits, and the openings of the sealed test set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import EarmarkCommand, EarmarkGroup, Invocation, open_project, task_argument

if TYPE_CHECKING:
    import polars as pl

__all__ = ["data"]

_FIRST_COLUMNS = ("id", "label", "group", "split", "fold")
_LEDGER_COLUMNS = ("when", "event", "run", "reason", "commit", "n")


@click.group(cls=EarmarkGroup)
def data() -> None:
    """Show manifests, splits, and how often the test set was opened.

    \b
    Examples:
      earmark data show zones --summary
      earmark data ledger zones
    """


@data.command("show", cls=EarmarkCommand)
@task_argument(required=False)
@click.option("--split", type=click.Choice(["train", "test"]), help="Only these rows.")
@click.option("--fold", type=click.IntRange(min=0), help="Only the rows of this fold.")
@click.option("--summary", is_flag=True, help="Counts per class and split instead of rows.")
@click.pass_obj
def show(
    invocation: Invocation, task: str | None, split: str | None, fold: int | None, summary: bool
) -> None:
    """Show the items of TASK with their split and fold, sorted by id: two states can be compared by diff.

    The labels of test items are sealed and are not shown. Counts and hashes go to standard error.

    \b
    Examples:
      earmark data show zones --summary
      earmark data show zones --format csv > before.csv
      earmark data show zones --fold 0 --format json
    """
    from earmark.cli.output import emit, note

    project = open_project(invocation, task)
    manifest, splits = project.manifest, project.splits
    table = _joined(manifest.table, splits.table)
    note(
        invocation,
        f"{len(manifest)} items, manifest {manifest.hash[:12]}, splits {splits.hash[:12]}: "
        f"{len(splits.train_ids)} train, {len(splits.test_ids)} test",
    )
    for warning in splits.warnings:
        note(invocation, f"warning: {warning}")
    chosen = [
        row
        for row in table.sort("id").iter_rows(named=True)
        if (split is None or row["split"] == split) and (fold is None or row["fold"] == fold)
    ]
    if summary:
        emit(invocation, _counts(chosen))
    else:
        emit(invocation, chosen, columns=table.columns)


@data.command("ledger", cls=EarmarkCommand)
@task_argument(required=False)
@click.pass_obj
def ledger(invocation: Invocation, task: str | None) -> None:
    """Show each opening of the test set of TASK: when, by which run, and why.

    \b
    Examples:
      earmark data ledger zones
      earmark data ledger zones --format json
    """
    from earmark.cli.output import emit, note
    from earmark.data.seal import LEDGER_FILE, read_ledger

    project = open_project(invocation, task)
    note(invocation, f"The test set was {project.sealed.openings()}.")
    emit(invocation, read_ledger(project.data_folder / LEDGER_FILE), columns=_LEDGER_COLUMNS)


def _joined(manifest: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """Manifest rows with their split and fold; where the bytes lie is this machine's affair and left out."""
    extra = [name for name in manifest.columns if name not in (*_FIRST_COLUMNS, "uri")]
    own = manifest.select("id", "label", "group", *extra)
    return own.join(splits.select("id", "split", "fold"), on="id", how="left").select(*_FIRST_COLUMNS, *extra)


def _counts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, int, str], list[str | None]] = {}
    for row in rows:
        label = row["label"] or ("(sealed)" if row["split"] == "test" else "(none)")
        groups.setdefault((row["split"], row["fold"], label), []).append(row["group"])
    return [
        {"split": split, "fold": fold, "label": label, "items": len(of), "groups": len(set(of))}
        for (split, fold, label), of in sorted(groups.items())
    ]
