"""Legacy batches into the feature store, and their labels into the label set ``legacy``.

A batch is known by the hash of its three files, so running again does nothing and a run that was killed goes on: rows
are written under the batch's name, which the store takes once, and a line of the journal says that rows and labels
are there. Source files are only read.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError, UsageError
from earmark.features.progress import Progress
from earmark.tasks.market.legacy.layout import BatchFiles, find_batches
from earmark.tasks.market.legacy.reader import Batch, batch_hash, check_coding, read_batch
from earmark.tasks.market.legacy.writer import json_bytes
from earmark.tasks.market.schema import GROUP, SCHEMA

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.offline import FeatureStore

__all__ = ["LABEL_SET", "MigrationReport", "migrate_legacy"]

LABEL_SET = "legacy"

FLUSH_EVERY = 64
"""Batches between two writes of labels and journal."""


@dataclass
class MigrationReport:
    """Counts of a run; `rejected` has ``{"batch", "rows", "reason"}`` for what was refused."""

    source: str
    group: str
    coding: str
    dry_run: bool
    symbols: dict[str, Counter[str]] = field(default_factory=dict)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    @property
    def totals(self) -> Counter[str]:
        """Counts over all symbols."""
        return sum(self.symbols.values(), Counter())

    def rows(self) -> list[dict[str, Any]]:
        """One row per symbol."""
        names = ("batches", "already", "read", "migrated", "duplicates", "rejected", "labelled")
        return [
            {"symbol": symbol, **{name: counts[name] for name in names}}
            for symbol, counts in self.symbols.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """For the report file, the command and the page."""
        totals = self.totals
        names = ("batches", "already", "read", "migrated", "duplicates", "rejected", "labelled")
        return {
            "source": self.source,
            "group": self.group,
            "coding": self.coding,
            "dry_run": self.dry_run,
            **{name: totals[name] for name in names},
            "symbols": self.rows(),
            "reasons": self.rejected,
        }


def migrate_legacy(
    source: str | Path,
    store: FeatureStore,
    *,
    group: str = GROUP,
    coding: str = "-1/0/1",
    symbols: tuple[str, ...] = (),
    dry_run: bool = False,
    tell: Callable[[Progress], None] | None = None,
) -> MigrationReport:
    """Migrate all batches below a folder.

    Parameters
    ----------
    source : str or Path
        ``data/ml_training``.
    store : FeatureStore
        Rows go to its `group`; the label set, the journal and the report lie in its folder.
    group, coding : str
    symbols : tuple of str
        Default: all.
    dry_run : bool
        Read and check everything, write nothing.
    tell : callable, optional
        Told of each batch.

    Returns
    -------
    MigrationReport
        Also ``metadata/migrations/legacy-<group>.json`` in the store, unless `dry_run`.

    Raises
    ------
    UsageError
        No batch is there, or a folder's manifest declares another coding.
    """
    batches = find_batches(source, symbols)
    if not batches:
        raise UsageError(
            f"There is no batch in `{source}`; expected {{SYM}}/features/YYYY-MM-DD_batch_NNNN.npy."
        )
    for folder in {batch.symbol_folder for batch in batches}:
        check_coding(folder, coding)
    report = MigrationReport(str(source), group, coding, dry_run)
    folder = store.root / "metadata" / "migrations"
    migration = _Migration(store, _Journal(folder / f"legacy-{group}.jsonl"), report)
    for symbol, ours in groupby(enumerate(batches, 1), key=lambda pair: pair[1].symbol):
        counts = report.symbols.setdefault(symbol, Counter())
        for done, batch in ours:
            line = migration.take(batch, counts)
            if tell is not None:
                tell(Progress("migrate", done, len(batches), len(report.rejected), f"{batch.id}: {line}"))
        migration.flush()
    if not dry_run:
        write_bytes_atomic(folder / f"legacy-{group}.json", json_bytes(report.to_json()))
    return report


class _Journal:
    """Hashes of batches that are in the store with their labels, one JSON object per line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]  # what follows was cut off by a crash, and is done again
        self.known = {json.loads(line)["key"] for line in whole.splitlines()}
        self._whole = len(whole.encode())

    def add(self, entries: Sequence[dict[str, Any]]) -> None:
        """Append, and flush to the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.truncate(self._whole)
            file.write("".join(json.dumps(entry) + "\n" for entry in entries).encode())
            file.flush()
            os.fsync(file.fileno())
            self._whole = file.tell()
        self.known.update(entry["key"] for entry in entries)


class _Migration:
    """The run: rows go at once, labels and journal together every few batches."""

    def __init__(self, store: FeatureStore, journal: _Journal, report: MigrationReport) -> None:
        self.table, self.sets = store.table(report.group), store.label_sets
        self.journal, self.report = journal, report
        self._labels: list[pl.DataFrame] = []
        self._entries: list[dict[str, Any]] = []

    def take(self, files: BatchFiles, counts: Counter[str]) -> str:
        """Migrate one batch; what became of it, for the line that is shown."""
        counts["batches"] += 1
        content = batch_hash(files)
        key = f"{content}:{self.report.coding}"
        if key in self.journal.known:
            counts["already"] += 1
            return "✓ there already"
        try:
            batch = read_batch(files, self.report.coding)
        except InputError as error:
            counts["rejected_batches"] += 1
            self.report.rejected.append({"batch": files.id, "rows": None, "reason": str(error)})
            return f"✗ {error}"
        return self._write(files, batch, key, content, counts)

    def _write(self, files: BatchFiles, batch: Batch, key: str, content: str, counts: Counter[str]) -> str:
        counts["read"] += batch.read
        counts["rejected"] += len(batch.rejected)
        counts["labelled"] += len(batch.labels)
        self.report.rejected += [
            {"batch": files.id, "rows": 1, "reason": reason} for reason in batch.rejected
        ]
        if self.report.dry_run:
            counts["migrated"] += len(batch.rows)
            counts["duplicates"] += batch.duplicates
            return f"✓ {len(batch.rows)} samples (dry run)"
        written = self.table.append(batch.rows, batch=f"legacy-{content}")
        counts["migrated"] += written.rows
        counts["duplicates"] += batch.duplicates + written.duplicates
        self._labels.append(batch.labels)
        self._entries.append({"key": key, "batch": files.id, "rows": len(batch.rows)})
        if len(self._entries) >= FLUSH_EVERY:
            self.flush()
        return f"✓ {written.rows} samples"

    def flush(self) -> None:
        """Write the labels so far, then say so in the journal."""
        import polars as pl

        if not self._entries:
            return
        labels = pl.concat(self._labels)
        if len(labels):
            unique = labels.unique(["symbol", "timestamp"], keep="last", maintain_order=True)
            record = {
                "name": LABEL_SET,
                "group": self.report.group,
                "parameters": {"coding": self.report.coding},
            }
            record["schema"] = {"id": SCHEMA.id, "sha256": SCHEMA.sha256}
            record["sources"] = {"folder": self.report.source}
            self.sets.write(LABEL_SET, unique, record, footer=SCHEMA.footer)
        self.journal.add(self._entries)
        self._labels, self._entries = [], []
