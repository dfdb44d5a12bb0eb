"""Manifest, splits and ledger as plain rows, sorted so that two states can be compared by ``diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.manifest import Manifest
from earmark.data.seal import LEDGER_FILE, read_ledger
from earmark.data.splits import Splits

if TYPE_CHECKING:
    import polars as pl

__all__ = ["LEDGER_COLUMNS", "SEALED", "count_rows", "item_rows", "item_table", "ledger_rows"]

SEALED = "(sealed)"
"""Stands for the label of a test item."""

UNLABELLED = "(none)"

LEDGER_COLUMNS = ("when", "event", "run", "reason", "commit", "version", "n")


def item_table(manifest: Manifest, splits: Splits) -> pl.DataFrame:
    """One row per item, by id: ``id``, ``label``, ``group``, ``split``, ``fold``, then the free columns.

    The label of a test item is `SEALED`, whatever the manifest holds. Where the bytes lie is left out, since
    it differs between machines.
    """
    import polars as pl

    first = ("id", "label", "group", "split", "fold")
    free = [name for name in manifest.table.columns if name not in (*first, "uri")]
    known = manifest.table.select("id", "label", "group", *free)
    assigned = splits.table.select("id", "split", "fold")
    label = pl.when(pl.col("split") == "test").then(pl.lit(SEALED)).otherwise(pl.col("label")).alias("label")
    joined = known.join(assigned, on="id", how="left", maintain_order="left").with_columns(label)
    return joined.select(*first, *free).sort("id")


def item_rows(manifest: Manifest, splits: Splits) -> list[dict[str, Any]]:
    """The rows of `item_table`."""
    return list(item_table(manifest, splits).iter_rows(named=True))


def count_rows(items: pl.DataFrame) -> list[dict[str, Any]]:
    """Items and groups of each split, fold and label of an `item_table`, or of some of its rows."""
    import polars as pl

    unit = pl.when(pl.col("group").fill_null("") == "").then(pl.col("id")).otherwise(pl.col("group"))
    label = pl.when(pl.col("label").fill_null("") == "").then(pl.lit(UNLABELLED)).otherwise(pl.col("label"))
    counted = (
        items.with_columns(unit.alias("unit"), label.alias("label"))
        .group_by("split", "fold", "label")
        .agg(pl.len().alias("items"), pl.col("unit").n_unique().alias("groups"))
    )
    return list(counted.sort("split", "fold", "label").iter_rows(named=True))


def ledger_rows(folder: str | Path) -> list[dict[str, Any]]:
    """Openings and new draws of the test set of a data folder, oldest first, with `LEDGER_COLUMNS`."""
    return [
        {name: event.get(name) for name in LEDGER_COLUMNS}
        for event in read_ledger(Path(folder) / LEDGER_FILE)
    ]
