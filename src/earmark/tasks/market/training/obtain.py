"""The data of a training: rows, labels and parts, made where they are missing.

Rows come from the feature store, or from legacy files, which are migrated into a group of their own. Labels are
computed where no set fits the labelling method, and completed where rows came after it. What `earmark prepare market`
divided stands for every setting that is not given; settings that are given, and data that nobody prepared, are divided
here. A division is used again where every option that decides it is the same. One exception: a training that was killed
goes on with its rows although newer ones came.

Conventions: times are milliseconds since 1970 UTC.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError
from earmark.store.label_sets import LabelSets
from earmark.store.times import DAY_MS, range_ms, utc_date
from earmark.tasks.market.labels.label import BOOK_STEPS, RAW_LOB
from earmark.tasks.market.level_series import LEVEL_SOURCES, LEVELS_VIEW, level_rows
from earmark.tasks.market.prepare import (
    DATASET_FILE,
    FOLDER,
    Prepared,
    PrepareOptions,
    data_folder,
    load_prepared,
    natural_view,
    prepare,
)
from earmark.tasks.market.sample_sources import take_legacy
from earmark.tasks.market.training.recipe import data_setting, series_recipe, view_of

if TYPE_CHECKING:
    from earmark.features.progress import Progress
    from earmark.store.keyed import KeyedTable
    from earmark.tasks.market.labels.label import LabelRequest
    from earmark.tasks.market.training.config import TrainConfig

__all__ = ["Obtained", "allowed_folders", "obtain", "update_labels"]

DATA_PATHS_VARIABLE = "EARMARK_DATA_PATHS"
"""Folders beside the project's in which `data_path` may lie, as in PATH."""

OPTION_OF = {
    "symbols": "symbols",
    "sequence_length": "sequence_length",
    "use_purging": "purge",
    "use_embargo": "embargo",
    "embargo_pct": "embargo_share",
    "allow_mixed_origin": "allow_mixed_origin",
}
"""Setting -> field of `PrepareOptions` with the same value."""

FULL_SHARE = 0.95
"""A label set with so many of the rows that another labels is as full as that."""

Tell = Callable[["Progress"], None]


@dataclass(frozen=True, eq=False)
class Obtained:
    """The parts, the configuration with the settings of the data that are in force, and what was done for them."""

    prepared: Prepared
    config: TrainConfig
    notes: tuple[str, ...]


def obtain(project: str | Path, config: TrainConfig, *, tell: Tell | None = None) -> Obtained:
    """Load, label and divide what `config` asks for.

    Raises
    ------
    UsageError
        There are no rows, no labels, or too few of them; the message names the next command.
    """
    return _Obtaining(Path(project), config, tell).run()


def update_labels(project: str | Path, config: TrainConfig) -> tuple[str, ...]:
    """Label rows that came after the labels of `config`, as a training would; returns what was done, in sentences."""
    found = _Obtaining(Path(project), config, None)
    found.update_labels()
    return tuple(found.notes)


def allowed_folders(project: str | Path) -> tuple[Path, ...]:
    """Folders in which `data_path` may lie: the project's, and those of ``EARMARK_DATA_PATHS``."""
    more = os.environ.get(DATA_PATHS_VARIABLE, "").split(os.pathsep)
    return tuple(Path(path).resolve() for path in (project, *more) if str(path))


class _Obtaining:
    def __init__(self, project: Path, config: TrainConfig, tell: Tell | None) -> None:
        self.project, self.config, self.tell = project, config, tell
        self.view = view_of(config)
        self.data = data_folder(project)
        self.store = self.data / "feature_store"
        self.notes: list[str] = []

    def run(self) -> Obtained:
        group = self._prepared_group() or self._group()
        self._require_rows(group)
        earlier = self._earlier(group)
        options = self._options(earlier, group)
        prepared = self._unfinished(options, earlier, group)
        if prepared is None:
            prepared = self._loaded(options) if options == earlier else self._prepared(options)
        self._require_enough(len(prepared.train.table), prepared.train.length)
        return Obtained(prepared, self._in_force(options, prepared), (*self.notes, *prepared.warnings))

    def update_labels(self) -> None:
        self._label_set(self._group())

    def _require_rows(self, group: str) -> None:
        if not self._has_rows(group):
            raise UsageError(
                f"No training data available: group `{group}` of `{self.data}` has no rows. Run: earmark collect "
                "market --symbols BTCUSDT, or take in what there is: earmark migrate market legacy"
            )
        self._require_enough(self._count(group), self.config.sequence_length)

    def _prepared_group(self) -> str | None:
        """The group that a user prepared, where the configuration names no other rows and no other kind of them."""
        record = self._record()
        if record is None or record["options"].get("by") != "prepare":
            return None
        changed = self.config.changed
        view = record["source"]["view"]
        is_other = self.view not in (None, view) and LEVELS_VIEW in (self.view, view)
        if changed & {"feature_group", "data_source", "data_path"} or is_other:
            return None
        return str(record["source"]["group"])

    def _group(self) -> str:
        """The group with the rows; legacy files are migrated first where they are asked for or all there is."""
        from earmark.tasks.settings import load_settings

        settings = load_settings(self.project).settings.market
        files = self.project / settings.storage_path
        if self.config.data_source == "legacy":
            return self._migrated(self._data_path() or files)
        if self.view == LEVELS_VIEW:
            return self.config.feature_group or BOOK_STEPS
        group = self.config.feature_group or settings.feature_store_group
        if self._has_rows(group) or self.config.feature_group is not None:
            return group
        if self.config.use_fallback and files.is_dir():
            self.notes.append(f"Group `{group}` has no rows: legacy files of `{files}` are used instead.")
            return self._migrated(files)
        return group

    def _data_path(self) -> Path | None:
        if self.config.data_path is None:
            return None
        path = (self.project / self.config.data_path).resolve()
        allowed = allowed_folders(self.project)
        if not any(path.is_relative_to(folder) for folder in allowed):
            raise UsageError(
                f"data_path `{path}` lies outside of what may be read: {', '.join(map(str, allowed))}. Move the "
                f"files there, or allow their folder by {DATA_PATHS_VARIABLE}."
            )
        return path

    def _migrated(self, files: Path) -> str:
        from earmark.store.offline import FeatureStore
        from earmark.tasks.market.sample_sources import LEGACY_GROUP

        group, coding = self.config.feature_group or LEGACY_GROUP, data_setting(self.config, "coding")
        store, symbols = FeatureStore(self.store), self.config.symbols
        self.notes.append(
            take_legacy(files, store, group=group, coding=coding, symbols=symbols, tell=self.tell)
        )
        return group

    def _table(self, group: str) -> KeyedTable:
        from earmark.store.offline import FeatureStore

        return FeatureStore(self.store).table(group)

    def _has_rows(self, group: str) -> bool:
        if group in LEVEL_SOURCES:
            return level_rows(self.data, group, (), 1, 1).span() is not None
        table = self._table(group)
        return bool(table.exists) and len(table.files()) > 0

    def _record(self) -> dict[str, Any] | None:
        """Of what was prepared; None where that is nothing, or of another version: it is divided again."""
        import json

        try:
            record: dict[str, Any] = json.loads((self.data / FOLDER / DATASET_FILE).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return record if "options" in record else None

    def _earlier(self, group: str) -> PrepareOptions | None:
        """What was prepared from this group, by a user or by an earlier training."""
        record = self._record()
        if record is None or record["source"]["group"] != group:
            return None
        fields = dict(record["options"])
        tuples = {name: tuple(fields[name]) for name in ("symbols", "fractions")}
        known = {"group": group, "label_set": record["source"]["label_set"], "view": record["source"]["view"]}
        return PrepareOptions(**{**fields, **tuples, **known})

    def _options(self, earlier: PrepareOptions | None, group: str) -> PrepareOptions:
        """`earlier` with what was given; everything of the configuration where a user prepared nothing."""
        from_user = earlier is not None and earlier.by == "prepare"
        base = earlier if from_user and earlier is not None else PrepareOptions(by="train", group=group)
        taken = self.config.changed if from_user else frozenset(type(self.config).model_fields)
        values: dict[str, Any] = {
            theirs: getattr(self.config, ours) for ours, theirs in OPTION_OF.items() if ours in taken
        }
        values |= {
            name: data_setting(self.config, name)
            for name in ("stride", "holdout_days", "every")
            if not from_user or name in self.config.data_config
        }
        if {"horizon_s", "tb_max_holding_period", "labeling_method", "label_set"} & taken:
            values |= {"horizon_s": self.config.horizon}
        if {"labeling_method", "label_set", "horizon_s", "tb_tp_multiplier", "tb_sl_multiplier"} & taken:
            values |= {"label_set": self._label_set(group)}
        if {"days", "start_date", "end_date"} & taken:
            values |= self._range(self._span(group))
        if not from_user and self.view == LEVELS_VIEW:
            values |= self._levels()
        chosen = replace(base, **values)
        if "view" in taken:
            chosen = replace(chosen, view=self.view or natural_view(self.data, chosen))
        return replace(chosen, by="train") if from_user and chosen != base else chosen

    def _levels(self) -> dict[str, int]:
        """As many as the model reads."""
        params = series_recipe(self.config).settings()["params"]
        return {"levels": params["levels"]} if "levels" in params else {}

    def _range(self, span: tuple[int, int]) -> dict[str, Any]:
        """First and last ms of what is asked for, of rows that cover `span`."""
        start, asked = range_ms(self.config.start_date, self.config.end_date)
        end = span[1] if asked is None else asked
        if self.config.days is not None:
            start = max(span[0], int(end - self.config.days * DAY_MS))
        return {"start_ms": start, "end_ms": end, "until_newest": asked is None}

    def _unfinished(
        self, options: PrepareOptions, earlier: PrepareOptions | None, group: str
    ) -> Prepared | None:
        """What an earlier training divided, if it was killed and only newer rows make the difference."""
        from earmark.tasks.market.training import records
        from earmark.training.work import work_folder

        if options == earlier or earlier is None or earlier.by != "train" or earlier.end_ms is None:
            return None
        if replace(options, **self._range((self._span(group)[0], earlier.end_ms))) != earlier:
            return None
        try:
            prepared = load_prepared(self.project)
        except UsageError:
            return None  # its rows are others now: it is divided again, and trained anew
        key = records.key_of(series_recipe(self.config), prepared, self.config)
        if not work_folder(records.runs_folder(self.project), "market", key).is_dir():
            return None
        self.notes.append(
            f"A training of the rows up to {utc_date(earlier.end_ms)} was not finished: it goes on."
        )
        return prepared

    def _span(self, group: str) -> tuple[int, int]:
        import polars as pl

        if group in LEVEL_SOURCES:
            first, last = level_rows(self.data, group, self.config.symbols, 1, 1).span() or (None, None)
        else:
            rows = self._table(group).scan(symbols=self.config.symbols or None, columns=("timestamp",))
            first, last = rows.select(pl.min("timestamp"), pl.max("timestamp").alias("last")).collect().row(0)
        if first is None or last is None:
            raise UsageError(
                f"No training data available: group `{group}` has no rows of {', '.join(self.config.symbols)}. Name "
                "other symbols, or run: earmark collect market --symbols " + ",".join(self.config.symbols)
            )
        return int(first), int(last)

    def _label_set(self, group: str) -> str | None:
        """Id of the labels; computed where no set fits, completed where rows came after it."""
        if self.config.label_set is not None:
            return self.config.label_set
        request = self._label_request(group)
        fitting = [record for record in LabelSets(self.store).list() if _fits(record, request, self.config)]
        if not fitting:
            self._label(request, "No label set fits")
            return _set_id(request)
        chosen = self._fullest(fitting)
        if chosen["id"] == _set_id(request) and self._is_behind(chosen, group):
            self._label(request, "Rows came after the labels")
        return str(chosen["id"])

    def _fullest(self, fitting: list[dict[str, Any]]) -> dict[str, Any]:
        """The newest set that labels about as many rows as any: one made for a few rows is no later version."""
        rows = [self._labelled(record, self.config.symbols) for record in fitting]
        place = next(place for place, n in enumerate(rows) if n >= FULL_SHARE * max(rows))
        if place > 0:
            self.notes.append(
                f"Label set {fitting[place]['id']} is used, which labels {rows[place]} rows; {fitting[0]['id']} is "
                f"newer and labels {rows[0]}. To train on that one, name it as label_set."
            )
        return fitting[place]

    def _label_request(self, group: str) -> LabelRequest:
        from earmark.tasks.market.labels.label import LabelRequest
        from earmark.tasks.market.labels.rules import Fixed, TripleBarrier
        from earmark.tasks.market.labels.series import Horizon

        config, source = self.config, "track" if any((self.data / "raw").glob("*/bbo")) else "samples"
        horizons = tuple(Horizon(seconds) for seconds in sorted({10, 30, 60, config.horizon}))
        rule: Fixed | TripleBarrier = Fixed()
        if config.labeling_method == "triple_barrier":
            widths = (config.tb_tp_multiplier, config.tb_sl_multiplier)
            rule, horizons = (
                TripleBarrier(*widths, config.tb_max_holding_period),
                (Horizon(config.horizon),),
            )
        return LabelRequest(rule=rule, horizons=horizons, group=group, source=source)  # type: ignore[arg-type]

    def _label(self, request: LabelRequest, why: str) -> None:
        from earmark.tasks.market.labels.label import label_group

        raw_lob = self.data / RAW_LOB
        report = label_group(self.store, self.data / "raw", request, raw_lob=raw_lob, tell=self.tell)
        self.notes.append(f"{why}: {report.rows} rows were labelled, set {report.set_id}.")

    def _is_behind(self, record: dict[str, Any], group: str) -> bool:
        return self._labelled(record) < self._count(group, symbols=())

    def _labelled(self, record: dict[str, Any], symbols: tuple[str, ...] = ()) -> int:
        """Rows of a set that have the horizon, of all symbols where none is named."""
        return sum(
            int(row["rows"])
            for row in record["coverage"]
            if row["horizon"] == f"{self.config.horizon}s" and (not symbols or row["symbol"] in symbols)
        )

    def _count(self, group: str, symbols: tuple[str, ...] | None = None) -> int:
        """Stored rows, of the configuration's symbols unless others are named; none named: of all."""
        import polars as pl

        wanted = self.config.symbols if symbols is None else symbols
        if group in LEVEL_SOURCES:
            rows_of = level_rows(self.data, group, wanted, 1, 1)
            span = rows_of.span()
            return 0 if span is None else sum(rows_of.counts(*span).values())
        rows = self._table(group).scan(symbols=wanted or None, columns=("timestamp",))
        return int(rows.select(pl.len()).collect().item())

    def _loaded(self, options: PrepareOptions) -> Prepared:
        try:
            return load_prepared(self.project)
        except UsageError as error:
            self.notes.append(f"{error} It was divided again here.")
            return prepare(self.project, options)

    def _prepared(self, options: PrepareOptions) -> Prepared:
        prepared = prepare(self.project, options)
        record = prepared.record
        self.notes.append(
            f"Divided into train, validation and test: {utc_date(record['start_ms'])} to {utc_date(record['end_ms'])}; "
            "what is newer is sealed."
        )
        return prepared

    def _require_enough(self, n: int, length: int) -> None:
        """Ten windows' rows at least, of what is stored and of what is left before the sealed period."""
        if n < 10 * length:
            raise UsageError(
                f"Insufficient data: {n} samples, need at least {10 * length} (10 x sequence_length). Collect more "
                "(earmark collect market), or lower sequence_length."
            )

    def _in_force(self, options: PrepareOptions, prepared: Prepared) -> TrainConfig:
        source = prepared.record["source"]
        values = {ours: getattr(options, theirs) for ours, theirs in OPTION_OF.items()}
        values |= {"horizon_s": options.horizon_s, "feature_group": source["group"], "view": source["view"]}
        return self.config.model_copy(update=values)


def _set_id(request: LabelRequest) -> str:
    from earmark.tasks.market.labels.label import set_id_of

    return set_id_of(request)


def _fits(record: dict[str, Any], request: LabelRequest, config: TrainConfig) -> bool:
    """Whether a set has the rule, its parameters and the horizon, for the group."""
    from earmark.tasks.market.labels.rules import parameters_of

    unnamed = None if request.group in LEVEL_SOURCES else request.group
    if record.get("group", unnamed) != request.group:
        return False
    if not any(row["horizon"] == f"{config.horizon}s" for row in record["coverage"]):
        return False
    if config.labeling_method == "fixed_threshold":
        return str(record.get("name")) in ("fixed", "legacy")
    stored, wanted = record.get("parameters", {}), parameters_of(request.rule)
    same = [str(stored.get(name)) == str(value) for name, value in wanted.items() if name != "max_hold"]
    return bool(record.get("name") == request.rule.name and all(same))
