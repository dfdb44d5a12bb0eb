"""The transaction log of a table: Delta Lake's protocol, with files that this package writes itself.

Every change of a table is one commit that adds and removes files. All writers of a table take part in one *app
transaction*, ``earmark.writer``: Delta refuses the commit of a writer that has not seen the newest one, whatever
storage lies below. What a writer decided from the table, above all which keys are new, therefore still holds when
its commit succeeds; if it fails, it looks again. A batch that bears a name leaves it as an app transaction of its
own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from earmark.errors import EarmarkError

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

__all__ = [
    "AddedFile",
    "CommitConflictError",
    "active_files",
    "commit",
    "committed_batch",
    "create",
    "open_table",
]

CHECKPOINT_INTERVAL = 32
"""Commits between two checkpoints: a reader parses at most so many JSON files."""

BATCHES_REMEMBERED = "interval 30 days"
"""How long the log knows the names of batches; keys are known for ever."""

WRITER = "earmark.writer"


class CommitConflictError(EarmarkError):
    """Somebody else committed first; look at the table again and retry."""


@dataclass(frozen=True)
class AddedFile:
    """A file of the table, path relative to it."""

    path: str
    size: int
    date: str
    rows: int
    low: Mapping[str, Any]
    high: Mapping[str, Any]
    sha256: str = ""


def open_table(
    uri: str, storage_options: Mapping[str, str] | None, version: int | str | None = None
) -> DeltaTable | None:
    """The table at `uri`, or None where there is none."""
    from deltalake import DeltaTable
    from deltalake.exceptions import TableNotFoundError

    options = dict(storage_options) if storage_options else None
    try:
        table = DeltaTable(uri, storage_options=options)
    except TableNotFoundError:
        return None
    if version is not None:
        table.load_as_version(version)
    return table


def create(
    uri: str, schema: pl.Schema, description: Mapping[str, str], storage_options: Mapping[str, str] | None
) -> DeltaTable:
    """Make an empty table; where another writer was faster, its table."""
    import polars as pl
    from deltalake import DeltaTable, Schema
    from deltalake.exceptions import DeltaError

    columns = pl.DataFrame(schema=pl.Schema({**schema, "date": pl.String()}))
    try:
        DeltaTable.create(
            uri,
            schema=Schema.from_arrow(columns.to_arrow().schema),
            partition_by=["date"],
            description=json.dumps(dict(description)),
            configuration={
                "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
                "delta.setTransactionRetentionDuration": BATCHES_REMEMBERED,
            },
            storage_options=dict(storage_options) if storage_options else None,
        )
    except DeltaError:
        table = open_table(uri, storage_options)
        if table is None:
            raise
        return table
    table = open_table(uri, storage_options)
    assert table is not None
    return table


def active_files(table: DeltaTable) -> pl.DataFrame:
    """Files of this version: path, size_bytes, num_records, date, and the ``min.*`` and ``max.*`` of the keys."""
    import polars as pl
    import pyarrow as pa

    files = pl.DataFrame(pa.table(table.get_add_actions(flatten=True)))
    return files.rename({"partition.date": "date"}).drop("modification_time")


def committed_batch(table: DeltaTable, batch: str) -> bool:
    """Whether a batch of this name is in the table."""
    return table.transaction_version(_app_id(batch)) is not None


def commit(
    table: DeltaTable,
    added: Sequence[AddedFile],
    *,
    removed: Iterable[tuple[str, str]] = (),
    batch: str | None = None,
    rearranged: bool = False,
    note: str = "",
) -> None:
    """Add and remove files in one step, and load the new version.

    Parameters
    ----------
    table : DeltaTable
        As it was when the change was decided.
    added : sequence of AddedFile
    removed : iterable of (path, date)
    batch : str, optional
    rearranged : bool
        The same rows in other files: followers of the table have nothing to read.
    note : str
        What happened, for the history.

    Raises
    ------
    CommitConflictError
        The table has a newer version by another writer.
    """
    from deltalake.exceptions import CommitFailedError, DeltaError
    from deltalake.transaction import CommitProperties, RemoveAction, Transaction

    now = time.time_ns() // 1_000_000
    names = [WRITER] if batch is None else [WRITER, _app_id(batch)]
    properties = CommitProperties(
        custom_metadata=_record(added, batch, note),
        app_transactions=[Transaction(name, table.version() + 1, now) for name in names],
        max_commit_retries=0,
    )
    actions = [
        *(_add(file, now, rearranged) for file in added),
        *(RemoveAction(path, not rearranged, now, None, {"date": date}) for path, date in removed),
    ]
    try:
        table.create_write_transaction(
            actions, "append", table.schema(), partition_by=["date"], commit_properties=properties
        )
    except CommitFailedError as error:
        raise CommitConflictError(
            f"Another writer changed `{table.table_uri}` first: {error}. Retry."
        ) from error
    except DeltaError as error:
        if "version" in str(error).lower() and "exist" in str(error).lower():
            raise CommitConflictError(
                f"Another writer changed `{table.table_uri}` first: {error}. Retry."
            ) from error
        raise
    table.update_incremental()


def _app_id(batch: str) -> str:
    return f"earmark.batch.{batch}"


def _record(added: Sequence[AddedFile], batch: str | None, note: str) -> dict[str, Any]:
    files = [{"path": file.path, "rows": file.rows, "sha256": file.sha256} for file in added]
    return {"earmark": {"note": note, "batch": batch, "files": files}}


def _add(file: AddedFile, now_ms: int, rearranged: bool) -> Any:
    from deltalake.transaction import AddAction

    statistics = {
        "numRecords": file.rows,
        "minValues": dict(file.low),
        "maxValues": dict(file.high),
        "nullCount": dict.fromkeys(file.low, 0),
    }
    return AddAction(
        file.path, file.size, {"date": file.date}, now_ms, not rearranged, json.dumps(statistics)
    )
