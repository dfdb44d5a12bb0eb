"""Manifest, splits and ledger as plain rows, sorted so that two states can be compared by ``diff``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from earmark.data.manifest import Manifest
from earmark.data.seal import LEDGER_FILE, read_ledger
from earmark.data.splits import Splits

__all__ = ["LEDGER_COLUMNS", "SEALED", "count_rows", "item_rows", "ledger_rows"]

SEALED = "(sealed)"
"""Stands for the label of a test item."""

LEDGER_COLUMNS = ("when", "event", "run", "reason", "commit", "version", "n")


def item_rows(manifest: Manifest, splits: Splits) -> list[dict[str, Any]]:
    """One row per item, by id: ``id``, ``label``, ``group``, ``split``, ``fold``, then the free columns.

    The label of a test item is `SEALED`, whatever the manifest holds. Where the bytes lie is left out, since
    it differs between machines.
    """
    assigned = splits.rows()
    rows = []
    for row in manifest.table.sort("id").iter_rows(named=True):
        split, fold = assigned[row["id"]]["split"], assigned[row["id"]]["fold"]
        label = SEALED if split == "test" else row["label"]
        first = {"id": row["id"], "label": label, "group": row["group"], "split": split, "fold": fold}
        rows.append(first | {name: row[name] for name in row if name not in (*first, "uri")})
    return rows


def count_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items and groups of each split, fold and label among the rows of `item_rows`."""
    keys = [(row["split"], row["fold"], row["label"] or "(none)") for row in rows]
    counts = Counter(keys)
    groups = Counter(
        key for key, _ in {(key, row["group"] or row["id"]) for key, row in zip(keys, rows, strict=True)}
    )
    return [
        {"split": key[0], "fold": key[1], "label": key[2], "items": counts[key], "groups": groups[key]}
        for key in sorted(counts)
    ]


def ledger_rows(folder: str | Path) -> list[dict[str, Any]]:
    """Openings and new draws of the test set of a data folder, oldest first, with `LEDGER_COLUMNS`."""
    return [
        {name: event.get(name) for name in LEDGER_COLUMNS}
        for event in read_ledger(Path(folder) / LEDGER_FILE)
    ]
