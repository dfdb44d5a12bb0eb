"""`earmark predict market`: records of rows that are stored, in the feature store or in files.

Rows before the range are read as history, so that a row has the same record whatever range it is asked in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.windows import SeriesTable
from earmark.errors import InputError, SchemaError, UsageError
from earmark.tasks.market.serving.answers import Answerer
from earmark.tasks.market.serving.model import ServedModel
from earmark.tasks.market.serving.series import LevelRow, Observed, Row, series_of, stored_columns

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable
    from earmark.tasks.market.level_series import LevelRows

__all__ = ["newest_rows", "predict_file", "predict_store", "stored_series"]

_SPREAD = 4
"""History is looked for in so many times the span that it needs, for what lies behind a gap."""

_END_MS = 2**62

Record = dict[str, Any]


def predict_store(
    answerer: Answerer,
    store: Path,
    *,
    group: str | None = None,
    symbols: Sequence[str] = (),
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> Iterator[Record]:
    """Records of the rows of a group, by symbol and time.

    Parameters
    ----------
    answerer : Answerer
    store : Path
        Root of the feature store.
    group : str, optional
        Default: that of the training.
    symbols : sequence of str
        Empty: all.
    start_ms, end_ms : int, optional
        Both included.

    Raises
    ------
    InputError
        There are no such rows.
    """
    model = answerer.model
    if model.reads_levels:
        yield from _predict_levels(answerer, store, group or model.group, symbols, start_ms, end_ms)
        return
    table = _table(store, group or model.group, model)
    found = table.scan(start_ms, end_ms, symbols=list(symbols) or None, columns=("symbol",)).unique()
    names = sorted(found.collect()["symbol"])
    if not names:
        raise InputError(
            f"No rows of {', '.join(symbols) or 'any symbol'} in group `{group or model.group}` of `{store}` in the "
            "range that was asked for. Expected some. Look at: earmark store list market"
        )
    before = _SPREAD * model.history_rows * model.interval_ms
    for symbol in names:
        first = None if start_ms is None else start_ms - before
        series = _series(model, symbol, _read(table, model, symbol, first, end_ms))
        asked = np.flatnonzero(series.time_ms >= (start_ms if start_ms is not None else series.time_ms[0]))
        yield from answerer.records(series, asked)


def stored_series(
    model: ServedModel, store: Path, group: str, symbols: Sequence[str], *, newest: int
) -> list[SeriesTable]:
    """Series of the symbols over the newest rows of all of them together, and the history before these.

    Raises
    ------
    InputError
        There are no rows.
    """
    if model.reads_levels:
        return _newest_levels(model, store, group, symbols, newest)
    table = _table(store, group, model)
    times = table.scan(symbols=list(symbols), columns=("timestamp",)).collect()["timestamp"].sort()
    if not len(times):
        raise InputError(f"Group `{group}` of `{store}` has no rows of {', '.join(symbols)}. Collect some.")
    first = int(times[max(0, len(times) - newest)]) - model.history_rows * model.interval_ms
    read = {symbol: _read(table, model, symbol, first, None) for symbol in sorted(symbols)}
    return [_series(model, symbol, frame) for symbol, frame in read.items() if len(frame)]


def newest_rows(model: ServedModel, store: Path, symbols: Sequence[str], now_ms: int) -> list[Observed]:
    """The stored rows that are the history of the next row, for a model that starts; empty without any."""
    from earmark.store.offline import FeatureStore

    since = now_ms - _SPREAD * model.history_rows * model.interval_ms
    rows: list[Observed] = []
    if model.reads_levels:
        for symbol in symbols:
            for portion in _levels(model, store, model.group, (symbol,)).portions(
                symbol, since, now_ms, stored_columns(model)
            ):
                rows += _level_rows_of(model, symbol, portion)
        return rows
    if model.group not in FeatureStore(store).groups():
        return []
    table = _table(store, model.group, model)
    for symbol in symbols:
        frame = _read(table, model, symbol, since, now_ms)
        values, empty = frame.select(stored_columns(model)).to_numpy(), np.empty(0, np.float32)
        for time_ms, price, row in zip(
            frame["timestamp"].to_list(), frame["current_mid_price"].to_list(), values, strict=True
        ):
            first, second = (empty, row) if model.view == "v2" else (row, empty)
            rows.append(Row(symbol, time_ms, first, second, np.nan if price is None else price))
    return rows


def predict_file(answerer: Answerer, path: Path, *, symbol: str | None = None) -> Iterator[Record]:
    """Records of the rows of a file.

    ===================== ==================================================================================
    ``.parquet``          columns symbol, timestamp and the model's features, by name
    ``.npy``              float32 (n, 110 or 112) of a legacy batch; symbol and times of its metadata file
    ``.npz``              windows as `earmark prepare market --output` writes them: X (n, length, width)
    ===================== ==================================================================================

    Raises
    ------
    InputError
        The file cannot be read, or is of another kind.
    SchemaError
        It has other columns than the model.
    """
    from polars.exceptions import PolarsError

    readers = {".parquet": _parquet_rows, ".npy": _legacy_rows, ".npz": _exported}
    if path.suffix.lower() not in readers:
        raise InputError(f"`{path}` is no file of samples; expected .parquet, .npy or .npz.")
    try:
        yield from readers[path.suffix.lower()](answerer, path, symbol)
    except (OSError, ValueError, KeyError, PolarsError) as error:
        raise InputError(
            f"`{path}` cannot be read as samples ({type(error).__name__}: {error}). Expected the layout that "
            "`earmark predict market --help` names."
        ) from error


def _predict_levels(
    answerer: Answerer,
    store: Path,
    group: str,
    symbols: Sequence[str],
    start_ms: int | None,
    end_ms: int | None,
) -> Iterator[Record]:
    """Records of states of the raw book, a day in memory at a time."""
    import polars as pl

    model = answerer.model
    rows = _levels(model, store, group, tuple(symbols))
    first = None if start_ms is None else start_ms - _SPREAD * model.history_rows * model.interval_ms
    found = False
    for symbol in rows.symbols:
        before: pl.DataFrame | None = None
        for portion in rows.portions(
            symbol, first, _END_MS if end_ms is None else end_ms, stored_columns(model)
        ):
            frame = portion if before is None else pl.concat([before, portion])
            asked = np.arange(len(frame) - len(portion), len(frame))
            series = _level_series(model, symbol, frame)
            asked = asked if start_ms is None else asked[series.time_ms[asked] >= start_ms]
            found = found or len(asked) > 0
            yield from answerer.records(series, asked)
            before = frame.tail(model.history_rows)
    if not found:
        raise InputError(
            f"No states of {', '.join(symbols) or 'any symbol'} in `{group}` below `{store.parent}` in the range that "
            "was asked for. Expected some. Run: earmark collect market"
        )


def _newest_levels(
    model: ServedModel, store: Path, group: str, symbols: Sequence[str], newest: int
) -> list[SeriesTable]:
    """Series over the newest states, each symbol with about its share of them."""
    import polars as pl

    rows = _levels(model, store, group, tuple(symbols))
    span = rows.span()
    if span is None:
        raise InputError(
            f"`{group}` below `{store.parent}` has no states of {', '.join(symbols)}. Collect some."
        )
    wanted = -(-newest // len(rows.symbols)) + model.history_rows
    first = span[1] - wanted * model.interval_ms
    frames = {
        symbol: pl.concat(rows.portions(symbol, first, span[1], stored_columns(model)))
        for symbol in rows.symbols
        if rows.counts(first, span[1]).get(symbol)
    }
    return [_level_series(model, symbol, frame) for symbol, frame in frames.items()]


def _levels(model: ServedModel, store: Path, group: str, symbols: tuple[str, ...]) -> LevelRows:
    from earmark.tasks.market.level_series import level_rows

    return level_rows(store.parent, group, symbols, model.levels, model.every)


def _level_series(model: ServedModel, symbol: str, frame: pl.DataFrame) -> SeriesTable:
    return series_of(
        model,
        symbol,
        frame["timestamp"].to_numpy(),
        frame.select(stored_columns(model)).to_numpy(order="c"),
        frame["current_mid_price"].to_numpy(),
        frame["starts_anew"].to_numpy(),
    )


def _level_rows_of(model: ServedModel, symbol: str, frame: pl.DataFrame) -> Iterator[LevelRow]:
    values = frame.select(stored_columns(model)).to_numpy(order="c")
    facts = frame.select("timestamp", "current_mid_price", "starts_anew").rows()
    for (time_ms, mid, starts_anew), row in zip(facts, values, strict=True):
        yield LevelRow(symbol, time_ms, row, mid, starts_anew)


def _table(store: Path, group: str, model: ServedModel) -> KeyedTable:
    from earmark.store.offline import FeatureStore
    from earmark.tasks.market.collect.samples import V2_GROUP_SUFFIX
    from earmark.tasks.market.store_listing import existing_table

    return existing_table(FeatureStore(store), group + V2_GROUP_SUFFIX * (model.view == "v2"))


def _read(
    table: KeyedTable, model: ServedModel, symbol: str, start_ms: int | None, end_ms: int | None
) -> pl.DataFrame:
    columns = ("timestamp", *stored_columns(model), "current_mid_price")
    return table.scan(start_ms, end_ms, symbols=[symbol], columns=columns).collect().sort("timestamp")


def _series(model: ServedModel, symbol: str, frame: pl.DataFrame) -> SeriesTable:
    import polars as pl

    price = (
        frame["current_mid_price"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        if "current_mid_price" in frame.columns
        else np.full(len(frame), np.nan)
    )
    stored = frame.select(pl.col(stored_columns(model)).cast(pl.Float32)).to_numpy(order="c")
    return series_of(model, symbol, frame["timestamp"].to_numpy(), stored, price)


def _parquet_rows(answerer: Answerer, path: Path, symbol: str | None) -> Iterator[Record]:
    import polars as pl

    frame = pl.read_parquet(path, hive_partitioning=False)
    if answerer.model.reads_levels and "mid_price" in frame.columns:
        frame = frame.rename({"mid_price": "current_mid_price"})
    missing = [
        name for name in ("symbol", "timestamp", *stored_columns(answerer.model)) if name not in frame.columns
    ]
    if missing:
        raise SchemaError(
            f"`{path}` lacks {len(missing)} columns of the view {answerer.model.view}, first {missing[:5]}. Expected "
            "all of them by name; earlier names are mended by: earmark migrate market columns"
        )
    chosen = frame if symbol is None else frame.filter(pl.col("symbol") == symbol)
    unique = chosen.unique(["symbol", "timestamp"], keep="last").sort("symbol", "timestamp")
    for (name,), part in unique.group_by("symbol", maintain_order=True):
        series = _series(answerer.model, str(name), part)
        yield from answerer.records(series, np.arange(len(series)))


def _legacy_rows(answerer: Answerer, path: Path, symbol: str | None) -> Iterator[Record]:
    """Rows of a legacy batch, with what its metadata file says of them."""
    import json

    values = np.load(path, allow_pickle=False)
    model, beside = answerer.model, path.parent.parent / "metadata" / f"{path.stem}.json"
    if values.ndim != 2 or values.shape[1] not in (110, 112):
        raise SchemaError(f"`{path}` holds an array of shape {values.shape}; expected (n, 110) or (n, 112).")
    if model.view not in ("v1_110", "v1_112"):
        raise UsageError(
            f"`{model.version}` reads the view {model.view}, which legacy files do not hold. Migrate them, or predict "
            "the store."
        )
    width = len(stored_columns(model))
    padded = np.full((len(values), width), np.nan, np.float32)
    padded[:, : min(width, values.shape[1])] = values[:, :width]
    samples = json.loads(beside.read_text(encoding="utf-8"))["samples"]
    times = np.array([sample["timestamp"] for sample in samples], np.int64)
    price = np.array([sample["mid_price"] for sample in samples], np.float64)
    order = np.argsort(times, kind="stable")
    name = symbol or str(samples[0]["symbol"])
    series = series_of(model, name, times[order], padded[order], price[order])
    yield from answerer.records(series, np.arange(len(series)))


def _exported(answerer: Answerer, path: Path, symbol: str | None) -> Iterator[Record]:
    """Windows that were gathered."""
    model = answerer.model
    with np.load(path, allow_pickle=False) as found:
        names = tuple(found["feature_names"].tolist())
        symbols, times, prices, X = found["symbols"], found["timestamps"], found["prices"], found["X"]
    if names != model.columns or X.ndim != 3 or X.shape[1] != model.window:
        raise SchemaError(
            f"`{path}` holds windows of shape {X.shape} with {len(names)} columns; `{model.version}` reads "
            f"{model.window} rows of {len(model.columns)} columns of the view {model.view}."
        )
    chosen = np.flatnonzero([symbol in (None, str(name)) for name in symbols])
    n, length = len(chosen), model.window
    at = times[chosen, None] + model.interval_ms * np.arange(1 - length, 1)
    series = SeriesTable(  # each window is a symbol of its own: they overlap in time
        symbols=tuple(str(name) for name in symbols[chosen]),
        symbol=np.repeat(np.arange(n, dtype=np.int32), length),
        time_ms=at.ravel().astype(np.int64),
        X=X[chosen].reshape(n * length, -1),
        columns=model.columns,
        y=np.full(n * length, -1, np.int8),
        movement=np.full(n * length, np.nan, np.float32),
        label_end_ms=at.ravel() + 1000 * model.horizon_s,
        price=np.repeat(prices[chosen], length),
        interval_ms=model.interval_ms,
    )
    yield from answerer.records(series, np.arange(length - 1, n * length, length))
