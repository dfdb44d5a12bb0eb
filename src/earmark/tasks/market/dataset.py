"""Rows of the feature store with their labels, as series that models train on.

What a model is given is decided here and nowhere else: the columns of a view, checked against the schema's allow-list,
raw as they are stored. Rows without a known label stay, as input of later windows, with class -1. A label counts as
known only if it was decided within the range that is loaded, so that no label of a training row was made with a price
of the sealed period, and so that a range gives the same series whenever it is loaded.

Two doors: `load_series` reads rows before the sealed period; `load_sealed_series` reads the sealed ones, against an
opening that is in the ledger.

Conventions: times are milliseconds since 1970 UTC, ranges include both ends; a movement is a fraction.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.data.time_seal import PeriodOpening, SealedPeriod
from earmark.data.windows import SeriesTable, Windows
from earmark.errors import SchemaError, SealError, UsageError

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable

__all__ = [
    "SeriesSource",
    "check_inputs",
    "load_sealed_series",
    "load_series",
    "movement_columns",
    "series_hash",
    "stored_span",
    "windows_hash",
    "write_windows",
]

IN_MEMORY_BYTES = 1 << 29
"""Features that take more than this are spooled to a file and mapped."""
PORTION = 512
"""Windows gathered at a time where all of them are written."""
DERIVED_VIEW = "v1_187"
V2_VIEW = "v2"


@dataclass(frozen=True)
class SeriesSource:
    """What is loaded, and from where.

    Attributes
    ----------
    store : Path
        Root of the feature store.
    group : str
    view : str
        ``v1_110``, ``v1_112``, ``v1_187`` or ``v2``.
    symbols : tuple of str
        Empty: all that are stored.
    label_set : str
    label_version : int
    horizon_s : int
    interval_ms : int
        Nominal distance of two rows, of the settings of the collection.
    allow_mixed_origin : bool
        Whether rows that were recorded and rows that were migrated may stand in one series.
    """

    store: Path
    group: str
    view: str
    symbols: tuple[str, ...]
    label_set: str
    label_version: int
    horizon_s: int
    interval_ms: int
    allow_mixed_origin: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view, in order."""
        from earmark.orderbook.views import view_columns

        return view_columns(self.view)

    @property
    def table(self) -> KeyedTable:
        """The stored rows; those of `v2` lie in a group beside."""
        from earmark.store.offline import FeatureStore
        from earmark.tasks.market.collect.samples import V2_GROUP_SUFFIX

        return FeatureStore(self.store).table(self.group + V2_GROUP_SUFFIX * (self.view == V2_VIEW))

    def to_json(self) -> dict[str, Any]:
        """Fields but the folder, which may move."""
        record = asdict(self)
        return {name: value for name, value in record.items() if name != "store"}


def check_inputs(columns: Sequence[str]) -> None:
    """Refuse columns that are not on the allow-list of inputs.

    Raises
    ------
    SchemaError
        A label, the future, the key or anything else that is not a feature is among them.
    """
    from earmark.orderbook.views import VIEWS

    allowed = {name for names in VIEWS.values() for name in names}
    wrong = [name for name in columns if name not in allowed]
    if wrong:
        future = [name for name in wrong if name.startswith(("future_", "label"))]
        what = f"{', '.join(future)} tell the future" if future else f"{', '.join(wrong)} are no features"
        raise SchemaError(
            f"{what}. Expected columns of the views {', '.join(VIEWS)} as inputs of a model. Leave them out."
        )


def movement_columns(horizon_s: int) -> dict[str, str]:
    """What a series takes from a label set: field of the series -> column."""
    return {
        "y": f"future_direction_{horizon_s}s",
        "movement": f"future_movement_{horizon_s}s",
        "label_end_ms": f"label_end_ms_{horizon_s}s",
    }


def stored_span(source: SeriesSource) -> tuple[int, int]:
    """First and last time of the stored rows of the source's symbols.

    Raises
    ------
    UsageError
        There are none.
    """
    import polars as pl

    table = source.table
    if table.exists:
        rows = table.scan(symbols=source.symbols or None, columns=("timestamp",))
        first, last = rows.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).collect().row(0)
        if first is not None:
            return int(first), int(last)
    raise UsageError(
        f"No training data available: group `{source.group}` of `{source.store}` has no rows of "
        f"{', '.join(source.symbols) or 'any symbol'}. Run: earmark collect market --symbols BTCUSDT"
    )


def load_series(
    source: SeriesSource,
    seal: SealedPeriod,
    *,
    start_ms: int | None = None,
    end_ms: int | None = None,
    columns: Sequence[str] | None = None,
    spool: Path | None = None,
) -> SeriesTable:
    """Rows before the sealed period, with the labels that were decided before it.

    Parameters
    ----------
    source : SeriesSource
    seal : SealedPeriod
        Of the data folder.
    start_ms, end_ms : int, optional
    columns : sequence of str, optional
        Of the view; default all.
    spool : Path, optional
        Folder for a large matrix; default the system's.

    Raises
    ------
    SealError
        `end_ms` lies in the sealed period, or nothing is sealed.
    SchemaError
        A column is no input.
    UsageError
        No rows, or rows of different origins.
    """
    bounds = seal.bounds
    if bounds is None:
        raise SealError(f"nothing is sealed in `{seal.folder}`. Run `earmark prepare market` first.")
    if end_ms is not None and end_ms >= bounds.first_ms:
        raise SealError(
            f"rows up to {end_ms} were asked for, and the sealed period begins at {bounds.first_ms}. Expected an "
            "earlier end; sealed rows are read by `earmark evaluate market --sealed` alone."
        )
    last = bounds.first_ms - 1 if end_ms is None else end_ms
    return _load(source, start_ms, last, columns or source.columns, spool)


def load_sealed_series(
    source: SeriesSource,
    opening: PeriodOpening,
    *,
    columns: Sequence[str] | None = None,
    spool: Path | None = None,
) -> SeriesTable:
    """Rows of the sealed period; parameters as in `load_series`."""
    if not isinstance(opening, PeriodOpening):
        raise SealError(
            f"{opening!r} is no opening of the sealed period. Expected one of `SealedPeriod.open`."
        )
    bounds = opening.bounds
    return _load(source, bounds.first_ms, bounds.last_ms, columns or source.columns, spool)


def series_hash(table: SeriesTable) -> str:
    """BLAKE2b-128 over all that a model may see of a series, 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((table.symbols, table.columns, table.interval_ms)).encode())
    for array in (table.symbol, table.time_ms, table.y, table.movement, table.label_end_ms, table.price):
        digest.update(np.ascontiguousarray(array).tobytes())
    for start in range(0, len(table), 1 << 16):
        digest.update(np.ascontiguousarray(table.X[start : start + (1 << 16)]).tobytes())
    return digest.hexdigest()


def windows_hash(windows: Windows) -> str:
    """BLAKE2b-128 over which rows are the windows of a part, 32 hexadecimal digits."""
    return hashlib.blake2b(windows.ends.tobytes() + bytes([windows.length % 256]), digest_size=16).hexdigest()


def _load(
    source: SeriesSource, start_ms: int | None, end_ms: int, columns: Sequence[str], spool: Path | None
) -> SeriesTable:
    check_inputs(columns)
    counts = _counts(source, start_ms, end_ms)
    n = sum(counts.values())
    if not n:
        raise UsageError(
            f"No training data available: group `{source.group}` has no rows from {start_ms or 'the beginning'} to "
            f"{end_ms} of {', '.join(source.symbols) or 'any symbol'}. Collect more, or widen the range."
        )
    X = _matrix(n, len(columns), spool)
    parts, start = [], 0
    for code, (symbol, height) in enumerate(counts.items()):
        frame = _joined(source, symbol, start_ms, end_ms, columns)
        X[start : start + height] = frame.select(columns).to_numpy(order="c")
        parts.append(_labels(frame, source.horizon_s, end_ms) | {"symbol": np.full(height, code, np.int32)})
        start += height
    fields = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return SeriesTable(
        symbols=tuple(counts), X=X, columns=tuple(columns), interval_ms=source.interval_ms, **fields
    )


def _counts(source: SeriesSource, start_ms: int | None, end_ms: int) -> dict[str, int]:
    """Rows of each symbol, by name; rows of one origin, unless more are allowed."""
    import polars as pl

    rows = source.table.scan(
        start_ms, end_ms, symbols=source.symbols or None, columns=("symbol", "timestamp", "origin")
    )
    counted = rows.group_by("symbol", "origin").len("rows").collect()
    origins = counted.group_by("origin").agg(pl.sum("rows")).sort("origin").rows()
    if len(origins) > 1 and not source.allow_mixed_origin:
        found = ", ".join(f"{rows} {origin or 'of unknown origin'}" for origin, rows in origins)
        raise UsageError(
            f"Group `{source.group}` mixes rows of different origins ({found}); expected one. Features of earlier "
            "programs are not those of today: train on one origin, or pass --allow-mixed-origin."
        )
    return dict(counted.group_by("symbol").agg(pl.sum("rows")).sort("symbol").iter_rows())


def _joined(
    source: SeriesSource, symbol: str, start_ms: int | None, end_ms: int, columns: Sequence[str]
) -> pl.DataFrame:
    """Rows of a symbol in order of time, with their labels; null where there is none."""
    from earmark.store.label_sets import LabelSets

    stored = _stored_columns(source.view, columns)
    rows = source.table.scan(
        start_ms, end_ms, symbols=symbol, columns=("symbol", "timestamp", *stored, "current_mid_price")
    ).collect()
    if source.view == DERIVED_VIEW:
        rows = _with_derived(rows, source.interval_ms, columns)
    wanted = list(movement_columns(source.horizon_s).values())
    labels = LabelSets(source.store).scan(
        source.label_set,
        start=start_ms,
        end=end_ms,
        symbols=[symbol],
        columns=wanted,
        version=source.label_version,
    )
    return rows.join(labels.collect(), on=("symbol", "timestamp"), how="left", maintain_order="left")


def _stored_columns(view: str, columns: Sequence[str]) -> tuple[str, ...]:
    """What is read of the store for `columns`: derived columns need the features that they are made of."""
    from earmark.orderbook.catalog import FEATURE_NAMES

    return FEATURE_NAMES if view == DERIVED_VIEW else tuple(columns)


def _with_derived(rows: pl.DataFrame, interval_ms: int, columns: Sequence[str]) -> pl.DataFrame:
    """Rows of one symbol with lags and derived columns, computed from rows of the range alone."""
    import polars as pl

    from earmark.orderbook.catalog import FEATURE_NAMES
    from earmark.orderbook.lagged import lagged_and_derived
    from earmark.orderbook.views import VIEWS

    features, one_symbol = rows.select(FEATURE_NAMES).to_numpy(order="c"), np.zeros(len(rows), np.int32)
    values = lagged_and_derived(features, one_symbol, rows["timestamp"].to_numpy(), interval_ms=interval_ms)
    names = VIEWS[DERIVED_VIEW][len(FEATURE_NAMES) :]
    derived = pl.from_numpy(values, schema=dict.fromkeys(names, pl.Float32))
    joined = pl.concat([rows, derived], how="horizontal")
    return joined.select("symbol", "timestamp", "current_mid_price", *columns)


def _labels(frame: pl.DataFrame, horizon_s: int, end_ms: int) -> dict[str, npt.NDArray[Any]]:
    """Fields of a series; a label that is null or was decided after `end_ms` is unknown."""
    import polars as pl

    names = movement_columns(horizon_s)
    labelled, at = pl.col(names["y"]).is_not_null(), pl.col("timestamp") + horizon_s * 1000
    decided = (
        frame.select(pl.when(labelled).then(pl.col(names["label_end_ms"])).otherwise(at))
        .to_series()
        .to_numpy()
    )
    known = frame[names["y"]].is_not_null().to_numpy() & (decided <= end_ms)
    movement = frame[names["movement"]].fill_null(np.nan).to_numpy()
    return {
        "time_ms": frame["timestamp"].to_numpy(),
        "y": np.where(known, frame[names["y"]].fill_null(-1).to_numpy(), -1).astype(np.int8),
        "movement": np.where(known, movement, np.nan).astype(np.float32),
        "label_end_ms": decided,
        "price": frame["current_mid_price"].fill_null(np.nan).to_numpy().astype(np.float64),
    }


def _matrix(n: int, width: int, spool: Path | None) -> npt.NDArray[np.float32]:
    """An empty matrix, in memory or in a file without a name, which goes with the last reference to it."""
    if n * width * 4 <= IN_MEMORY_BYTES:
        return np.empty((n, width), np.float32)
    with tempfile.TemporaryFile(dir=spool) as file:
        return np.memmap(file, np.float32, "w+", shape=(n, width))


def write_windows(path: Path, windows: Windows) -> None:
    """Write windows as an npz file of X (n, length, width), y, timestamps, prices, symbols and feature_names.

    Windows are gathered in portions; the file is whole or absent.
    """
    import zipfile

    table, ends = windows.table, windows.ends

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    small: dict[str, npt.NDArray[Any]] = {
        "y": table.y[ends],
        "timestamps": table.time_ms[ends],
        "prices": table.price[ends],
        "symbols": np.array(table.symbols)[table.symbol[ends]],
        "feature_names": np.array(table.columns),
    }
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, array in small.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
            with archive.open("X.npy", "w", force_zip64=True) as file:
                shape = (len(windows), windows.length, len(table.columns))
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                for start in range(0, len(windows), PORTION):
                    part = windows.inputs(slice(start, start + PORTION))
                    file.write(part.astype("<f4").tobytes())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
