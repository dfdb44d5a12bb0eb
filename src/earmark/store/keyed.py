"""A table of rows with a key and a time, partitioned by UTC day, on Delta Lake.

Rules
-----
* A row is there once: a key that the table has, or a batch whose name it has, is not written again. Of rows that
  repeat a key within one call the last is taken.
* A row lies under ``date=YYYY-MM-DD/``, the UTC day of its own time, in a file of its symbol alone.
* A change is one commit, whole or absent. A file that no commit names is not part of the table.
* Several processes may write; see `earmark.store.delta_log`.
* A file that is gone, cut off or changed is set aside and reported; the rest is read.
* Files that somebody else put into a partition are taken in when the table is read, if their columns fit; see
  `earmark.store.adoption`.

Rows come back in the order of the key: by symbol, then time.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from earmark.errors import SchemaError, UsageError
from earmark.store import delta_log
from earmark.store.adoption import Adoption
from earmark.store.delta_log import AddedFile, CommitConflictError
from earmark.store.listing import commit_row, file_columns, holding, is_ordered
from earmark.store.part_files import COMPRESSION, encode
from earmark.store.prepare import DAY, REPEATED, prepared
from earmark.store.storage import Storage, storage_of
from earmark.store.times import EARLIEST_MS, Instant, range_ms

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

    from earmark.store.quarantine import SetAside
    from earmark.store.schema import TableSchema

__all__ = ["KeyedTable", "Written"]

log = logging.getLogger(__name__)

TRIES = 200
UPKEEP_EVERY = 64
"""Commits between two compactions."""
MANY_FILES = 16
"""Files of one symbol and day that compaction on the way puts together."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Written:
    """What `append` did: rows written, rows that were there already, files made."""

    rows: int
    duplicates: int
    files: tuple[str, ...]


class KeyedTable:
    """A table at a local path or URI.

    Parameters
    ----------
    uri : str or Path
        A folder, or a URI that Delta Lake knows (``s3://``, ``gs://``, ``az://``).
    key : tuple of str
        The first names who the row is of (a file holds one such value), the last is `time_column`.
    time_column : str
        int64 ms after writing; numbers and datetimes are taken as `earmark.store.times` says.
    schema : TableSchema, optional
        Checked on writing; without it the first rows written decide on columns and types.
    storage_options : mapping, optional
        For a URI, as Delta Lake takes them; on S3 commits are made safe by conditional puts.
    prefix : str
        How names of files begin.
    compression : str
        ``zstd`` or ``snappy``.
    adopted : mapping, optional
        Values of columns that files from elsewhere lack, e.g. ``{"origin": "imported"}``.
    """

    def __init__(
        self,
        uri: str | Path,
        *,
        key: tuple[str, ...] = ("symbol", "timestamp"),
        time_column: str = "timestamp",
        schema: TableSchema | None = None,
        storage_options: Mapping[str, str] | None = None,
        prefix: str = "features",
        compression: str = COMPRESSION,
        adopted: Mapping[str, Any] | None = None,
        _version: int | str | None = None,
    ) -> None:
        if len(key) != 2 or key[1] != time_column:
            raise UsageError(
                f"The key {key} does not end with the time `{time_column}`; expected (symbol, time)."
            )
        self.storage: Storage = storage_of(uri, storage_options)
        self.key = key
        self.time_column = time_column
        self.schema = schema
        self.prefix = prefix
        self.compression = compression
        self.adopted = dict(adopted or {})
        self._version = _version
        self._table: DeltaTable | None = None
        self._files: tuple[int, pl.DataFrame] | None = None
        self._lock = threading.RLock()
        self._dtypes: pl.Schema | None = None
        self._held = False
        self._upkept = 0
        self._adoption = Adoption(self)

    @property
    def uri(self) -> str:
        """Where the table is."""
        return self.storage.uri

    @property
    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self._opened() is not None

    @property
    def version(self) -> int | None:
        """Number of the newest commit; None without a table."""
        table = self._opened()
        return None if table is None else table.version()

    def append(
        self, rows: pl.DataFrame, *, batch: str | None = None, earliest_ms: int = EARLIEST_MS
    ) -> Written:
        """Write rows whose keys are not there yet.

        Parameters
        ----------
        rows : polars.DataFrame
        batch : str, optional
            A name for these rows. A batch of this name that was written within 30 days is not written again.
        earliest_ms : int
            Rows before it are refused.

        Returns
        -------
        Written

        Raises
        ------
        SchemaError
            Columns or types do not fit.
        UsageError
            A time or symbol is missing or impossible.
        """
        if not rows.height:
            return Written(0, 0, ())
        with self._lock:
            with self._holding_version():
                rows = prepared(self, rows, earliest_ms=earliest_ms)
            written = self._retrying(lambda: self._append_once(rows, batch))
            self._upkeep()
        return written

    def scan(
        self,
        start: Instant | None = None,
        end: Instant | None = None,
        symbols: Sequence[str] | str | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.LazyFrame:
        """Rows of a range, by symbol and time; only files that can hold such rows are opened.

        Parameters
        ----------
        start, end : date, datetime, ISO text or number, optional
            Both included; a date is the whole UTC day.
        symbols : sequence of str, optional
        columns : sequence of str, optional
            In this order; default all.
        """
        import polars as pl

        first, last = range_ms(start, end)
        self.adopt(first, last)
        wanted = [symbols] if isinstance(symbols, str) else None if symbols is None else list(symbols)
        files = self._readable(self.select_files(first, last, wanted))
        self._require(columns)
        names = self.columns if columns is None else list(columns)
        if not files.height:
            return pl.LazyFrame(schema={name: self.dtypes[name] for name in names})
        symbol, at = pl.col(self.key[0]), pl.col(self.time_column)
        rows = self._lazy(files)
        rows = rows if wanted is None else rows.filter(symbol.is_in(wanted))
        rows = rows if first is None else rows.filter(at >= first)
        rows = rows if last is None else rows.filter(at <= last)
        return (rows if is_ordered(files, self.key) else rows.sort(self.key)).select(names)

    def adopt(self, first_ms: int | None = None, last_ms: int | None = None) -> dict[str, str]:
        """Take in files that somebody else put into partitions; path -> why not, for those that do not fit."""
        if self.storage.folder is None or self._version is not None:
            return {}
        return self._adoption.run(self.storage.folder, first_ms, last_ms)

    def at(self, version_or_time: int | str | datetime) -> KeyedTable:
        """The table as it was at a version or time, for reading."""
        stamp = version_or_time.isoformat() if isinstance(version_or_time, datetime) else version_or_time
        view = KeyedTable(
            self.uri,
            key=self.key,
            time_column=self.time_column,
            schema=self.schema,
            storage_options=self.storage.options,
            prefix=self.prefix,
            _version=stamp,
        )
        if not view.exists:
            raise UsageError(
                f"There is no table at `{self.uri}`, so none of version {stamp}. Write to it first."
            )
        return view

    def files(self) -> pl.DataFrame:
        """Files of the newest version: path, date, symbol range, time range, num_records, size_bytes."""
        import polars as pl

        table = self._opened()
        if table is None:
            return pl.DataFrame(schema=file_columns(self.key))
        if self._files is None or self._files[0] != table.version():
            listed = delta_log.active_files(table)
            listed = listed if listed.height else pl.DataFrame(schema=file_columns(self.key))
            self._files = (
                table.version(),
                listed.sort("date", f"min.{self.key[0]}", f"min.{self.time_column}"),
            )
        return self._files[1]

    def versions(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Commits, newest first: version, time, operation, note, batch, rows and files."""
        table = self._opened()
        return [] if table is None else [commit_row(entry) for entry in table.history(limit)]

    def restore(self, version: int | str | datetime) -> None:
        """Make an earlier version the newest one; the later ones stay in the history."""
        table = self._writable()
        table.restore(version)
        self._table = None

    def compact(self, start: Instant | None = None, end: Instant | None = None, *, min_files: int = 2) -> int:
        """Put the files of a symbol and day together where there are `min_files`; returns how many were replaced."""
        from earmark.store.upkeep import compact

        with self._lock:
            return compact(self, *range_ms(start, end), min_files=min_files)

    def vacuum(self, *, retention_hours: float = 168, dry_run: bool = True) -> list[str]:
        """Delete files that no version of the last `retention_hours` needs, those of killed writers included.

        Below 168 h a reader of an old version, or a writer that has not committed yet, may lose its files.
        """
        from earmark.store.upkeep import vacuum

        return vacuum(self, retention_hours=retention_hours, dry_run=dry_run)

    def set_aside(self) -> list[SetAside]:
        """Files that could not be read, oldest first."""
        from earmark.store.quarantine import set_aside_files

        return [] if self.storage.folder is None else set_aside_files(self.storage.folder)

    @property
    def dtypes(self) -> pl.Schema:
        """Columns and types, in order; those of the schema where nothing was written."""
        import polars as pl
        import pyarrow as pa

        table = self._opened()
        if table is None:
            columns = () if self.schema is None else self.schema.stored
            return pl.Schema({column.name: column.polars_dtype for column in columns})
        if self._dtypes is not None:
            return self._dtypes
        arrow = pa.schema(table.schema().to_arrow())
        found = pl.DataFrame(arrow.empty_table()).schema
        # Columns of a table never change: a new schema is a new version of the schema, and a new table.
        self._dtypes = pl.Schema({name: dtype for name, dtype in found.items() if name != "date"})
        return self._dtypes

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in order."""
        return self.dtypes.names()

    def select_files(
        self, first_ms: int | None, last_ms: int | None, symbols: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """Those of `files` that can hold rows of a range, both ends included, and of these symbols."""
        return holding(self.files(), self.key, first_ms, last_ms, symbols)

    # -- writing -------------------------------------------------------------------------------------------------

    def _append_once(self, rows: pl.DataFrame, batch: str | None) -> Written:
        import polars as pl

        repeated = int(rows[REPEATED][0])
        table = self._opened()
        if table is None:
            table = self._created(rows.drop(DAY, REPEATED).schema)
        if batch is not None and delta_log.committed_batch(table, batch):
            return Written(0, rows.height + repeated, ())
        new = self._without_known(rows)
        if not new.height and batch is None:
            return Written(0, rows.height + repeated, ())
        parts = [
            self._write_part(part.drop(DAY, REPEATED), str(date))
            for (date, _), part in new.group_by([DAY, pl.col(self.key[0])], maintain_order=True)
        ]
        self.storage.sync({part.path.rpartition("/")[0] for part in parts})
        delta_log.commit(table, parts, batch=batch, note="append")
        return Written(new.height, rows.height - new.height + repeated, tuple(part.path for part in parts))

    def _write_part(self, part: pl.DataFrame, date: str) -> AddedFile:
        symbol, first, last = part[self.key[0]][0], part[self.time_column][0], part[self.time_column][-1]
        metadata = {} if self.schema is None else self.schema.footer
        file = encode(
            part,
            prefix=self.prefix,
            symbol=symbol,
            first_ms=first,
            last_ms=last,
            metadata=metadata,
            compression=self.compression,
        )
        path = f"date={date}/{file.name}"
        self.storage.write(path, file.data)
        low, high = (
            {self.key[0]: symbol, self.time_column: first},
            {self.key[0]: symbol, self.time_column: last},
        )
        return AddedFile(path, len(file.data), date, part.height, low, high, file.sha256)

    def _without_known(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows whose keys the table lacks; files that cannot hold them are not opened."""
        import polars as pl

        at = self.time_column
        symbols = rows[self.key[0]].unique().to_list()
        files = self.select_files(rows[at].min(), rows[at].max(), symbols)  # type: ignore[arg-type]
        spans = rows.group_by(self.key[0]).agg(
            pl.col(at).min().alias("first"), pl.col(at).max().alias("last")
        )
        files = files.join(spans, left_on=f"min.{self.key[0]}", right_on=self.key[0], how="left").filter(
            pl.col("first").is_null()
            | ((pl.col(f"max.{at}") >= pl.col("first")) & (pl.col(f"min.{at}") <= pl.col("last")))
        )
        files = self._readable(files)
        if not files.height:
            return rows
        return rows.join(
            self._lazy(files).select(self.key).collect(), on=self.key, how="anti", maintain_order="left"
        )

    def _created(self, schema: pl.Schema) -> DeltaTable:
        description = {"key": ",".join(self.key), "time": self.time_column}
        description |= {} if self.schema is None else self.schema.footer
        self.storage.make()
        self._table = delta_log.create(self.uri, schema, description, self.storage.options)
        return self._table

    def _retrying(self, attempt: Callable[[], Result]) -> Result:
        """The result of `attempt`, made anew as long as other writers are faster."""
        for number in range(TRIES):
            try:
                with self._holding_version():
                    return attempt()
            except CommitConflictError:
                time.sleep(random.uniform(0, min(0.2, 0.005 * 2 ** min(number, 6))))
        with self._holding_version():
            return attempt()

    @contextmanager
    def _holding_version(self) -> Iterator[None]:
        """Look at one version from deciding on a change to committing it: what came between must be a conflict."""
        with self._lock:
            self._opened()
            self._held = True
            try:
                yield
            finally:
                self._held = False

    def _upkeep(self) -> None:
        """Compact on the way, so that neither the log nor the folders grow with the number of commits."""
        version = self.version or 0
        if version - self._upkept >= UPKEEP_EVERY or version % UPKEEP_EVERY == 0:
            self._upkept = version
            self.compact(min_files=MANY_FILES)

    # -- reading -------------------------------------------------------------------------------------------------

    def _opened(self) -> DeltaTable | None:
        """The table at its newest version, or at the one this view is of."""
        with self._lock:
            if self._table is None:
                self._table = delta_log.open_table(self.uri, self.storage.options, self._version)
            elif self._version is None and not self._held:
                self._table.update_incremental()
            return self._table

    def _writable(self) -> DeltaTable:
        table = self._opened()
        if table is None or self._version is not None:
            raise UsageError(
                f"`{self.uri}` is {'a view of an old version' if table else 'no table yet'}; expected a table that can "
                "be changed. Open it without a version, or write to it first."
            )
        return table

    def _lazy(self, files: pl.DataFrame) -> pl.LazyFrame:
        import polars as pl

        sources = [self.storage.source(path) for path in files["path"]]
        return pl.scan_parquet(
            sources,
            schema=self.dtypes,
            hive_partitioning=False,
            missing_columns="insert",
            extra_columns="ignore",
            glob=False,
            storage_options=self.storage.reading_options,
        )

    def _readable(self, files: pl.DataFrame) -> pl.DataFrame:
        """`files` without those that are gone or cut off, which are set aside."""
        bad = {
            path: reason
            for path, size in files.select("path", "size_bytes").iter_rows()
            if (reason := self.storage.fault(path, size)) is not None
        }
        if not bad:
            return files
        self.quarantine(bad)
        return files.filter(~files["path"].is_in(list(bad)))

    def quarantine(self, bad: Mapping[str, str]) -> None:
        """Take files (path -> reason) out of the table and set them aside; nothing is deleted."""
        from earmark.store.quarantine import set_aside

        rows = dict(self.files().select("path", "num_records").iter_rows())
        for path, reason in bad.items():
            log.warning(
                "`%s` of `%s` is set aside: %s; %d rows are missing", path, self.uri, reason, rows[path]
            )
        if self._version is None:
            with self._lock:
                self._retrying(lambda: self._remove(bad))
        if self.storage.folder is not None:
            for path, reason in bad.items():
                set_aside(self.storage.folder, path, rows=rows[path], reason=reason)

    def _remove(self, bad: Mapping[str, str]) -> None:
        table = self._writable()
        there = set(self.files()["path"])
        removed = [(path, path.split("/")[0].removeprefix("date=")) for path in bad if path in there]
        if removed:
            delta_log.commit(table, (), removed=removed, note="set aside")

    def _require(self, columns: Sequence[str] | None) -> None:
        unknown = [name for name in columns or () if name not in self.dtypes]
        if unknown and self.exists:
            raise SchemaError(
                f"`{self.uri}` has no column {', '.join(map(repr, unknown))}. Expected some of its {len(self.columns)} "
                f"columns: {', '.join(self.columns[:8])}, ... Correct the names."
            )
