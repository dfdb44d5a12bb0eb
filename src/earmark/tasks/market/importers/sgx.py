"""The FTSE China A50 future of the Singapore exchange: three book levels a row, text.

A file `order_book_<levels>_<year>_<month>_<day>.csv` opens with the header ``Bid,Bid_Quantity,Ask,Ask_Quantity`` and
goes on in blocks: a line ``TimeStamp,2014-01-09D04:21:26.224430600``, which heads the block, and a line per level, best
first. Lines end in two carriage returns and a line feed. Times are Singapore's wall clock (UTC+8, no daylight saving),
prices hundredths of an index point. There are no trades. A block that the end of the file cuts off is left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from earmark.errors import InputError
from earmark.tasks.market.importers.recording import TRADE_SCHEMA, BookRows, Recording, make_recording

__all__ = ["PATTERNS", "read"]

PATTERNS = ("order_book_*.csv",)
SYMBOL = "A50"
HEADER = "Bid,Bid_Quantity,Ask,Ask_Quantity"
BLOCK = "TimeStamp,"
UTC_OFFSET_NS = 8 * 3_600 * 1_000_000_000
PRICE_SCALE = 100.0


def read(files: list[Path]) -> tuple[Recording, ...]:
    """Books of one or more days.

    Raises
    ------
    InputError
        A file has another header, or a block another number of levels than the first.
    """
    days = [_read_day(path) for path in files]
    n_levels = {day.n_levels for day in days}
    if len(n_levels) > 1:
        raise InputError(
            f"files of {sorted(n_levels)} levels lie below one folder; one number of levels is read at a time"
        )
    return (make_recording(SYMBOL, "sgx a50", BookRows.joined(days), pl.DataFrame(schema=TRADE_SCHEMA)),)


def _read_day(path: Path) -> BookRows:
    lines = path.read_text(encoding="ascii", errors="replace").split()
    if not lines or lines[0] != HEADER:
        raise InputError(f"{path}: begins with {lines[:1]}; expected the header {HEADER}")
    lines = lines[1:]
    heads = np.flatnonzero([line.startswith(BLOCK) for line in lines])
    n_levels = int(heads[1] - heads[0] - 1) if len(heads) > 1 else len(lines) - 1
    if n_levels < 1:
        raise InputError(
            f"{path}: holds no block of a {BLOCK} line and its levels; expected books of an A50 future"
        )
    n_blocks = len(lines) // (n_levels + 1)
    if not np.array_equal(heads[:n_blocks], np.arange(n_blocks) * (n_levels + 1)):
        raise InputError(
            f"{path}: blocks differ in length; expected {n_levels} levels after each {BLOCK} line"
        )
    blocks = np.array(lines[: n_blocks * (n_levels + 1)]).reshape(n_blocks, n_levels + 1)
    return _parse(path, blocks)


def _parse(path: Path, blocks: np.ndarray[tuple[int, int], np.dtype[np.str_]]) -> BookRows:
    try:
        times = pl.Series(blocks[:, 0]).str.to_datetime(BLOCK + "%Y-%m-%dD%H:%M:%S%.f", time_unit="ns")
        rows = np.array([line.split(",") for line in blocks[:, 1:].ravel()], dtype=np.float64)
        levels = rows.reshape(len(blocks), -1, 4)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: {error}; expected a time or {HEADER} as numbers") from error
    sides = levels / np.array([PRICE_SCALE, 1.0, PRICE_SCALE, 1.0])
    return BookRows(times.cast(pl.Int64).to_numpy() - UTC_OFFSET_NS, sides[:, :, :2], sides[:, :, 2:])
