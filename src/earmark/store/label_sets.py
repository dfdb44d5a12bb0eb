"""Label sets: what became of each row, in files of their own beside the features, which are never touched.

::

    <root>/labels/<set>/set.json                                     the record and the files of each version
    <root>/labels/<set>/date=YYYY-MM-DD/labels-<version>-<id>.parquet

A set is named by its rule's name and the fingerprint of the rule, its parameters and its code, so that another rule is
another set. Rows have the key (symbol, timestamp), `timestamp` in ms since 1970 UTC, and for each horizon ``60s`` the
columns ``label_status_60s`` and ``<anything>_60s``. A label that is known stays; one that is not is replaced when more
is known, which makes a new version: whole new files for the days concerned, then one rename of ``set.json``. Files of
earlier versions stay, so a version once read can be read again.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import InputError, UsageError
from earmark.store.atomic import sync_folder, write_atomic
from earmark.store.lock import in_turn
from earmark.store.times import Instant, range_ms, utc_date

if TYPE_CHECKING:
    import polars as pl

__all__ = ["LabelSets", "LabelsWritten", "coverage", "horizons_of"]

KEY = ("symbol", "timestamp")
STATUS = "label_status_"
_SET_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,120}")


@dataclass(frozen=True)
class LabelsWritten:
    """What a write changed: `added` rows are new, `completed` rows have a label where there was none."""

    set_id: str
    version: int
    added: int
    completed: int
    unchanged: int
    files: tuple[Path, ...]


class LabelSets:
    """The label sets of a feature store.

    Parameters
    ----------
    root : str or Path
        Folder of the feature store; sets lie in its ``labels``.
    """

    def __init__(self, root: str | Path = "data/feature_store") -> None:
        self.folder = Path(root) / "labels"

    def list(self) -> list[dict[str, Any]]:
        """The records of all sets, the one written last first."""
        records = [self.record(path.parent.name) for path in self.folder.glob("*/set.json")]
        return sorted(records, key=lambda record: (str(record["written"]), record["id"]), reverse=True)

    def record(self, set_id: str) -> dict[str, Any]:
        """The record of a set: what its writer said of it, ``coverage``, ``written`` and ``versions``.

        Raises
        ------
        UsageError
            There is no such set.
        InputError
            Its record cannot be read.
        """
        path = self.folder / _checked(set_id) / "set.json"
        try:
            found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(
                f"There is no label set `{set_id}` in `{self.folder}`. Known: {self._known()}. "
                "Future labels are None until they are computed: earmark label market"
            ) from None
        except ValueError as error:
            raise InputError(
                f"`{path}` is not a readable record ({error}). Restore it from a copy."
            ) from error
        return found

    def find(self, name: str = "default", *, group: str | None = None) -> str:
        """The id of the set called `name`, else of the one written last whose rule has that name.

        Parameters
        ----------
        name : str
            An id, the name of a rule, or ``default``: the newest of the rule ``fixed``, else the newest.
        group : str, optional
            Only sets of this group of the feature store.

        Raises
        ------
        UsageError
            There is none.
        """
        records = [record for record in self.list() if group in (None, record.get("group"))]
        if name == "default":
            named = [record for record in records if record.get("name") == "fixed"] or records
        else:
            named = [record for record in records if name in (record["id"], record.get("name"))]
        if named:
            return str(named[0]["id"])
        of_group = "" if group is None else f" of the group `{group}`"
        raise UsageError(
            f"There is no label set `{name}`{of_group} in `{self.folder}`. Known: {self._known()}. Future labels are "
            "None until they are computed. Run: earmark label market"
        )

    def write(
        self,
        set_id: str,
        table: pl.DataFrame,
        record: Mapping[str, Any],
        *,
        footer: Mapping[str, str] | None = None,
    ) -> LabelsWritten:
        """Add rows, and complete those whose label was unknown.

        Parameters
        ----------
        set_id : str
        table : polars.DataFrame
            Unique by key; at least one ``label_status_<horizon>`` column.
        record : mapping
            What the set is: rule, parameters; JSON. Kept as of this version, but ``sources`` of symbols that this
            version does not touch stay.
        footer : mapping of str to str, optional
            Metadata of the files.

        Returns
        -------
        LabelsWritten
            Without change no version is made.
        """
        _check(table)
        folder = self.folder / _checked(set_id)
        folder.mkdir(parents=True, exist_ok=True)
        with in_turn(folder / ".lock"):
            before = self.record(set_id) if (folder / "set.json").is_file() else {"versions": []}
            version = len(before["versions"]) + 1
            days = {} if version == 1 else dict(before["versions"][-1]["files"])
            change = _Change(folder, version, days, {"earmark.label_set": set_id, **(footer or {})})
            for day, rows in _by_day(table):
                change.merge(day, rows)
            if not change.files and version > 1:
                return LabelsWritten(set_id, version - 1, 0, 0, change.unchanged, ())
            self._commit(set_id, change, before, record)
        return LabelsWritten(
            set_id, version, change.added, change.completed, change.unchanged, tuple(change.files)
        )

    def scan(
        self,
        set_id: str,
        *,
        start: Instant | None = None,
        end: Instant | None = None,
        symbols: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        version: int | None = None,
    ) -> pl.LazyFrame:
        """Rows of a set, sorted by symbol and time.

        Parameters
        ----------
        set_id : str
        start, end : date, ISO text or milliseconds, optional
            Inclusive; a date is the whole UTC day.
        symbols : sequence of str, optional
        columns : sequence of str, optional
            Beside the key.
        version : int, optional
            Default: the last.

        Raises
        ------
        UsageError
            No such set or version.
        """
        import polars as pl

        versions = self.record(set_id)["versions"]
        number = len(versions) if version is None else version
        if not 1 <= number <= len(versions):
            raise UsageError(f"`{set_id}` has no version {version}; expected 1 .. {len(versions)}.")
        first, last = range_ms(start, end)
        files = [
            self.folder / set_id / entry["path"]
            for day, entry in versions[number - 1]["files"].items()
            if (first is None or day >= utc_date(first)) and (last is None or day <= utc_date(last))
        ]
        if not files:
            # An empty table with the columns of the set: that of any of its files.
            some = next(iter(versions[number - 1]["files"].values()))
            frame = pl.scan_parquet(self.folder / set_id / some["path"]).clear()
        else:
            frame = _joined(files)
        if first is not None:
            frame = frame.filter(pl.col("timestamp") >= first)
        if last is not None:
            frame = frame.filter(pl.col("timestamp") <= last)
        if symbols is not None:
            frame = frame.filter(pl.col("symbol").is_in(list(symbols)))
        if columns is not None:
            frame = frame.select(*KEY, *[name for name in columns if name not in KEY])
        return frame.sort(*KEY)

    def _commit(
        self, set_id: str, change: _Change, before: Mapping[str, Any], record: Mapping[str, Any]
    ) -> None:
        written = datetime.now(UTC).isoformat(timespec="microseconds")  # two sets of one second have an order
        entry = {
            "written": written,
            "added": change.added,
            "completed": change.completed,
            "files": change.days,
        }
        paths = [change.folder / one["path"] for one in change.days.values()]
        document = {
            "id": set_id,
            **record,
            "sources": {**before.get("sources", {}), **record.get("sources", {})},
            "written": written,
            "coverage": coverage_of_files(paths),
            "versions": [*before["versions"], entry],
        }
        for folder in {path.parent for path in change.files}:
            sync_folder(folder)
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(change.folder / "set.json", text.encode())

    def _known(self) -> str:
        return ", ".join(sorted(path.parent.name for path in self.folder.glob("*/set.json"))) or "none"


class _Change:
    """The files of a version in the making: merged day by day."""

    def __init__(self, folder: Path, version: int, days: dict[str, Any], footer: Mapping[str, str]) -> None:
        self.folder, self.version, self.days, self.footer = folder, version, days, dict(footer)
        self.files: list[Path] = []
        self.added = self.completed = self.unchanged = 0

    def merge(self, day: str, rows: pl.DataFrame) -> None:
        """Bring the rows of one UTC day in."""
        import polars as pl

        if day in self.days:
            old = pl.read_parquet(self.folder / self.days[day]["path"], hive_partitioning=False)
            merged, added, completed = _merge(old, rows)
        else:
            merged, added, completed = rows, len(rows), 0
        self.added += added
        self.completed += completed
        self.unchanged += len(rows) - added - completed
        if added or completed or (day in self.days and merged.width > old.width):
            self._write(day, merged)

    def _write(self, day: str, rows: pl.DataFrame) -> None:
        buffer = io.BytesIO()
        rows.sort(*KEY).write_parquet(buffer, compression="zstd", metadata=self.footer)
        data = buffer.getvalue()
        name = f"date={day}/labels-{self.version:04d}-{uuid.uuid4().hex[:12]}.parquet"
        write_atomic(self.folder / name, data, sync=False)
        self.files.append(self.folder / name)
        self.days[day] = {"path": name, "rows": len(rows), "sha256": hashlib.sha256(data).hexdigest()}
        self.days = dict(sorted(self.days.items()))


def horizons_of(columns: Sequence[str]) -> list[str]:
    """Horizons that a table has labels of, as ``10s`` or ``60n``, in the order of its columns."""
    return [name.removeprefix(STATUS) for name in columns if name.startswith(STATUS)]


def coverage(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Share of known labels and of each class, per symbol and horizon.

    Returns
    -------
    list of dict
        ``symbol, horizon, rows, ok, coverage_pct``, counts of every other status that occurs, and
        ``down_pct, neutral_pct, up_pct`` of the known labels (None where there is none).
    """
    import polars as pl

    rows: list[dict[str, Any]] = []
    for horizon in horizons_of(table.columns):
        counted = (
            table.lazy()
            .group_by(
                "symbol", status=pl.col(f"{STATUS}{horizon}"), direction=pl.col(f"future_direction_{horizon}")
            )
            .len("rows")
            .collect()
        )
        for (symbol,), group in counted.group_by("symbol"):
            rows.append(_coverage_row(str(symbol), horizon, group))
    return sorted(rows, key=lambda row: str(row["symbol"]))


def coverage_of_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """`coverage` of the rows of Parquet files."""
    if not paths:
        return []
    wanted = ("symbol", "label_status_", "future_direction_")
    frame = _joined(paths)
    names = [name for name in frame.collect_schema().names() if name.startswith(wanted)]
    return coverage(frame.select(names).collect())


def _joined(paths: Sequence[Path]) -> pl.LazyFrame:
    """Rows of files of which some may lack horizons that others have."""
    import polars as pl

    return pl.concat([pl.scan_parquet(path, hive_partitioning=False) for path in paths], how="diagonal")


def _coverage_row(symbol: str, horizon: str, group: pl.DataFrame) -> dict[str, Any]:
    import polars as pl

    def count(condition: pl.Expr) -> int:
        return int(group.filter(condition)["rows"].sum())

    total, known = int(group["rows"].sum()), count(pl.col("status") == "ok")
    statuses = [name for name in group["status"].unique().drop_nulls().sort() if name != "ok"]
    shares = {
        f"{name}_pct": round(100 * count(pl.col("direction") == code) / known, 2) if known else None
        for code, name in enumerate(("down", "neutral", "up"))
    }
    return {
        "symbol": symbol,
        "horizon": horizon,
        "rows": total,
        "ok": known,
        "coverage_pct": round(100 * known / total, 2),
        **{name: count(pl.col("status") == name) for name in statuses},
        **shares,
    }


def _merge(old: pl.DataFrame, new: pl.DataFrame) -> tuple[pl.DataFrame, int, int]:
    """Known labels of `old` stay, the rest comes from `new`; rows added and rows completed."""
    import polars as pl

    both = old.join(new.with_columns(_is_new=True), on=KEY, how="full", coalesce=True, suffix="_new")
    is_added = pl.col(f"{STATUS}{horizons_of(old.columns)[0]}").is_null()
    changes, values = [], []
    for name in dict.fromkeys([*old.columns, *new.columns]):
        if name in KEY or name not in old.columns or name not in new.columns:
            continue
        status = STATUS + (_horizon_in(name, horizons_of(old.columns)) or horizons_of(old.columns)[0])
        stays = (pl.col(status) == "ok").fill_null(False) | pl.col("_is_new").is_null()
        values.append(pl.when(stays).then(pl.col(name)).otherwise(pl.col(f"{name}_new")).alias(name))
        if name.startswith(STATUS):
            changes.append(~stays & pl.col(name).ne_missing(pl.col(f"{name}_new")))
    counts = both.select(added=is_added.sum(), completed=(~is_added & pl.any_horizontal(changes)).sum()).row(
        0
    )
    order = dict.fromkeys([*old.columns, *new.columns])
    return both.with_columns(values).select(*order), int(counts[0]), int(counts[1])


def _horizon_in(column: str, horizons: Sequence[str]) -> str | None:
    return next((horizon for horizon in horizons if column.endswith(f"_{horizon}")), None)


def _by_day(table: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    import polars as pl

    dated = table.with_columns(_date=pl.from_epoch("timestamp", time_unit="ms").dt.strftime("%Y-%m-%d"))
    for (day,), rows in sorted(dated.group_by("_date"), key=lambda pair: str(pair[0][0])):
        yield str(day), rows.drop("_date")


def _check(table: pl.DataFrame) -> None:
    import polars as pl

    missing = [name for name in KEY if name not in table.columns]
    if missing or not horizons_of(table.columns):
        raise UsageError(
            f"A table of labels lacks {', '.join(missing) or f'{STATUS}<horizon>'}; expected {', '.join(KEY)} and a "
            "status per horizon."
        )
    twice = table.select(pl.struct(KEY).is_duplicated().sum()).item()
    empty = table.select(pl.any_horizontal(pl.col(KEY).is_null()).sum()).item()
    if twice or empty:
        raise UsageError(
            f"A table of labels has {twice} rows with the key of another and {empty} without a key; expected each "
            "(symbol, timestamp) once."
        )


def _checked(set_id: str) -> str:
    if not _SET_ID.fullmatch(set_id):
        raise UsageError(
            f"`{set_id}` is no name of a label set. Expected letters, digits and . _ + - only, not starting with a dot."
        )
    return set_id
