"""Files that somebody else put into a table's partitions, such as those of an earlier program.

A file is taken in when the range of a read covers its folder: its rows go through `KeyedTable.append` like any others,
so that they are checked, sorted and there once, and the file is moved to ``_adopted/``, where it stays as it was. What
does not fit is left where it is and reported; what is no Parquet is set aside. Columns of labels are left out: labels
are in files of their own and can be computed again.

Files with names of this package that no commit names are not taken in. They are what a killed writer left, and it, or
its journal, writes their rows again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import EarmarkError
from earmark.store.atomic import sync_folder
from earmark.store.part_files import parse_name
from earmark.store.quarantine import set_aside
from earmark.store.times import utc_date

if TYPE_CHECKING:
    import polars as pl

    from earmark.store.keyed import KeyedTable

__all__ = ["FOLDER", "Adoption"]

log = logging.getLogger(__name__)

FOLDER = "_adopted"
_LABELS = ("future_", "label_")


class Adoption:
    """What was looked at, so that a folder is listed again only when it changed."""

    def __init__(self, table: KeyedTable) -> None:
        self.table = table
        self._seen: dict[Path, int] = {}
        self._refused: dict[str, str] = {}

    def run(self, root: Path, first_ms: int | None, last_ms: int | None) -> dict[str, str]:
        """Take in what lies in partitions of the range; path -> why not, for what does not fit."""
        for folder in _partitions(root, first_ms, last_ms):
            changed = folder.stat().st_mtime_ns
            if self._seen.get(folder) == changed:
                continue
            for path in _foreign(folder):
                self._take(root, path)
            self._seen[folder] = folder.stat().st_mtime_ns
        return dict(self._refused)

    def _take(self, root: Path, path: Path) -> None:
        import polars as pl

        name = path.relative_to(root).as_posix()
        try:
            data = path.read_bytes()
            rows = pl.read_parquet(data)
        except (pl.exceptions.PolarsError, OSError) as error:
            log.warning("`%s` of `%s` is set aside: %s", name, root, error)
            set_aside(root, name, rows=0, reason=f"it is not readable ({error})")
            return
        try:
            written = self.table.append(
                self._fitting(rows), batch=f"adopted:{hashlib.sha256(data).hexdigest()}"
            )
        except EarmarkError as error:
            if name not in self._refused:
                log.warning("`%s` of `%s` is not taken in: %s", name, root, error)
            self._refused[name] = str(error)
            return
        log.info("`%s` is taken in: %d rows, %d were there", name, written.rows, written.duplicates)
        target = root / FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        sync_folder(target.parent)

    def _fitting(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Without columns of labels and of the partition, with the values that such files lack."""
        import polars as pl

        known = set(self.table.dtypes)
        dropped = [n for n in rows.columns if n not in known and (n.startswith(_LABELS) or n == "date")]
        values = {n: v for n, v in self.table.adopted.items() if n not in rows.columns and n in known}
        return rows.drop(dropped).with_columns(pl.lit(value).alias(name) for name, value in values.items())


def _partitions(root: Path, first_ms: int | None, last_ms: int | None) -> Iterator[Path]:
    """Folders of days in a range, and those next to it: an earlier program filed a batch by its first row."""
    first = "" if first_ms is None else utc_date(first_ms - 86_400_000)
    last = "9999" if last_ms is None else utc_date(last_ms + 86_400_000)
    for folder in sorted(root.glob("date=*")):
        if first <= folder.name.removeprefix("date=") <= last:
            yield folder


def _foreign(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*.parquet")) if parse_name(path.name) is None]
