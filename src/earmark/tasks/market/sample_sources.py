"""Where the rows of a dataset come from, as a group of the feature store.

Rows of other sources go into a group of their own before they are used, once per content: legacy files (origin
``migrated``) and foreign tables (origin ``imported``) do not mix with recorded rows, their labels become a label set,
and one way leads on from there.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import InputError, UsageError
from earmark.tasks.market.labels.label import BOOK_STEPS
from earmark.tasks.market.level_series import LEVELS_VIEW

if TYPE_CHECKING:
    import polars as pl

    from earmark.features.progress import Progress
    from earmark.store.offline import FeatureStore
    from earmark.tasks.market.prepare import PrepareOptions

__all__ = ["LEGACY_GROUP", "grouped", "take_legacy", "take_parquet"]

LEGACY_GROUP = "legacy"
"""Group of the rows of legacy files: they do not mix with recorded ones."""

LEGACY_CODING, PARQUET_CODING = "-1/0/1", "0/1/2"

Tell = Callable[["Progress"], None]


def grouped(
    project: str | Path, options: PrepareOptions, *, tell: Tell | None = None
) -> tuple[PrepareOptions, tuple[str, ...]]:
    """The options with the group that has the rows, taken in first where that is asked for; what was done, in words.

    Raises
    ------
    UsageError
        Two sources at once, or one that cannot be read.
    """
    from earmark.store.offline import FeatureStore
    from earmark.tasks.settings import load_settings

    _check_source(options)
    settings = load_settings(project)
    market, store = settings.settings.market, FeatureStore(settings.path("data") / "feature_store")
    if options.parquet is not None:
        group, note = take_parquet(
            Path(options.parquet), store, group=options.group, coding=options.coding or PARQUET_CODING
        )
        return replace(options, group=group), (note,)
    if options.data_source == "legacy":
        files = Path(project) / (options.data_path or market.storage_path)
        group = options.group or LEGACY_GROUP
        note = take_legacy(
            files,
            store,
            group=group,
            coding=options.coding or LEGACY_CODING,
            symbols=options.symbols,
            tell=tell,
        )
        return replace(options, group=group), (note,)
    default = BOOK_STEPS if options.view == LEVELS_VIEW else market.feature_store_group
    return replace(options, group=options.group or default), ()


def take_legacy(
    files: Path,
    store: FeatureStore,
    *,
    group: str = LEGACY_GROUP,
    coding: str = LEGACY_CODING,
    symbols: tuple[str, ...] = (),
    tell: Tell | None = None,
) -> str:
    """Migrate the files that are not in the group yet, with their labels; a sentence of it.

    Raises
    ------
    UsageError
        There are no files, or the group has labels of another coding.
    """
    from earmark.tasks.market.legacy.migrate import migrate_legacy

    if not files.is_dir():
        raise UsageError(
            f"There is no folder `{files}` with files of an earlier collector; expected {{SYM}}/features/*.npy and so "
            "on in it. Name it by --data-path, or collect: earmark collect market --legacy"
        )
    _refuse_other_coding(store, group, coding)
    report = migrate_legacy(files, store, group=group, coding=coding, symbols=symbols, tell=tell)
    refused = (
        f" {len(report.rejected)} were refused, first: {report.rejected[0]['reason']}"
        if report.rejected
        else ""
    )
    totals = report.totals
    return (
        f"Legacy files: {totals['batches']} batches, {totals['already']} of them there before, {totals['migrated']} "
        f"samples migrated into `{group}`.{refused}"
    )


def take_parquet(
    path: Path, store: FeatureStore, *, group: str | None = None, coding: str = PARQUET_CODING
) -> tuple[str, str]:
    """Write the rows of a foreign table into a group, and its labels into a label set.

    Parameters
    ----------
    path : Path
        Has ``symbol``, ``timestamp`` (s or ms since 1970 UTC, or a datetime) and the features, also under names of
        earlier programs. Columns that the schema does not know are left out.
    store : FeatureStore
    group : str, optional
        Default: one named by the content of the file.
    coding : str
        How directions are written.

    Returns
    -------
    group, sentence : str

    Raises
    ------
    InputError
        The file cannot be read, or a direction is not of the coding.
    SchemaError
        Columns are missing.
    """
    import polars as pl

    from earmark.tasks.market.legacy.columns import new_names
    from earmark.tasks.market.schema import SCHEMA

    try:
        data = path.read_bytes()
        table = pl.read_parquet(io.BytesIO(data))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InputError(f"`{path}` is no readable Parquet file ({error}). Name one by --parquet") from error
    name = f"parquet_{hashlib.sha256(data).hexdigest()[:12]}"
    group = group or name
    store.schemas.setdefault(group, SCHEMA)
    table = table.rename(new_names(table.columns))
    labels = _labels(path, table, coding)
    rows = table.select(column.name for column in SCHEMA.stored if column.name in table.columns)
    if "origin" not in rows.columns:
        rows = rows.with_columns(origin=pl.lit("imported"))
    written = store.write_offline_features(group, rows, batch=name)
    if labels is not None and len(labels):
        record = {
            "name": "parquet",
            "group": group,
            "parameters": {"coding": coding},
            "sources": {"file": path.name},
        }
        store.label_sets.write(name, labels, record, footer=SCHEMA.footer)
    return group, f"{path.name}: {len(rows)} rows, {written.rows} of them new in `{group}`."


def _check_source(options: PrepareOptions) -> None:
    is_legacy = options.data_source == "legacy"
    if options.parquet is not None and is_legacy:
        raise UsageError("--parquet and --data-source legacy both say where rows are. Give one of them.")
    if options.data_path is not None and not is_legacy:
        raise UsageError(
            "--data-path names a folder of legacy files. Add --data-source legacy, or leave it out."
        )
    if options.coding is not None and not is_legacy and options.parquet is None:
        raise UsageError(
            "--coding is that of legacy files or of --parquet. Add one of them, or leave it out."
        )
    if options.view == LEVELS_VIEW and (is_legacy or options.parquet is not None):
        raise UsageError(
            f"The view {LEVELS_VIEW} was asked for of files that hold features; expected the raw store or states of "
            "the raw book. Leave the source out, or choose a view of features."
        )


def _refuse_other_coding(store: FeatureStore, group: str, coding: str) -> None:
    """What was migrated under one coding stays; the same group cannot have labels of two."""
    path = store.root / "metadata" / "migrations" / f"legacy-{group}.json"
    earlier = json.loads(path.read_bytes())["coding"] if path.is_file() else coding
    if earlier != coding:
        raise UsageError(
            f"Files were migrated into `{group}` by the coding {earlier}, and {coding} is asked for now; one group has "
            f"labels of one coding. Use --coding={earlier}, or another --feature-group."
        )


def _labels(path: Path, table: pl.DataFrame, coding: str) -> pl.DataFrame | None:
    """The table's own labels as rows of a label set; None without such columns."""
    import polars as pl

    from earmark.store.times import milliseconds
    from earmark.tasks.market.legacy.layout import CODINGS

    stem = "future_direction_"
    found = [name.removeprefix(stem) for name in table.columns if name.startswith(stem)]
    horizons = [name for name in found if name.endswith("s") and name[:-1].isdigit()]
    if not horizons or "timestamp" not in table.columns or "symbol" not in table.columns:
        return None
    codes = {code: place for place, code in enumerate(CODINGS[coding])}
    table = table.with_columns(milliseconds(table["timestamp"])).unique(
        ["symbol", "timestamp"], keep="last", maintain_order=True
    )
    columns: list[pl.Series | pl.Expr] = []
    for horizon in horizons:
        raw = table[stem + horizon]
        strange = [value for value in raw.unique().drop_nulls() if value not in codes]
        if strange:
            raise InputError(
                f"`{path}` has the direction {strange[0]} at {horizon}, which the coding {coding} does not have. "
                "Declare the true one by --coding"
            )
        columns += _label_columns(table, horizon, raw.replace_strict(codes, return_dtype=pl.Int8))
    labels = table.select("symbol", "timestamp", *columns)
    return labels.filter(pl.any_horizontal(pl.col([stem + horizon for horizon in horizons]).is_not_null()))


def _label_columns(table: pl.DataFrame, horizon: str, direction: pl.Series) -> list[pl.Series | pl.Expr]:
    import polars as pl

    movement = f"future_movement_{horizon}"
    known, end = direction.is_not_null(), table["timestamp"] + 1000 * int(horizon[:-1])
    there = table[movement] if movement in table.columns else pl.Series(movement, [None] * len(table))
    return [
        direction.alias(f"future_direction_{horizon}"),
        there.cast(pl.Float64).fill_nan(None).alias(movement),
        pl.when(known).then(end).alias(f"label_end_ms_{horizon}"),
        pl.when(known).then(pl.lit("ok")).otherwise(pl.lit("gap")).alias(f"label_status_{horizon}"),
    ]
