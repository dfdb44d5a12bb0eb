"""Stored rows with their labels, as series that models train on.

What a model is given is decided here and nowhere else: the columns of a view, checked against the allow-list, raw as
they are stored. Rows come from a group of the feature store (`feature_series`), or are states of the raw book
(`level_series`). Rows without a known label stay, as input of later windows, with class -1. A label counts as
known only if it was decided within the range that is loaded, so that no label of a training row was made with a price
of the sealed period, and so that a range gives the same series whenever it is loaded.

Two doors: `load_series` reads rows before the sealed period; `load_sealed_series` reads the sealed ones, against an
opening that is in the ledger.

Conventions: times are milliseconds since 1970 UTC, ranges include both ends; a movement is a fraction.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from earmark.data.time_seal import PeriodOpening, SealedPeriod
from earmark.data.windows import SeriesTable, Windows
from earmark.errors import SchemaError, SealError, UsageError
from earmark.models.sequence.levels import level_columns
from earmark.orderbook.state import FEATURE_LEVELS
from earmark.tasks.market.level_series import LEVELS_VIEW, level_rows

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable

__all__ = [
    "SeriesSource",
    "StoredRows",
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
V2_VIEW = "v2"


class StoredRows(Protocol):
    """Rows of some symbols, wherever they are stored."""

    def span(self) -> tuple[int, int] | None:
        """First and last time; None without rows."""

    def counts(self, start_ms: int | None, end_ms: int) -> dict[str, int]:
        """Rows of each symbol that has any, by name."""

    def portions(
        self, symbol: str, start_ms: int | None, end_ms: int, columns: Sequence[str]
    ) -> Iterator[pl.DataFrame]:
        """Rows of a symbol in order of time: key, `columns`, ``current_mid_price`` and perhaps ``starts_anew``."""


@dataclass(frozen=True)
class SeriesSource:
    """What is loaded, and from where.

    Attributes
    ----------
    store : Path
        Root of the feature store; the raw store and the states of the raw book lie beside it.
    group : str
        Of the feature store; for the view ``levels`` one of `level_series.LEVEL_SOURCES`.
    view : str
        ``v1_110``, ``v1_112``, ``v1_187``, ``v2`` or ``levels``.
    symbols : tuple of str
        Empty: all that are stored.
    label_set : str
    label_version : int
    horizon_s : int
    interval_ms : int
        Nominal distance of two rows.
    allow_mixed_origin : bool
        Whether rows that were recorded and rows that were migrated may stand in one series.
    levels : int
        Per side, of the view ``levels``.
    every : int
        Ticks from row to row, of that view.
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
    levels: int = 20
    every: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the view, in order."""
        from earmark.orderbook.views import view_columns

        return level_columns(self.levels) if self.view == LEVELS_VIEW else view_columns(self.view)

    @property
    def rows(self) -> StoredRows:
        """The stored rows of the view."""
        from earmark.tasks.market.feature_series import FeatureRows

        if self.view == LEVELS_VIEW:
            return level_rows(self.store.parent, self.group, self.symbols, self.levels, self.every)
        mixed = self.allow_mixed_origin
        return FeatureRows(self.table, self.view, self.symbols, self.interval_ms, allow_mixed_origin=mixed)

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

    allowed = {name for names in VIEWS.values() for name in names} | set(level_columns(FEATURE_LEVELS))
    wrong = [name for name in columns if name not in allowed]
    if wrong:
        future = [name for name in wrong if name.startswith(("future_", "label"))]
        what = f"{', '.join(future)} tell the future" if future else f"{', '.join(wrong)} are no features"
        raise SchemaError(
            f"{what}. Expected columns of the views {', '.join([*VIEWS, LEVELS_VIEW])} as inputs of a model. Leave "
            "them out."
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
    span = source.rows.span()
    if span is not None:
        return span
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
    marks = () if table.starts_anew is None else (table.starts_anew,)
    for array in (
        table.symbol,
        table.time_ms,
        table.y,
        table.movement,
        table.label_end_ms,
        table.price,
        *marks,
    ):
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
    rows = source.rows
    counts = rows.counts(start_ms, end_ms)
    n = sum(counts.values())
    if not n:
        raise UsageError(
            f"No training data available: group `{source.group}` has no rows from {start_ms or 'the beginning'} to "
            f"{end_ms} of {', '.join(source.symbols) or 'any symbol'}. Collect more, or widen the range."
        )
    X = _matrix(n, len(columns), spool)
    parts, start = [], 0
    for code, symbol in enumerate(counts):
        for stored in rows.portions(symbol, start_ms, end_ms, columns):
            if not len(stored):
                continue
            frame = _with_labels(source, symbol, stored)
            X[start : start + len(frame)] = frame.select(columns).to_numpy(order="c")
            parts.append(
                _fields(frame, source.horizon_s, end_ms) | {"symbol": np.full(len(frame), code, np.int32)}
            )
            start += len(frame)
    fields = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return SeriesTable(
        symbols=tuple(counts), X=X, columns=tuple(columns), interval_ms=source.interval_ms, **fields
    )


def _with_labels(source: SeriesSource, symbol: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of a symbol with their labels; null where there is none."""
    from earmark.store.label_sets import LabelSets

    labels = LabelSets(source.store).scan(
        source.label_set,
        start=int(rows["timestamp"][0]),
        end=int(rows["timestamp"][-1]),
        symbols=[symbol],
        columns=list(movement_columns(source.horizon_s).values()),
        version=source.label_version,
    )
    return rows.join(labels.collect(), on=("symbol", "timestamp"), how="left", maintain_order="left")


def _fields(frame: pl.DataFrame, horizon_s: int, end_ms: int) -> dict[str, npt.NDArray[Any]]:
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
    marks = {"starts_anew": frame["starts_anew"].to_numpy()} if "starts_anew" in frame.columns else {}
    return marks | {
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
