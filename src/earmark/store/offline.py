"""The feature store: groups of rows by date, joined with labels, for reading by symbol, date and column.

::

    <root>/offline/<group>/date=YYYY-MM-DD/features_{SYM}-{first}-{last}-{uuid}.parquet
    <root>/online/        newest vectors, see `earmark.store.online`
    <root>/metadata/      what is known of each feature, see `earmark.store.feature_registry`
    <root>/labels/        label sets, see `earmark.store.label_sets`

Times are int64 ms since 1970 UTC. A read gives rows by symbol and time; with labels it gives the *joined view*: key,
features, ``future_direction_*``, ``future_movement_*``, then `LAST_COLUMNS`, without the columns of the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from earmark.errors import InputError, UsageError
from earmark.store.feature_registry import FeatureRegistry
from earmark.store.keyed import KeyedTable, Written
from earmark.store.label_sets import LabelSets
from earmark.store.online import TTL_S, OnlineStore
from earmark.store.storage import storage_of
from earmark.store.times import EARLIEST_MS, RECORDED_SINCE_MS, Instant, milliseconds

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from earmark.store.schema import TableSchema

__all__ = ["DEFAULT_ROOT", "FALL_BACK_GROUPS", "FeatureStore", "get_feature_store"]

DEFAULT_ROOT = Path("data/feature_store")

FALL_BACK_GROUPS = ("ml_features", "orderbook_features", "candle_features", "combined_features")
"""Groups of earlier stores, tried in this order where the wanted one has no rows."""

LAST_COLUMNS = ("current_mid_price", "signal_type", "signal_confidence", "signal_strength")
"""End of the joined view."""

RECORD_COLUMNS = ("current_imbalance", "spread", "sample_time_ms", "recv_ns", "quality", "origin")
"""Columns of files that the joined view leaves out."""

DEFAULT_HORIZONS_S = (10, 30, 60)
"""Horizons whose columns the joined view has, empty, where nothing is labelled."""

As = Literal["polars", "lazy", "pandas", "arrow"]


class FeatureStore:
    """All groups below one root.

    Parameters
    ----------
    root : str or Path
        A folder, or a URI for the groups (online store, registry and label sets need a folder).
    schemas : mapping of str to TableSchema, optional
        Group -> schema, checked on writing.
    storage_options : mapping, optional
        For a URI, as Delta Lake takes them.
    """

    def __init__(
        self,
        root: str | Path = DEFAULT_ROOT,
        *,
        schemas: Mapping[str, TableSchema] | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self._storage = storage_of(root, storage_options)
        self.schemas = dict(schemas or {})
        self._tables: dict[str, KeyedTable] = {}

    @property
    def root(self) -> Path:
        """The folder of the store."""
        if self._storage.folder is None:
            raise UsageError(
                f"The store is at `{self._storage.uri}`; expected a folder for this. Open a local store for online "
                "vectors, the registry and label sets."
            )
        return self._storage.folder

    @property
    def online(self) -> OnlineStore:
        """Newest vectors by entity."""
        return OnlineStore(self.root / "online")

    @property
    def registry(self) -> FeatureRegistry:
        """What is known of each feature."""
        return FeatureRegistry(self.root / "metadata")

    @property
    def label_sets(self) -> LabelSets:
        """The label sets."""
        return LabelSets(self.root)

    def groups(self) -> list[str]:
        """Groups that exist, in a local store."""
        folder = self.root / "offline"
        return sorted(p.name for p in folder.glob("*") if p.is_dir() and any(p.glob("*")))

    def table(self, group: str) -> KeyedTable:
        """The table of a group; the same object each time."""
        if not group.replace("_", "").isalnum():
            raise UsageError(f"`{group}` is no name of a group. Expected letters, digits and `_`. Rename it.")
        if group not in self._tables:
            self._tables[group] = KeyedTable(
                f"{self._storage.uri}/offline/{group}",
                schema=self.schemas.get(group),
                storage_options=self._storage.options,
                adopted={"origin": "imported"},
            )
        return self._tables[group]

    def write_offline_features(
        self,
        group: str,
        df: Any,
        timestamp_column: str = "timestamp",
        *,
        batch: str | None = None,
        earliest_ms: int = EARLIEST_MS,
    ) -> Written:
        """Write rows whose (symbol, timestamp) is not there yet.

        Parameters
        ----------
        group : str
        df : polars, pandas or arrow table
        timestamp_column : str
            Stored as ``timestamp``; numbers above 1e10 are ms, others s.
        batch : str, optional
            See `KeyedTable.append`.
        earliest_ms : int
            Rows before it are refused; `RECORDED_SINCE_MS` for a recorded market.

        Raises
        ------
        UsageError
            A time is missing, zero or too early, or labels are given: they belong in a label set.
        SchemaError
            Columns do not fit.
        """
        rows = _without_label_stub(_as_polars(df))
        if timestamp_column != "timestamp":
            if timestamp_column not in rows.columns:
                raise UsageError(
                    f"There is no column `{timestamp_column}`. Expected the times in it. Columns: {rows.columns[:8]}."
                )
            rows = rows.drop("timestamp", strict=False).rename({timestamp_column: "timestamp"})
        return self.table(group).append(rows, batch=batch, earliest_ms=earliest_ms)

    def read_offline_features(
        self,
        group: str,
        start_date: Instant | None = None,
        end_date: Instant | None = None,
        columns: Sequence[str] | None = None,
        symbols: Sequence[str] | str | None = None,
        labels: str | None = "default",
        *,
        as_: As = "polars",
    ) -> Any:
        """Rows of a range, both ends included, by symbol and time, each key once.

        Parameters
        ----------
        group : str
        start_date, end_date : date, datetime, ISO text or number, optional
            A date is the whole UTC day.
        columns : sequence of str, optional
            In this order.
        symbols : sequence of str, optional
        labels : str or None
            A label set by id or by the name of its rule; ``default`` is the newest one of the rule ``fixed``, else the
            newest, and gives empty columns where there is none. None: the columns of the files, without labels.
        as_ : {"polars", "lazy", "pandas", "arrow"}

        Returns
        -------
        polars.DataFrame, polars.LazyFrame, pandas.DataFrame or pyarrow.Table
        """
        table = self.table(group)
        rows = table.scan(start_date, end_date, symbols)
        if not table.exists and not table.dtypes:
            return _delivered(rows, as_)
        if labels is not None:
            rows = self._joined(rows, labels, start_date, end_date, symbols)
        return _delivered(rows if columns is None else _chosen(rows, columns, table.uri), as_)

    def get_training_data(
        self,
        symbols: Sequence[str] | str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        group: str = "training_features",
        *,
        as_: As = "polars",
    ) -> Any:
        """Rows with labels of `group`, or of the first of `FALL_BACK_GROUPS` that has any.

        Raises
        ------
        InputError
            None has.
        """
        for name in (group, *FALL_BACK_GROUPS):
            table = self.table(name)
            if not table.scan(start, end, symbols).limit(1).collect().is_empty():
                return self.read_offline_features(name, start, end, symbols=symbols, as_=as_)
        of = "all symbols" if symbols is None else symbols if isinstance(symbols, str) else ", ".join(symbols)
        raise InputError(
            f"No training data available in `{self._storage.uri}` for {of}, {start or 'the beginning'} .. "
            f"{end or 'now'}. Expected rows in the group {group}. Run: earmark collect market"
        )

    def as_of(
        self,
        left: Any,
        group: str,
        columns: Sequence[str],
        tolerance_s: float,
        *,
        as_: As = "polars",
    ) -> Any:
        """Point-in-time join: to each row the newest of `group` that is not later and at most `tolerance_s` older.

        Parameters
        ----------
        left : table
            With ``symbol`` and ``timestamp``.
        group : str
        columns : sequence of str
            Of the group; null where no row is near enough.
        tolerance_s : float

        Returns
        -------
        table
            The rows of `left` in their order, with `columns` and ``{group}_timestamp``, the time of the row used.
        """
        import polars as pl

        rows = _as_polars(left)
        rows = rows.with_columns(
            milliseconds(rows["timestamp"], earliest_ms=RECORDED_SINCE_MS).alias("timestamp")
        ).with_row_index("_row")
        if rows.is_empty():
            start = end = None
        else:
            start, end = rows["timestamp"].min() - int(tolerance_s * 1000), rows["timestamp"].max()  # type: ignore[operator]
        used = f"{group}_timestamp"
        found = self.table(group).scan(start, end, rows["symbol"].unique().to_list())  # type: ignore[arg-type]
        right = found.select("symbol", "timestamp", *columns).with_columns(pl.col("timestamp").alias(used))
        joined = (
            rows.lazy()
            .sort("timestamp", maintain_order=True)
            .join_asof(
                right.sort("timestamp"),
                on="timestamp",
                by="symbol",
                strategy="backward",
                tolerance=int(tolerance_s * 1000),
                check_sortedness=False,
            )
            .sort("_row")
            .drop("_row")
        )
        return _delivered(joined, as_)

    def write_online_features(self, entity: str, array: np.ndarray[Any, Any], ttl: float = TTL_S) -> None:
        """Keep the newest vector of an entity for `ttl` seconds."""
        self.online.write(entity, array, ttl)

    def read_online_features(self, entity: str) -> np.ndarray[Any, Any] | None:
        """The vector, or None where there is none or it is expired."""
        return self.online.read(entity)

    def clear_online_cache(self, entity: str | None = None) -> int:
        """Remove one entity, or all; how many there were."""
        return self.online.clear(entity)

    def labels(
        self,
        labels: str = "default",
        start: Instant | None = None,
        end: Instant | None = None,
        symbols: Sequence[str] | str | None = None,
    ) -> pl.LazyFrame | None:
        """Rows of a label set; None where ``default`` finds none. See `read_offline_features`."""
        if self._storage.folder is None:
            return None
        sets = self.label_sets
        if labels == "default":
            records = sets.list()
            fixed = [record for record in records if record.get("name") == "fixed"]
            if not records:
                return None
            found = str((fixed or records)[0]["id"])
        else:
            found = sets.find(labels)
        wanted = [symbols] if isinstance(symbols, str) else symbols
        return sets.scan(found, start=start, end=end, symbols=wanted)

    def _joined(
        self,
        rows: pl.LazyFrame,
        labels: str,
        start: Instant | None,
        end: Instant | None,
        symbols: Sequence[str] | str | None,
    ) -> pl.LazyFrame:
        names = rows.collect_schema().names()
        features = [name for name in names if name not in (*LAST_COLUMNS, *RECORD_COLUMNS)]
        last = [name for name in LAST_COLUMNS if name in names]
        found = self.labels(labels, start, end, symbols)
        if found is None:
            import polars as pl

            empty = [pl.lit(None, pl.Int8).alias(f"future_direction_{h}s") for h in DEFAULT_HORIZONS_S]
            empty += [pl.lit(None, pl.Float64).alias(f"future_movement_{h}s") for h in DEFAULT_HORIZONS_S]
            return rows.select(*features, *empty, *last)
        columns = found.collect_schema().names()
        wanted = [
            name
            for kind in ("future_direction_", "future_movement_")
            for name in columns
            if name.startswith(kind)
        ]
        joined = rows.join(found, on=["symbol", "timestamp"], how="left", maintain_order="left")
        return joined.select(*features, *wanted, *last)


def get_feature_store(
    root: str | Path | None = None,
    *,
    schemas: Mapping[str, TableSchema] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> FeatureStore:
    """The store of the project: the nearest folder upward that has an ``earmark.toml``, else the working folder.

    Parameters
    ----------
    root : str or Path, optional
        Where the store is; a relative path starts at the project (default ``data/feature_store``).
    """
    if root is not None and "://" in str(root):
        return FeatureStore(root, schemas=schemas, storage_options=storage_options)
    here = Path.cwd()
    project = next((p for p in (here, *here.parents) if (p / "earmark.toml").is_file()), here)
    return FeatureStore(project / (root or DEFAULT_ROOT), schemas=schemas)


def _as_polars(table: Any) -> pl.DataFrame:
    import polars as pl

    if isinstance(table, pl.LazyFrame):
        return table.collect()
    return table if isinstance(table, pl.DataFrame) else pl.DataFrame(table)


def _without_label_stub(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows without the empty label columns of a sample."""
    stub = [name for name in rows.columns if name.startswith(("future_direction_", "future_movement_"))]
    filled = [name for name in stub if rows[name].null_count() < rows.height]
    if filled:
        raise UsageError(
            f"`{filled[0]}` holds labels; the files of features have none. Expected empty columns, or none. Write "
            "labels as a label set: earmark label market"
        )
    return rows.drop(stub)


def _chosen(rows: pl.LazyFrame, columns: Sequence[str], uri: str) -> pl.LazyFrame:
    from earmark.errors import SchemaError

    names = rows.collect_schema().names()
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise SchemaError(
            f"`{uri}` has no column {', '.join(map(repr, unknown))}. Expected some of {', '.join(names[:8])}, ... "
            "Correct the names; columns of the record are read with labels=None."
        )
    return rows.select(columns)


def _delivered(rows: pl.LazyFrame, as_: As) -> Any:
    if as_ == "lazy":
        return rows
    table = rows.collect()
    if as_ == "polars":
        return table
    if as_ == "arrow":
        return table.to_arrow()
    if as_ == "pandas":
        try:
            return table.to_pandas()
        except ModuleNotFoundError as error:
            raise UsageError(
                f"A pandas table needs the package `{error.name}`, which is not installed. Run: pip install pandas"
            ) from error
    raise UsageError(f"`{as_}` is no form of a table. Expected polars, lazy, pandas or arrow.")
