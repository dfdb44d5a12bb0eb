"""From stored rows and labels to a dataset: what is sealed, what trains, what validates, and the record of it.

Rows are samples of a group of the feature store, or states of the raw book (view ``levels``). Files of earlier programs
and tables of others are first taken into a group of their own (`sample_sources`): one way leads to a dataset.

`prepare` seals the newest period, divides the rest at instants common to all symbols, and writes
``data/market/dataset.json``: everything that is needed to load the same windows again, with a hash of what they hold.
`load_prepared` loads them and refuses if the stored data no longer are what was divided.

Conventions: times are milliseconds since 1970 UTC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from earmark.data import timeline
from earmark.data.parquet import write_bytes_atomic
from earmark.data.time_seal import SealedPeriod
from earmark.data.windows import SeriesTable, Windows, make_windows
from earmark.errors import UsageError
from earmark.tasks.market.dataset import (
    SeriesSource,
    load_sealed_series,
    load_series,
    series_hash,
    stored_span,
    windows_hash,
    write_windows,
)
from earmark.tasks.market.labels.label import BOOK_STEPS, RAW_LOB, LabelRequest, Source, label_group
from earmark.tasks.market.level_series import LEVELS_VIEW, check_level_options
from earmark.tasks.market.schema import GROUP, SCHEMA

if TYPE_CHECKING:
    from earmark.features.progress import Progress

__all__ = [
    "CLASSES",
    "DATASET_FILE",
    "FOLDER",
    "PrepareOptions",
    "Prepared",
    "Sealed",
    "data_folder",
    "export_sealed",
    "load_prepared",
    "load_sealed",
    "natural_view",
    "part_row",
    "prepare",
    "symbol_rows",
]

CLASSES = ("DOWN", "NEUTRAL", "UP")
FOLDER = "market"
DATASET_FILE = "dataset.json"
FORMAT = "earmark-market-dataset-1"
_INTERVAL_SETTING = {BOOK_STEPS: "--every", RAW_LOB: "market.min_interval_ms"}
_AGAIN = "Run `earmark prepare market` again."


@dataclass(frozen=True)
class PrepareOptions:
    """What `prepare` is asked for; None stands for what is stored or set.

    Attributes
    ----------
    view : str or None
        None: ``v1_112``, and ``v1_110`` where no row has the last two columns.
    symbols : tuple of str
        Empty: all.
    start_ms, end_ms : int or None
    until_newest : bool
        Whether `end_ms` is the newest row's time, and not one that was asked for.
    label_set : str or None
        Id or name; default the newest of the group that has the horizon.
    price_source : {"track", "samples", "candles"} or None
        Label the rows by this price and the rule ``fixed``, and take those labels. States of the raw book that nobody
        labelled are labelled by the track.
    horizon_s, sequence_length, stride : int
    holdout_days : float
    fractions : tuple of float
        Train, validation and test.
    purge, embargo : bool
    embargo_share : float
        Of the span of the windows.
    minimum : int
        Fewest windows of a part.
    group : str or None
        Default that of the settings; of the view ``levels`` ``book_steps``.
    allow_mixed_origin : bool
    levels, every : int
        Of the view ``levels``: levels per side, and ticks of 3 s from row to row.
    data_source : {"feature_store", "legacy"}
    data_path : str or None
        Folder of the legacy files; default that of the settings.
    coding : str or None
        How directions are written in legacy files (-1/0/1) or in the table (0/1/2).
    parquet : str or None
        A table of samples in place of stored ones.
    reseal_reason : str or None
    by : str
        Command that asks: what `train` prepared for itself is not what a user prepared for every training.
    """

    view: str | None = None
    symbols: tuple[str, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    label_set: str | None = None
    price_source: Source | None = None
    horizon_s: int = 60
    sequence_length: int = 60
    stride: int = 1
    holdout_days: float = 30.0
    fractions: tuple[float, float, float] = timeline.FRACTIONS
    purge: bool = True
    embargo: bool = True
    embargo_share: float = timeline.EMBARGO_SHARE
    minimum: int = 1
    group: str | None = None
    allow_mixed_origin: bool = False
    levels: int = 20
    every: int = 1
    data_source: Literal["feature_store", "legacy"] = "feature_store"
    data_path: str | None = None
    coding: str | None = None
    parquet: str | None = None
    reseal_reason: str | None = None
    until_newest: bool = False
    by: str = "prepare"


@dataclass(frozen=True, eq=False)
class Prepared:
    """The parts of a dataset, before the sealed period.

    Attributes
    ----------
    train, validation, test : Windows
    record : dict
        The manifest, ``dataset.json``.
    warnings : tuple of str
    notes : tuple of str
        What was done beside: rows that were taken in, labels that were computed.
    """

    train: Windows
    validation: Windows
    test: Windows
    record: dict[str, Any]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Of all that the parts hold."""
        return str(self.record["hashes"]["series"])

    def parts(self) -> dict[str, Windows]:
        """The parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True, eq=False)
class Sealed:
    """Windows of the sealed period, and the line of the ledger that tells of their opening."""

    windows: Windows
    opening: dict[str, Any]


def data_folder(project: str | Path) -> Path:
    """Folder of the data of a project, by its settings."""
    from earmark.tasks.settings import load_settings

    return load_settings(project).path("data")


def prepare(
    project: str | Path, options: PrepareOptions, *, tell: Callable[[Progress], None] | None = None
) -> Prepared:
    """Seal, divide, and write the record; see the module.

    Raises
    ------
    UsageError
        No rows, no labels, or too few windows in a part.
    SealError
        The seal or its ledger cannot be written or read.
    """
    from earmark.tasks.market.sample_sources import grouped

    data = data_folder(project)
    options, notes = grouped(project, options, tell=tell)
    options = replace(options, view=options.view or natural_view(data, options))
    source, labelled = _source(project, data, options, tell)
    first, last = stored_span(source)
    start = first if options.start_ms is None else max(first, options.start_ms)
    end = last if options.end_ms is None else min(last, options.end_ms)
    seal = SealedPeriod(data / FOLDER)
    bounds = seal.seal(
        timeline.seal_instant(start, end, options.holdout_days), end, reseal_reason=options.reseal_reason
    )
    until = min(end, bounds.first_ms - 1)
    table = load_series(source, seal, start_ms=start, end_ms=until, spool=_spool(data))
    division = _divide(table, options)
    record = _record(options, source, (start, until), table, division) | {
        "seal": {"first_ms": bounds.first_ms, "last_ms": bounds.last_ms, "holdout_days": options.holdout_days}
    }
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    write_bytes_atomic(data / FOLDER / DATASET_FILE, text.encode())
    return _prepared(division, record, (*notes, *labelled))


def load_prepared(project: str | Path) -> Prepared:
    """The parts as `prepare` divided them.

    Raises
    ------
    UsageError
        Nothing was prepared, or the stored rows or labels are no longer the same.
    """
    data = data_folder(project)
    record = _read_record(data)
    source = _recorded_source(data, record)
    table = load_series(
        source,
        SealedPeriod(data / FOLDER),
        start_ms=record["start_ms"],
        end_ms=record["end_ms"],
        columns=record["columns"],
        spool=_spool(data),
    )
    if series_hash(table) != record["hashes"]["series"]:
        raise UsageError(
            f"The rows or labels of group `{source.group}` are not those that were prepared: their hash is "
            f"{series_hash(table)[:8]}, expected {record['hashes']['series'][:8]}. {_AGAIN}"
        )
    split = record["split"]
    windows = make_windows(table, record["sequence_length"], stride=record["stride"])
    first, second = split["instants_ms"]
    division = timeline.split_at(windows, (first, second), purge=split["purge"], embargo=split["embargo_ms"])
    return _prepared(division, record)


def load_sealed(project: str | Path, *, run: str, reason: str, commit: str | None = None) -> Sealed:
    """Windows of the sealed period, behind its embargo; the opening is recorded first.

    Parameters
    ----------
    project : path
    run : str
        What is evaluated.
    reason : str
    commit : str, optional
        Version of the code.
    """
    data = data_folder(project)
    record = _read_record(data)
    opening = SealedPeriod(data / FOLDER).open(run=run, reason=reason, commit=commit)
    table = load_sealed_series(
        _recorded_source(data, record), opening, columns=record["columns"], spool=_spool(data)
    )
    windows = make_windows(table, record["sequence_length"], stride=record["stride"])
    behind = windows.time_ms >= opening.bounds.first_ms + record["split"]["embargo_ms"]
    return Sealed(windows.take(behind), opening.record)


def export_sealed(project: str | Path, path: Path, *, reason: str) -> Sealed:
    """Write the windows of the sealed period as npz (X, y, timestamps, prices, symbols, feature_names)."""
    sealed = load_sealed(project, run=f"export {path.name}", reason=reason)
    write_windows(path, sealed.windows)
    return sealed


def natural_view(data: Path, options: PrepareOptions) -> str:
    """The view with all columns that rows of the group have: 110 of earlier files, else 112."""
    import polars as pl

    from earmark.orderbook.views import DEFAULT_VIEW, VIEWS
    from earmark.store.offline import FeatureStore

    table = FeatureStore(data / "feature_store").table(str(options.group))
    last = VIEWS[DEFAULT_VIEW][len(VIEWS["v1_110"]) :]
    if not table.exists:
        return DEFAULT_VIEW
    rows = table.scan(options.start_ms, options.end_ms, options.symbols or None, last)
    there = rows.select(pl.any_horizontal(pl.col(last).is_not_null().any())).collect().item()
    return DEFAULT_VIEW if there else "v1_110"


def _source(
    project: str | Path, data: Path, options: PrepareOptions, tell: Callable[[Progress], None] | None
) -> tuple[SeriesSource, tuple[str, ...]]:
    """What is loaded, and what was labelled for it."""
    from earmark.orderbook.state import STEP_MS
    from earmark.tasks.settings import load_settings

    market = load_settings(project).settings.market
    store, group = data / "feature_store", str(options.group)
    interval_ms = _stored_interval_ms(store, group, options) or market.collection_interval * STEP_MS
    if options.view == LEVELS_VIEW:
        check_level_options(group, options.levels, options.every)
        interval_ms = options.every * STEP_MS if group == BOOK_STEPS else market.min_interval_ms
    (set_id, version), notes = _label_set(data, group, options, tell)
    source = SeriesSource(
        store=store,
        group=group,
        view=str(options.view),
        symbols=options.symbols,
        label_set=set_id,
        label_version=version,
        horizon_s=options.horizon_s,
        interval_ms=interval_ms,
        allow_mixed_origin=options.allow_mixed_origin,
        levels=options.levels,
        every=options.every,
    )
    return source, notes


def _stored_interval_ms(store: Path, group: str, options: PrepareOptions) -> int | None:
    """Median distance of a symbol's rows, or None: what was collected tells better than today's settings."""
    import polars as pl

    from earmark.store.offline import FeatureStore

    table = FeatureStore(store).table(group)
    if not table.exists:
        return None
    rows = table.scan(options.start_ms, options.end_ms, options.symbols or None, ("symbol", "timestamp"))
    apart = rows.sort("symbol", "timestamp").select(pl.col("timestamp").diff().over("symbol"))
    median = apart.median().collect().item()
    return None if median is None else round(median)


def _label_set(
    data: Path, group: str, options: PrepareOptions, tell: Callable[[Progress], None] | None
) -> tuple[tuple[str, int], tuple[str, ...]]:
    """Id and version of the labels: computed where a price is named, else as they are stored."""
    from earmark.store.label_sets import LabelSets
    from earmark.store.offline import FeatureStore

    sets, horizon = LabelSets(data / "feature_store"), f"{options.horizon_s}s"
    price, notes = options.price_source, tuple[str, ...]()
    if options.view == LEVELS_VIEW and price is None and options.label_set is None:
        price = None if any(_has(record, horizon) for record in _of_group(sets.list(), group)) else "track"
    if price is not None:
        set_id, notes = _labelled(data, group, price, options, tell)
        found = [sets.record(set_id)]
    elif options.label_set is not None:
        found = _named(sets.list(), options.label_set, group) or [sets.record(options.label_set)]
    else:
        found = [record for record in _of_group(sets.list(), group) if _has(record, horizon)]
    if (
        not found
        and options.view != LEVELS_VIEW
        and not FeatureStore(data / "feature_store").table(group).exists
    ):
        raise UsageError(
            f"No training data available: group `{group}` of `{data / 'feature_store'}` has no rows. "
            "Run: earmark collect market --symbols BTCUSDT"
        )
    if not found or not _has(found[0], horizon):
        of_group = "" if group == GROUP else f" --feature-group {group}"
        raise UsageError(
            f"Future labels = None: no label set of the group `{group}` has the horizon {horizon}. "
            f"Run: earmark label market{of_group} --horizons {options.horizon_s}"
        )
    return (str(found[0]["id"]), len(found[0]["versions"])), notes


def _of_group(records: Sequence[dict[str, Any]], group: str) -> list[dict[str, Any]]:
    """Sets of a group, the one written last first; behind them those that name no group."""
    own = [record for record in records if record.get("group") == group]
    return own + [
        record for record in records if "group" not in record and group not in (BOOK_STEPS, RAW_LOB)
    ]


def _named(records: Sequence[dict[str, Any]], name: str, group: str) -> list[dict[str, Any]]:
    """The set with an id, of whichever group, or those of the group's sets whose rule has the name."""
    ids = [record for record in records if record["id"] == name]
    return ids or [record for record in _of_group(records, group) if record.get("name") == name]


def _labelled(
    data: Path, group: str, price: Source, options: PrepareOptions, tell: Callable[[Progress], None] | None
) -> tuple[str, tuple[str, ...]]:
    """Label the rows of the group by the rule ``fixed``; the set, and a sentence of it."""
    from earmark.store.offline import DEFAULT_HORIZONS_S
    from earmark.tasks.market.labels.series import Horizon

    horizons = tuple(Horizon(seconds) for seconds in sorted({*DEFAULT_HORIZONS_S, options.horizon_s}))
    request = LabelRequest(horizons=horizons, group=group, source=price, symbols=options.symbols)
    report = label_group(data / "feature_store", data / "raw", request, raw_lob=data / RAW_LOB, tell=tell)
    return report.set_id, (f"{report.rows} rows of `{group}` were labelled, set {report.set_id}.",)


def _has(record: Mapping[str, Any], horizon: str) -> bool:
    return any(row["horizon"] == horizon for row in record["coverage"])


def _divide(table: SeriesTable, options: PrepareOptions) -> timeline.Division:
    windows = make_windows(table, options.sequence_length, stride=options.stride)
    if not len(windows):
        raise UsageError(_no_windows(table, options))
    embargo = timeline.embargo_ms(windows, options.embargo_share) if options.embargo else 0
    return timeline.split(
        windows, options.fractions, purge=options.purge, embargo=embargo, minimum=options.minimum
    )


def _no_windows(table: SeriesTable, options: PrepareOptions) -> str:
    """Why no window came of the rows: no labels, or gaps."""
    if not (table.y >= 0).any():
        return (
            f"Future labels = None: none of {len(table)} rows has a label at {options.horizon_s} s. "
            f"Run: earmark label market --feature-group {options.group} --horizons {options.horizon_s}"
        )
    spacing = np.diff(table.time_ms)[np.diff(table.symbol) == 0]
    usual = f", rows lie {np.median(spacing) / 1000:g} s apart" if len(spacing) else ""
    setting = _INTERVAL_SETTING.get(str(options.group))
    return (
        f"Insufficient data: {len(table)} samples, need at least {options.sequence_length} without a gap{usual}, "
        f"expected {table.interval_ms / 1000:g} s. Collect more data, or lower sequence_length"
        + (f", or set {setting} to the one that was used." if setting else ".")
    )


def _record(
    options: PrepareOptions,
    source: SeriesSource,
    span: tuple[int, int],
    table: SeriesTable,
    division: timeline.Division,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "schema": _schema(),
        "source": source.to_json(),
        "options": asdict(replace(options, reseal_reason=None)),
        "columns": list(table.columns),
        "symbols": list(table.symbols),
        "start_ms": span[0],
        "end_ms": span[1],
        "sequence_length": options.sequence_length,
        "stride": options.stride,
        "split": {
            "fractions": list(options.fractions),
            "instants_ms": list(division.instants_ms),
            "purge": options.purge,
            "embargo_ms": division.embargo_ms,
        },
        "hashes": {
            "series": series_hash(table),
            **{name: windows_hash(windows) for name, windows in division.parts().items()},
        },
        "parts": [part_row(name, windows, division) for name, windows in division.parts().items()],
    }


def part_row(name: str, windows: Windows, division: timeline.Division) -> dict[str, Any]:
    """Counts of a part: windows per class, symbols, what purge and embargo removed, its span."""
    counts = np.bincount(windows.y, minlength=len(CLASSES)).tolist()
    removed = division.removed[name]
    return {
        "part": name,
        "windows": len(windows),
        **dict(zip(CLASSES, counts, strict=True)),
        "symbols": len(np.unique(windows.symbol)),
        "purged": removed.purged,
        "embargoed": removed.embargoed,
        "first_ms": int(windows.start_ms.min()),
        "last_ms": int(windows.time_ms.max()),
    }


def symbol_rows(parts: Mapping[str, Windows], symbols: Sequence[str]) -> list[dict[str, Any]]:
    """Windows per symbol, part and class."""
    rows = []
    for code, symbol in enumerate(symbols):
        for name, windows in parts.items():
            y = windows.y[windows.symbol == code]
            counts = np.bincount(y, minlength=len(CLASSES)).tolist()
            rows.append(
                {"symbol": symbol, "part": name, "windows": len(y)} | dict(zip(CLASSES, counts, strict=True))
            )
    return rows


def _prepared(division: timeline.Division, record: dict[str, Any], notes: tuple[str, ...] = ()) -> Prepared:
    return Prepared(division.train, division.validation, division.test, record, division.warnings, notes)


def _read_record(data: Path) -> dict[str, Any]:
    path = data / FOLDER / DATASET_FILE
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"There is no `{path}`: nothing was prepared. Run: earmark prepare market") from None
    except ValueError as error:
        raise UsageError(f"`{path}` is not JSON ({error}). {_AGAIN}") from error
    if record.get("format") != FORMAT:
        raise UsageError(f"`{path}` has the format {record.get('format')!r}, expected {FORMAT!r}. {_AGAIN}")
    then, now = record["schema"], _schema()
    if then != now:
        raise UsageError(
            f"`{path}` was prepared under the schema {then['id']} ({then['sha256'][:8]}), this program has {now['id']} "
            f"({now['sha256'][:8]}). {_AGAIN}"
        )
    return record


def _schema() -> dict[str, str]:
    return {"id": SCHEMA.id, "sha256": SCHEMA.sha256}


def _recorded_source(data: Path, record: Mapping[str, Any]) -> SeriesSource:
    fields = {**record["source"], "symbols": tuple(record["symbols"])}
    return SeriesSource(store=data / "feature_store", **fields)


def _spool(data: Path) -> Path:
    folder = data / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder
