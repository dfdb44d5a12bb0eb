"""`earmark data`: manifest, splits, and the openings of the sealed test set."""

from __future__ import annotations

import click

from earmark.cli.options import EarmarkCommand, EarmarkGroup, Invocation, open_project, task_argument

__all__ = ["data"]


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
    from earmark.data.show import count_rows, item_table

    project = open_project(invocation, task)
    manifest, splits = project.manifest, project.splits
    note(
        invocation,
        f"{len(manifest)} items, manifest {manifest.hash[:12]}, splits {splits.hash[:12]}: "
        f"{len(splits.train_ids)} train, {len(splits.test_ids)} test",
    )
    for warning in splits.warnings:
        note(invocation, f"warning: {warning}")
    wanted = {name: value for name, value in (("split", split), ("fold", fold)) if value is not None}
    items = item_table(manifest, splits)
    chosen = items.filter(**wanted) if wanted else items
    if summary:
        emit(invocation, count_rows(chosen))
    else:
        emit(invocation, list(chosen.iter_rows(named=True)), columns=chosen.columns)


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
    from earmark.data.show import LEDGER_COLUMNS, ledger_rows

    project = open_project(invocation, task)
    note(invocation, f"The test set was {project.sealed.openings()}.")
    emit(invocation, ledger_rows(project.data_folder), columns=list(LEDGER_COLUMNS))
