"""Files of states of the raw book.

::

    data/raw_lob/{SYM}/date=YYYY-MM-DD/{SYM}_{YYYYMMDD_HHMMSS}_{uuid}.parquet

A row is ``symbol, timestamp, mid_price, spread`` and, for each level i, ``bid_price_i, bid_volume_i, ask_price_i,
ask_volume_i``; a missing level is 0. Times are exchange milliseconds, files and days are named in UTC. Earlier files
have no uuid in their names and are read all the same.
"""

from __future__ import annotations

import io
import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.models.sequence.levels import level_columns
from earmark.store.atomic import write_atomic
from earmark.store.part_files import check_symbol, has_parquet_ends
from earmark.store.quarantine import set_aside
from earmark.store.times import DAY_MS, utc_date

__all__ = ["columns_of", "remove_expired", "symbols_of", "window_files", "write_windows"]

log = logging.getLogger(__name__)


def columns_of(levels: int) -> list[str]:
    """Names behind ``symbol, timestamp``, in order."""
    return ["mid_price", "spread", *level_columns(levels)]


def write_windows(
    root: Path, states: Mapping[str, Sequence[npt.NDArray[np.float64]]], levels: int
) -> list[Path]:
    """Write states of symbols, a file per symbol and UTC day; the files."""
    return [
        _write_day(root, symbol, rows, levels)
        for symbol, of_symbol in states.items()
        for rows in _by_day(np.stack(of_symbol))
    ]


def symbols_of(root: Path) -> list[str]:
    """Symbols that have a folder."""
    return sorted(path.name for path in root.glob("*") if path.is_dir() and path.name[0] not in "._")


def window_files(
    root: Path, symbol: str, start_ms: int | None = None, end_ms: int | None = None
) -> list[Path]:
    """Files with the days of a range, by name; one that was cut off is set aside and reported."""
    first = "" if start_ms is None else utc_date(start_ms)
    last = "9999" if end_ms is None else utc_date(end_ms)
    return [
        path
        for path in sorted((root / check_symbol(symbol)).glob("date=*/*.parquet"))
        if first <= path.parent.name.removeprefix("date=") <= last and _is_whole(root, path)
    ]


def remove_expired(root: Path, keep_days: float, now_ms: int) -> int:
    """Remove the days that ended more than `keep_days` before `now_ms`; how many files went."""
    first = utc_date(int(now_ms - keep_days * DAY_MS))
    n_files = 0
    for folder in root.glob("*/date=*"):
        if folder.name.removeprefix("date=") < first:
            n_files += sum(1 for _ in folder.glob("*.parquet"))
            shutil.rmtree(folder)
    return n_files


def _is_whole(root: Path, path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, file.seek(0, 2) - 4))
        tail = file.read(4)
    if has_parquet_ends(head, tail):
        return True
    relative = str(path.relative_to(root))
    reason = "it does not begin and end like Parquet"
    log.warning("`%s` of `%s` is set aside: %s", relative, root, reason)
    set_aside(root, relative, rows=0, reason=reason)
    return False


def _by_day(rows: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    days = rows[:, 0] // DAY_MS
    return [rows[days == day] for day in np.unique(days)]


def _write_day(root: Path, symbol: str, rows: npt.NDArray[np.float64], levels: int) -> Path:
    import polars as pl

    first = datetime.fromtimestamp(rows[0, 0] / 1000, UTC)
    columns: dict[str, Any] = {"symbol": [symbol] * len(rows), "timestamp": rows[:, 0].astype(np.int64)}
    columns.update(zip(columns_of(levels), rows[:, 1:].T, strict=True))
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer, compression="snappy")
    name = f"{symbol}_{first:%Y%m%d_%H%M%S}_{uuid.uuid4().hex[:12]}.parquet"
    path = root / symbol / f"date={first:%Y-%m-%d}" / name
    write_atomic(path, buffer.getvalue())
    return path
