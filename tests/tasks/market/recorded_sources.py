"""Small sources in the layouts that the importers read, written with the standard library alone."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_lean(path: Path, rows: Iterable[Sequence[float | str]]) -> Path:
    """A zip of one CSV at its place below the root, such as ``equity/usa/second/spy/20131007_quote.zip``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(path.stem + ".csv", "".join(",".join(map(str, row)) + "\r\n" for row in rows))
    return path


def flat_quote(time_ms: int, bid: float, bid_size: float, ask: float, ask_size: float) -> tuple[float, ...]:
    """A quote bar that closes at what is given; open, high and low would be wrong if they were used."""
    return (time_ms, 1, 1, 1, bid, bid_size, 1, 1, 1, ask, ask_size)


def write_okcoin(
    root: Path,
    start_ms: int,
    books: Sequence[Sequence[int]],
    trades: Sequence[Sequence[int | None]],
    n_levels: int = 2,
) -> Path:
    """An hour of books (time, then bid price, bid amount, ask price, ask amount per level) and trades."""
    folder = root / "okcoin_cn" / "btc" / "2016-03" / "2016-03-03"
    folder.mkdir(parents=True)
    config = (start_ms, "ms", 1, n_levels, 100, 10_000)
    names = [name for i in range(n_levels) for name in (f"B{i}p", f"B{i}a", f"A{i}p", f"A{i}a")]
    with sqlite3.connect(folder / "2016-03-03-19.depth.db") as depth:
        depth.execute("CREATE TABLE config (Timestamp, Unit, Offset, Size, PriceScale, AmountScale)")
        depth.execute("INSERT INTO config VALUES (?, ?, ?, ?, ?, ?)", config)
        depth.execute(f"CREATE TABLE data (Timestamp, {', '.join(names)})")
        depth.executemany(f"INSERT INTO data VALUES ({', '.join('?' * (1 + len(names)))})", books)
    with sqlite3.connect(folder / "2016-03-03-19.trade.db") as trade:
        trade.execute("CREATE TABLE config (Timestamp, Unit, Offset, PriceScale, AmountScale)")
        trade.execute("INSERT INTO config VALUES (?, ?, ?, ?, ?)", config[:3] + config[4:])
        trade.execute("CREATE TABLE data (Timestamp, isBid, Price, Amount)")
        trade.executemany("INSERT INTO data VALUES (?, ?, ?, ?)", trades)
    depth.close()
    trade.close()
    return root


def write_sgx(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line.encode() + b"\r\r\n" for line in lines))
    return path
