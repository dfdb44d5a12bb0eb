"""What is known of each feature: one JSON file per name and version, written whole.

A record is named ``{name}:{version}``; the file is ``{name}__{version}.json``, since ``:`` is not allowed everywhere.
Versions are compared by their numbers, so that 10 is newer than 9. Statistics are of all values seen so far: those of
a new batch are merged by the formula of Chan, Golub and LeVeque (1979), which needs no earlier value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import InputError, UsageError
from earmark.store.atomic import sync_folder, write_atomic

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.schema import TableSchema

__all__ = ["FEATURE_TYPES", "FeatureRecord", "FeatureRegistry"]

FEATURE_TYPES = ("orderbook", "candle", "indicator", "technical")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VERSION = re.compile(r"v?\d+(\.\d+)*")
_TYPE_OF_GROUP = {"lob": "orderbook", "candle": "candle", "indicator": "indicator"}


@dataclass(frozen=True)
class FeatureRecord:
    """A feature in one version.

    `type` is one of `FEATURE_TYPES`; `min`, `max`, `mean` and `std` (ddof 0) are of the `count` finite values seen so
    far, None before the first; times are ISO, UTC.
    """

    name: str
    version: str = "1"
    description: str = ""
    type: str = "technical"
    dtype: str = "float32"
    source: str = ""
    dependencies: tuple[str, ...] = ()
    created: str = ""
    updated: str = ""
    count: int = 0
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    active: bool = True

    @property
    def id(self) -> str:
        """``name:version``."""
        return f"{self.name}:{self.version}"


class FeatureRegistry:
    """The records in one folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def register_feature(self, record: FeatureRecord, *, sync: bool = True) -> FeatureRecord:
        """Write a record; one that exists keeps its statistics and the time it was made.

        Raises
        ------
        UsageError
            Name, version or type are not possible.
        """
        _check(record)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        path = self._path(record.name, record.version)
        if path.is_file():
            old = self._read(path)
            kept = {name: getattr(old, name) for name in ("created", "count", "min", "max", "mean", "std")}
            record = replace(record, **kept)
        record = replace(record, created=record.created or now, updated=now)
        text = json.dumps(asdict(record), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomic(path, text.encode() + b"\n", sync=sync)
        return record

    def get_feature_metadata(self, name: str, version: str = "latest") -> FeatureRecord:
        """The record of a feature; ``latest`` is the highest version by its numbers.

        Raises
        ------
        UsageError
            There is none.
        """
        if version == "latest":
            found = [record for record in self._records() if record.name == name]
            if found:
                return max(found, key=_numbers)
        elif self._path(name, version).is_file():
            return self._read(self._path(name, version))
        raise UsageError(
            f"The feature `{name}:{version}` is not registered in `{self.folder}`. Known are "
            f"{len(self.list_features())} features. Features are registered by: earmark collect market"
        )

    def list_features(self, type: str | None = None, active_only: bool = True) -> list[FeatureRecord]:
        """The newest record of each feature, by name."""
        newest: dict[str, FeatureRecord] = {}
        for record in sorted(self._records(), key=_numbers):
            newest[record.name] = record
        return [
            record
            for _, record in sorted(newest.items())
            if (type is None or record.type == type) and (record.active or not active_only)
        ]

    def update_feature_stats(
        self, name: str, values: pl.Series, version: str = "latest", *, sync: bool = True
    ) -> FeatureRecord:
        """Merge the finite ones of `values` into the statistics of a feature."""
        import polars as pl

        record = self.get_feature_metadata(name, version)
        finite = values.cast(pl.Float64).drop_nulls()
        finite = finite.filter(finite.is_finite())
        if not finite.len():
            return record
        merged = _merged(record, finite)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps(asdict(replace(merged, updated=now)), indent=2, ensure_ascii=False, allow_nan=False)
        write_atomic(self._path(record.name, record.version), text.encode() + b"\n", sync=sync)
        return merged

    def update_from(self, schema: TableSchema, table: pl.DataFrame | None = None, *, source: str = "") -> int:
        """Register all inputs of a schema, and merge statistics of a table's columns; how many there are."""
        for group, names in schema.get_feature_groups().items():
            for name in names:
                column = schema.by_name[name]
                self.register_feature(
                    FeatureRecord(
                        name,
                        str(schema.version),
                        f"{column.description} [{column.unit}]",
                        _TYPE_OF_GROUP.get(group.split("_")[0], "technical"),
                        column.dtype,
                        source or schema.id,
                    ),
                    sync=False,
                )
                if table is not None and name in table.columns:
                    self.update_feature_stats(name, table[name], str(schema.version), sync=False)
        if self.folder.is_dir():
            sync_folder(self.folder)
        return len(schema.inputs)

    def _path(self, name: str, version: str) -> Path:
        return self.folder / f"{name}__{version}.json"

    def _records(self) -> Iterable[FeatureRecord]:
        return (self._read(path) for path in sorted(self.folder.glob("*__*.json")))

    def _read(self, path: Path) -> FeatureRecord:
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            return FeatureRecord(**{**fields, "dependencies": tuple(fields["dependencies"])})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"`{path}` is no record of a feature ({error}). Expected the JSON that earmark wrote. Restore it, or "
                "delete it and collect again."
            ) from error


def _check(record: FeatureRecord) -> None:
    if not _NAME.fullmatch(record.name) or not _VERSION.fullmatch(record.version):
        raise UsageError(
            f"`{record.id}` cannot be registered. Expected a name of letters, digits, `_`, `.`, `-` and a version of "
            "numbers, e.g. mid_price:1 or mid_price:1.2. Rename it."
        )
    if record.type not in FEATURE_TYPES:
        raise UsageError(
            f"`{record.type}` is no type of a feature. Expected one of {', '.join(FEATURE_TYPES)}."
        )


def _numbers(record: FeatureRecord) -> tuple[int, ...]:
    return tuple(int(number) for number in record.version.lstrip("v").split("."))


def _merged(record: FeatureRecord, values: pl.Series) -> FeatureRecord:
    n, mean = values.len(), float(values.mean())  # type: ignore[arg-type]
    squares = float(((values - mean) ** 2).sum())
    low, high = float(values.min()), float(values.max())  # type: ignore[arg-type]
    if record.count and record.mean is not None and record.std is not None:
        total = n + record.count
        delta = mean - record.mean
        squares += record.std**2 * record.count + delta**2 * n * record.count / total
        mean = record.mean + delta * n / total
        low = low if record.min is None else min(low, record.min)
        high = high if record.max is None else max(high, record.max)
        n = total
    return replace(record, count=n, min=low, max=high, mean=mean, std=math.sqrt(squares / n))
