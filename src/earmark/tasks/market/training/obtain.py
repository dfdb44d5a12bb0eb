"""The data of a training: rows, labels and parts, made where they are missing.

Rows come from the feature store, or from legacy files, which are migrated into a group of their own. Labels are
computed where no set fits the labelling method, and completed where rows came after it. What `earmark prepare market`
divided stands for every setting that is not given; settings that are given, and data that nobody prepared, are divided
here.

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
from earmark.tasks.market.labels.label import BOOK_STEPS
from earmark.tasks.market.level_series import LEVEL_SOURCES, LEVELS_VIEW, level_rows
from earmark.tasks.market.prepare import (
    DATASET_FILE,
    FOLDER,
    Prepared,
    PrepareOptions,
    data_folder,
    load_prepared,
    prepare,
)
from earmark.tasks.market.training.recipe import data_setting

if TYPE_CHECKING:
    from earmark.features.progress import Progress
    from earmark.store.keyed import KeyedTable
    from earmark.tasks.market.labels.label import LabelRequest
    from earmark.tasks.market.training.config import TrainConfig

__all__ = ["LEGACY_GROUP", "Obtained", "allowed_folders", "obtain", "update_labels"]

LEGACY_GROUP = "legacy"
"""Group of the rows of legacy files that a training migrates: they do not mix with recorded ones."""

DATA_PATHS_VARIABLE = "EARMARK_DATA_PATHS"
"""Folders beside the project's in which `data_path` may lie, as in PATH."""

STALE_SHARE = 0.05
"""What `train` prepared for itself is divided anew when newer rows exceed this share of its span."""

OPTION_OF = {
    "view": "view",
    "symbols": "symbols",
    "sequence_length": "sequence_length",
    "use_purging": "purge",
    "use_embargo": "embargo",
    "embargo_pct": "embargo_share",
    "allow_mixed_origin": "allow_mixed_origin",
}
"""Setting -> field of `PrepareOptions` with the same value."""

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
        self.data = data_folder(project)
        self.store = self.data / "feature_store"
        self.notes: list[str] = []

    def run(self) -> Obtained:
        group = self._prepared_group() or self._group()
        if group not in LEVEL_SOURCES:
            self._require_rows(group)
        earlier = self._earlier(group)
        options = self._options(earlier, group)
        prepared = self._loaded(options) if _same(options, earlier) else self._prepared(options)
        self._require_enough(len(prepared.train.table), prepared.train.length)
        return Obtained(prepared, self._in_force(options, prepared), (*self.notes, *prepared.warnings))

    def update_labels(self) -> None:
        self._label_set(self._group())

    def _require_rows(self, group: str) -> None:
        """Of the feature store; states of the raw book are looked for where they are read."""
        if not self._has_rows(group):
            raise UsageError(
                f"No training data available: group `{group}` of `{self.store}` has no rows. Run: earmark collect "
                "market --symbols BTCUSDT, or take in what there is: earmark migrate market legacy"
            )
        self._require_enough(self._count(group), self.config.sequence_length)

    def _prepared_group(self) -> str | None:
        """The group that a user prepared, where the configuration names no other rows and no other kind of them."""
        record = self._record()
        if record is None or record["options"].get("by") != "prepare":
            return None
        changed = self.config.changed
        is_other = "view" in changed and LEVELS_VIEW in (self.config.view, record["source"]["view"])
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
        if self.config.view == LEVELS_VIEW:
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
        from earmark.tasks.market.legacy.migrate import migrate_legacy

        group = self.config.feature_group or LEGACY_GROUP
        report = migrate_legacy(files, FeatureStore(self.store), group=group, tell=self.tell)
        if report.rejected:
            first = report.rejected[0]
            self.notes.append(f"{len(report.rejected)} legacy batches were refused, first: {first['reason']}")
        return group

    def _table(self, group: str) -> KeyedTable:
        from earmark.store.offline import FeatureStore

        return FeatureStore(self.store).table(group)

    def _has_rows(self, group: str) -> bool:
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
        return PrepareOptions(
            **{**fields, **tuples, "group": group, "label_set": record["source"]["label_set"]}
        )

    def _options(self, earlier: PrepareOptions | None, group: str) -> PrepareOptions:
        """`earlier` with what was given; everything of the configuration where a user prepared nothing."""
        from_user = earlier is not None and earlier.by == "prepare"
        base = earlier if from_user and earlier is not None else PrepareOptions(by="train", group=group)
        taken = self.config.changed if from_user else set(type(self.config).model_fields)
        values: dict[str, Any] = {
            theirs: getattr(self.config, ours) for ours, theirs in OPTION_OF.items() if ours in taken
        }
        values |= {
            name: data_setting(self.config, name)
            for name in ("stride", "holdout_days")
            if not from_user or name in self.config.data_config
        }
        if {"horizon_s", "tb_max_holding_period", "labeling_method", "label_set"} & set(taken):
            values |= {"horizon_s": self.config.horizon}
        if {"labeling_method", "label_set", "horizon_s", "tb_tp_multiplier", "tb_sl_multiplier"} & set(taken):
            values |= {"label_set": self._label_set(group)}
        if {"days", "start_date", "end_date"} & set(taken):
            values |= self._range(earlier, group)
        chosen = replace(base, **values)
        if from_user and chosen != base:
            chosen = replace(chosen, by="train")
        return chosen

    def _range(self, earlier: PrepareOptions | None, group: str) -> dict[str, int | None]:
        """First and last ms; those of `earlier` where it covers nearly all that is there, so that a training that was
        killed finds its data again.
        """
        start, end = range_ms(self.config.start_date, self.config.end_date)
        first, last = self._span(group)
        if end is None and earlier is not None and earlier.by == "train" and earlier.end_ms is not None:
            fresh = last - earlier.end_ms <= STALE_SHARE * (earlier.end_ms - (earlier.start_ms or first))
            last = earlier.end_ms if fresh and earlier.end_ms <= last else last
        end = last if end is None else end
        if self.config.days is not None:
            start = max(first, int(end - self.config.days * DAY_MS))
        return {"start_ms": start, "end_ms": end}

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
        elif fitting[0]["id"] == _set_id(request) and self._is_behind(fitting[0], group):
            self._label(request, "Rows came after the labels")
        return str(fitting[0]["id"]) if fitting else _set_id(request)

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

        report = label_group(self.store, self.data / "raw", request, tell=self.tell)
        self.notes.append(f"{why}: {report.rows} rows were labelled, set {report.set_id}.")

    def _is_behind(self, record: dict[str, Any], group: str) -> bool:
        horizon = f"{self.config.horizon}s"
        labelled = sum(int(row["rows"]) for row in record["coverage"] if row["horizon"] == horizon)
        return labelled < self._count(group, symbols=())

    def _count(self, group: str, symbols: tuple[str, ...] | None = None) -> int:
        """Stored rows, of the configuration's symbols unless others are named; none named: of all."""
        import polars as pl

        wanted = self.config.symbols if symbols is None else symbols
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


def _same(options: PrepareOptions, earlier: PrepareOptions | None) -> bool:
    """Whether nothing else is asked for than what was prepared; a view that is not named is the one that was found."""
    if earlier is None:
        return False
    return replace(options, view=options.view or earlier.view, reseal_reason=earlier.reseal_reason) == earlier


def _set_id(request: LabelRequest) -> str:
    from earmark.tasks.market.labels.label import set_id_of

    return set_id_of(request)


def _fits(record: dict[str, Any], request: LabelRequest, config: TrainConfig) -> bool:
    """Whether a set has the rule, its parameters and the horizon, for the group."""
    from earmark.tasks.market.labels.rules import parameters_of

    if record.get("group", request.group) != request.group:
        return False
    if not any(row["horizon"] == f"{config.horizon}s" for row in record["coverage"]):
        return False
    if config.labeling_method == "fixed_threshold":
        return str(record.get("name")) in ("fixed", "legacy")
    stored, wanted = record.get("parameters", {}), parameters_of(request.rule)
    same = [str(stored.get(name)) == str(value) for name, value in wanted.items() if name != "max_hold"]
    return bool(record.get("name") == request.rule.name and all(same))
